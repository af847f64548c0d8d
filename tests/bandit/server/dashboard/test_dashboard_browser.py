"""The dashboard in a real browser: it follows the server without a reload, and asks for a token."""

from __future__ import annotations

import pytest
from bandit.server.conftest import Server
from browser import axe, chromium, look, page  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow
expect = pytest.importorskip("playwright.sync_api").expect
ARMS = "context,arm,a,b,pulls\n,<b>x</b>,2,30,30\n,second,3,50,51\n,third,1,50,49\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dashboard")
    (directory / "posteriors.csv").write_text(ARMS)
    (directory / "candidate.csv").write_text(ARMS.replace("2,30,30", "3,20,21"))
    (directory / "token").write_text("secret-of-the-test")
    options = ("--log", "log", "--propensities", "1", "--candidate", "candidate.csv")
    secured = ("--token-file", str(directory / "token"))
    running = Server(directory, "--workers", "2", *options, "--share", "0.5", *secured)
    try:
        yield running.wait_until_ready()
    finally:
        running.close()


def decide(server, number):
    token = {"authorization": "Bearer secret-of-the-test"}
    found = server.call("POST", "/predict", {"context": f"u{number}", "k": 2}, **token).body
    event = {"decision_id": found["decision_id"], "arm": found["arms"][0], "reward": number % 2}
    assert server.call("POST", "/feedback", event, **token).status == 200


def test_the_dashboard_shows_what_happens_while_somebody_looks(server, page, axe):  # noqa: F811
    page.goto(server.url)
    look(page, axe, "bandit-token")
    page.get_by_label("Token of the server").fill("wrong")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#state")).to_have_text("The server does not take this token.")
    page.get_by_label("Token of the server").fill("secret-of-the-test")
    page.keyboard.press("Enter")
    expect(page.get_by_role("rowheader", name="<b>x</b>").first).to_be_visible()
    page.evaluate("window.loadedOnce = true")
    for number in range(60):
        decide(server, number)
    decisions = page.locator("#figures div").filter(has_text="decisions").first.locator("dd")
    expect(decisions).to_have_text("60", timeout=60_000)
    expect(page.locator("#rewards canvas")).to_be_visible()
    expect(page.locator("#arms svg.band")).to_have_count(3)
    expect(page.locator("#check")).to_contain_text("the propensities: p =", timeout=60_000)
    expect(page.locator("#versions-rows tr")).to_have_count(2)
    expect(page.locator("#stages")).to_contain_text("whole request")
    expect(page.locator("#drift")).to_contain_text("rewards of an arm")
    assert page.evaluate("window.loadedOnce")
    look(page, axe, "bandit-dashboard")


def test_a_host_of_a_fleet_divides_no_rewards_of_others_by_its_own_decisions(
    chromium,  # noqa: F811
    start,
    start_redis,
    eventually,
):
    url = start_redis().url
    hosts = [start("--workers", "1", "--store", url, folder=f"host{n}") for n in range(2)]
    for number in range(8):  # all at the second host
        found = hosts[1].post("/predict", {"context": f"u{number}", "k": 1})
        event = {"decision_id": found["decision_id"], "arm": found["arms"][0], "reward": 0.5}
        assert hosts[1].call("POST", "/feedback", event).status == 200
    assert hosts[0].post("/predict", {"k": 1})["arms"]
    eventually(lambda: hosts[0].get("/health")["fleet"]["entries"] == 8)
    page = chromium.new_page()  # noqa: F811
    page.set_default_timeout(60_000)
    page.goto(hosts[0].url)
    figures = page.locator("#figures")
    expect(figures).to_contain_text("rewards of the fleet8", timeout=60_000)
    expect(figures).to_contain_text("mean reward0.5", timeout=60_000)
    expect(figures).not_to_contain_text("per decision")
    expect(page.locator("#traffic")).to_contain_text("decisions of this host", timeout=60_000)
    page.close()
