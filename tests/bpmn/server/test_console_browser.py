"""The console in a real browser: a running instance is followed, a failing one is tried again."""

from __future__ import annotations

import socket

import pytest
from bpmn.server.conftest import Server
from bpmn.server.test_console import FILES
from browser import axe, chromium, look, page  # noqa: F401 - fixtures

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


def test_the_log_of_an_attempt_is_followed_while_it_runs(server, page, axe, tmp_path):  # noqa: F811
    go = tmp_path / "go"
    instance = start(server, "long", file=str(go))
    page.goto(f"{server.url}/instances/{instance}")
    page.evaluate("window.loadedOnce = true")
    attempt = page.locator("details.attempt")
    expect(attempt.locator(".state")).to_have_text("running")
    expect(attempt.locator(".about")).to_contain_text(f" · on {socket.gethostname()}:")
    attempt.locator("summary").click()
    expect(attempt.get_by_text("line 20\n")).to_be_visible()
    text = attempt.locator("pre")
    expect(text).not_to_contain_text("going on")
    go.write_text("more")
    expect(text).to_contain_text("going on <b>")
    page.wait_for_function(
        "() => { const e = document.querySelector('details.attempt pre');"
        " return e.scrollHeight - e.scrollTop - e.clientHeight < 4 }"
    )
    look(page, axe, "instance-running")
    go.write_text("end")
    expect(page.locator("#why")).to_contain_text("It completed at")
    expect(attempt.locator(".state")).to_have_text("completed")
    expect(text).to_contain_text("the end")  # What was opened stays open.
    expect(text).to_be_visible()
    expect(attempt.locator(".about")).to_contain_text(f" · on {socket.gethostname()}:")
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
    page.get_by_text("Traceback and other errors").click()
    expect(page.locator(".incident")).to_contain_text("Traceback (most recent call last)")
    look(page, axe, "incident")
    page.get_by_text("Change variables first").click()
    page.get_by_label("Variables, as a JSON object").fill('{"divisor": 2}')
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#why")).to_contain_text("It completed at")


def test_what_waits_for_another_attempt_begins_now(server, page, axe):  # noqa: F811
    made = [start(server, "fragile", divisor=0) for _ in range(2)]
    found = "/api/v1/retries?process=fragile"
    server.wait(lambda: len(server("GET", found).json()["retries"]) == 2)
    page.goto(server.url)
    page.get_by_role("link", name="Retries").click()
    look(page, axe, "retries")
    page.get_by_label("All 2 of this cause").check()
    page.get_by_label(f"{made[1]}/").uncheck()
    change = {"variables": {"divisor": 1}}
    server("POST", f"/api/v1/instances/{made[0]}/variables", json=change)
    page.get_by_role("button", name="Retry what is selected").click()
    expect(page.get_by_role("status")).to_contain_text("1 tried again")
    page.goto(f"{server.url}/instances/{made[0]}")
    expect(page.locator("#why")).to_contain_text("It completed at")
    page.goto(f"{server.url}/instances/{made[1]}")
    expect(page.locator("#waiting")).to_contain_text("Work")
    server("POST", f"/api/v1/instances/{made[1]}/cancel")


def test_the_lists_and_the_pages_of_definitions_and_schedules(server, page, axe):  # noqa: F811
    start(server, "ask", "order-2", rows=2)
    for name in ("instances", "definitions", "schedules", "stores", "activity"):
        page.goto(f"{server.url}/{name}")
        look(page, axe, name)
    page.goto(f"{server.url}/definitions/ask")
    expect(page.get_by_role("heading", name="Start")).to_be_visible()
    look(page, axe, "definition")
    page.goto(f"{server.url}/definitions/fragile")
    page.evaluate("window.loadedOnce = true")
    waits = start(server, "fragile", divisor=0)
    expect(page.locator("#tallies")).to_contain_text("1 to retry")
    expect(page.locator("#newest li").first).to_contain_text("waiting")
    server("POST", f"/api/v1/instances/{waits}/cancel")
    expect(page.locator("#tallies")).not_to_contain_text("to retry")
    assert page.evaluate("window.loadedOnce")
    page.goto(f"{server.url}/definitions/ask")
    page.get_by_label("Business key").fill("by hand")
    page.get_by_label("Variables").fill('{"rows": 3}')
    page.get_by_role("button", name="Start version 1").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("by hand")
    expect(page.locator("#why")).to_contain_text("It waits for owners")


def test_the_diagram_of_a_definition_shows_where_the_time_goes(server, page, axe):  # noqa: F811
    instance = start(server, "ask", "order-4", rows=2)
    page.goto(f"{server.url}/instances/{instance}")
    expect(page.locator("#why")).to_contain_text("It waits for owners")
    server("POST", f"/api/v1/tasks/{instance}/u/complete", json={"approved": True})
    expect(page.locator("#why")).to_contain_text("It completed at")
    page.goto(f"{server.url}/definitions/ask?version=1")
    page.get_by_role("link", name="durations").click()
    expect(page.locator("#durations li").first).to_contain_text("% of the time")
    picture = page.get_by_role("img", name="coloured by the share of the time")
    assert picture.evaluate("each => each.naturalWidth") > 100
    svg = page.request.get(page.url.replace("definitions/ask", "definitions/ask/picture.svg"))
    assert 'data-state="over 50 %"' in svg.text()
    look(page, axe, "definition-durations")
    page.get_by_role("link", name="what is open").click()
    expect(page.locator("#durations")).to_have_count(0)


def test_an_instance_is_moved_to_another_version_after_a_report(server, page, axe):  # noqa: F811
    instance = start(server, "ask", "order-3", rows=2)
    page.goto(f"{server.url}/instances/{instance}")
    expect(page.locator("#why")).to_contain_text("It waits for owners")
    changed = FILES["ask"].replace('process id="p"', 'process id="ask"').replace('"u"', '"v"')
    answer = server("POST", "/api/v1/definitions", files=[("file", ("ask.bpmn", changed))])
    assert answer.json()["definitions"][0]["version"] == 2
    page.reload()
    page.get_by_role("link", name="Move this instance to another version").click()
    expect(page.get_by_role("heading", name="What prevents it")).to_be_visible()
    look(page, axe, "migration-prevented")
    page.get_by_label("Elements with another id there").fill("u=v")
    page.get_by_role("button", name="Show the outcome").click()
    look(page, axe, "migration")
    page.get_by_role("button", name="Move it to version 2").click()
    expect(page.get_by_text("It was migrated to another version.")).to_be_visible()
    expect(page.locator("#about")).to_contain_text("version 2")
