"""The console in a real browser: a running instance is followed, a failing one is tried again."""

from __future__ import annotations

import pytest
from bpmn.server.conftest import Server
from bpmn.server.test_console import FILES
from bpmn.server.test_people_pages import axe, chromium, look, page  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow
expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("browser"))
    files = [
        ("file", (f"{key}.bpmn", xml.replace('process id="p"', f'process id="{key}"')))
        for key, xml in FILES.items()
    ]
    assert made("POST", "/api/v1/definitions", files=files).status_code == 201
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143
    made.http.close()


def start(server, process: str, key: str = "", **variables) -> str:
    body = {"process": process, "variables": variables, "business_key": key}
    return server("POST", "/api/v1/instances", json=body).json()["instance"]


def test_an_instance_is_followed_without_a_reload(server, page, axe):  # noqa: F811
    instance = start(server, "ask", "order-1", rows=2)
    page.goto(f"{server.url}/instances/{instance}")
    expect(page.locator("#why")).to_have_text("It waits for owners (at Look <b>).")
    page.evaluate("window.loadedOnce = true")
    page.locator("details.attempt summary").click()
    expect(page.get_by_text("<i>log")).to_be_visible()
    picture = page.locator("#picture")
    before = picture.get_attribute("src")
    assert picture.evaluate("each => each.naturalWidth") > 100
    look(page, axe, "instance")
    server("POST", f"/api/v1/tasks/{instance}/u/complete", json={"approved": True})
    expect(page.locator("#why")).to_contain_text("It completed at")
    expect(page.locator("#about .state")).to_have_text("completed")
    expect(picture).not_to_have_attribute("src", before)
    expect(page.get_by_text("<i>log")).to_be_visible()  # What was opened stays open.
    assert page.evaluate("window.loadedOnce")


def test_the_first_page_is_followed_and_leads_to_a_retry(server, page, axe):  # noqa: F811
    page.goto(server.url)
    page.evaluate("window.loadedOnce = true")
    made = [start(server, "breaks", f"run-{n}", divisor=0) for n in range(2)]
    expect(page.locator("#incidents li")).to_have_count(2)
    assert page.evaluate("window.loadedOnce")
    look(page, axe, "home")
    page.get_by_role("link", name="All 2 incidents").click()
    page.get_by_label("All 2 of this cause").check()
    page.get_by_label(f"{made[0]}/").uncheck()
    look(page, axe, "incidents")
    page.get_by_role("button", name="Retry what is selected").click()
    expect(page.get_by_role("status")).to_contain_text("1 tried again")
    page.goto(f"{server.url}/instances/{made[1]}")
    look(page, axe, "incident")
    page.get_by_text("Change variables first").click()
    page.get_by_label("Variables, as a JSON object").fill('{"divisor": 2}')
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#why")).to_contain_text("It completed at")


def test_the_lists_and_the_pages_of_definitions_and_schedules(server, page, axe):  # noqa: F811
    start(server, "ask", "order-2", rows=2)
    for name in ("instances", "definitions", "schedules"):
        page.goto(f"{server.url}/{name}")
        look(page, axe, name)
    page.goto(f"{server.url}/definitions/ask")
    expect(page.get_by_role("heading", name="Start")).to_be_visible()
    look(page, axe, "definition")
    page.get_by_label("Business key").fill("by hand")
    page.get_by_label("Variables").fill('{"rows": 3}')
    page.get_by_role("button", name="Start version 1").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("by hand")
    expect(page.locator("#why")).to_contain_text("It waits for owners")
