"""Logging in with a real browser: light, dark, on a phone, and back to what was asked for."""

from __future__ import annotations

import pytest
from bpmn.server.conftest import Server
from browser import axe, chromium, look, page  # noqa: F401 - fixtures

from mlkit.bpmn.server import user_lines

pytestmark = pytest.mark.slow
expect = pytest.importorskip("playwright.sync_api").expect
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("login")
    user_lines.add(folder / "users", "ann", "viewer", PASSWORD)
    made = Server(folder, "--users", "users")
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143
    made.http.close()


def test_somebody_logs_in_looks_and_logs_out(server, page, axe):  # noqa: F811
    page.goto(f"{server.url}/instances?state=waiting")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    look(page, axe, "login")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Instances")
    assert page.url == f"{server.url}/instances?state=waiting"
    assert page.evaluate("document.cookie") == ""
    look(page, axe, "logged-in")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("status")).to_have_text("You are logged out.")
    page.goto(server.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
