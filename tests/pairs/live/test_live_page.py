"""The page of a run, in a browser and as an interface."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
import urllib.request

import pytest
from pairs.backtests import PAIRS, SETTINGS
from pairs.live_runs import RecordsFeed, begin, go, plan_of, recorded, records_of
from pairs.markets import cointegrated

from mlkit.errors import ConfigurationError
from mlkit.pairs.jobs.file import JobRaised
from mlkit.pairs.jobs.run import Job, Plan
from mlkit.pairs.live import statements
from mlkit.pairs.live.limits import RiskLimits
from mlkit.pairs.live.server.process import PageProcess
from mlkit.pairs.live.server.view import Curve

BROWSER = shutil.which("chromium")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    market = cointegrated(5, bars=200)
    limits = RiskLimits(gross=1e6, drawdown=0.5)
    path = tmp_path_factory.mktemp("page") / "<b>run"
    folder = begin(path, plan_of(market, SETTINGS, PAIRS, limits=limits))
    go(folder, RecordsFeed(records_of(market)[:700], is_replay=False))
    return folder


@pytest.fixture(scope="module")
def url(run):
    process = PageProcess(run, "127.0.0.1", 0)
    process.start()
    yield process.url
    process.stop()


def ask(url, body=None, **headers):
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_interface_shows_what_the_page_does(url, run):
    code, body = ask(f"{url}/status")
    status = json.loads(body)
    assert (code, status["bars"], status["runs"]) == (200, 175, False)
    assert {each["pair"] for each in status["pairs"]} == {"A/B", "C/D"}
    assert {each["limit"] for each in status["limits"]} == {"gross", "drawdown"}
    while not json.loads(ask(f"{url}/records")[1])["events"]:
        time.sleep(0.05)
    curves = json.loads(ask(f"{url}/curves")[1])["equity"]
    assert (len(curves), curves[-1]) == (175, status["account"]["equity"])
    assert json.loads(ask(f"{url}/records")[1])["fills"]
    assert json.loads(ask(f"{url}/pair?name=A/B")[1])["times"]
    assert ask(f"{url}/pair?name=X/Y")[0] == 404
    assert ask(f"{url}/nothing")[0] == 404


@pytest.fixture(scope="module")
def failed_job(run, tmp_path_factory):
    file = tmp_path_factory.mktemp("job") / "job.py"
    file.write_text("def process(data):\n    raise ValueError('<b>no</b>')\n")
    with pytest.raises(JobRaised):
        Job(Plan(str(file), ("bars",), "out", str(run.path / "log"), restarts=0)).run()


def test_jobs_on_the_run_s_log_are_shown_with_what_waits_for_them(url, run, failed_job):
    (job,) = json.loads(ask(f"{url}/status")[1])["jobs"]
    assert (job["state"], job["runs"], job["records"]) == ("stopped", False, 0)
    assert job["behind"] == len(recorded(run)["bars"])
    assert "<b>no</b>" in "\n".join(job["log"])


def test_statements_are_listed_and_kept_as_files(url, run):
    day, path, _ = statements.write(run)
    assert json.loads(ask(f"{url}/status")[1])["statements"] == [day]
    code, body = ask(f"{url}/statement?day={day}")
    assert (code, body) == (200, path.read_bytes())
    for other in ("1999-01-01", "../live", ""):
        assert ask(f"{url}/statement?day={other}")[0] == 404


def test_commands_come_from_this_page_only(url, run):
    command = b'{"command": "pause", "pair": "C/D"}'
    events = len(recorded(run)["events"])
    assert ask(f"{url}/commands", command, origin="http://evil.example")[0] == 403
    assert ask(f"{url}/commands", command, host="evil.example")[0] == 403
    assert ask(f"{url}/commands", b'{"command": "sell"}')[0] == 422
    assert ask(f"{url}/commands", b'{"command": "pause", "pair": "A/Z"}')[0] == 400
    assert len(recorded(run)["events"]) == events


def test_other_addresses_need_a_login_and_are_refused(run):
    with pytest.raises(ConfigurationError, match="no login"):
        PageProcess(run, "0.0.0.0", 0)


def test_a_curve_keeps_its_ends_in_bounded_memory():
    curve = Curve(most=100)
    for n in range(10_000):
        curve.add(float(n), float(n))
    assert len(curve.times) <= 100
    assert (curve.times[0], curve.times[-1]) == (0.0, 9999.0)
    assert curve.times == sorted(curve.times)


def test_the_page_works_in_a_browser(url, run, failed_job):
    statements.write(run)
    if BROWSER is None:
        if os.environ.get("MLKIT_REQUIRE_ALL") == "1":
            pytest.fail("chromium is missing")
        pytest.skip("chromium is missing")
    playwright = pytest.importorskip("playwright.sync_api")
    problems = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="dark", viewport={"width": 390, "height": 800})
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text)
                if "Content Security" in message.text else None)  # fmt: skip
        page.goto(url)
        expect, patient = playwright.expect, {"timeout": 60_000}
        expect(page.locator("h1")).to_contain_text("<b>run", **patient)
        expect(page.locator("#state")).to_contain_text("no process runs it", **patient)
        expect(page.locator("#equity canvas")).to_be_visible(**patient)
        expect(page.locator("#limits meter")).to_have_count(2, **patient)
        expect(page.locator("#statements a")).to_have_count(1, **patient)
        with page.expect_download(timeout=60_000) as kept:
            page.locator("#statements a").click()
        assert kept.value.suggested_filename.startswith("statement-")
        expect(page.locator("#jobs")).to_contain_text("stopped", **patient)
        page.locator("#job-logs summary").click()
        expect(page.locator("#job-logs pre")).to_contain_text("<b>no</b>", **patient)
        page.get_by_role("button", name="A/B", exact=True).click()
        expect(page.locator("#pair canvas")).to_be_visible(**patient)
        page.get_by_role("button", name="Pause", exact=True).focus()
        page.keyboard.press("Enter")
        expect(page.locator("#confirm")).to_be_visible(**patient)
        page.keyboard.press("Enter")  # the question's first answer is no
        expect(page.locator("#confirm")).to_be_hidden(**patient)
        page.get_by_role("button", name="Flatten", exact=True).click()
        with page.expect_response("**/commands", timeout=60_000) as sent:
            page.locator("#confirmed").click()
        assert sent.value.status == 200
        browser.close()
    assert not problems
    go(run, RecordsFeed([], is_replay=False))
    commands = [json.loads(each) for each in recorded(run)["events"] if b'"command"' in each]
    assert [(each["command"], each["by"]) for each in commands] == [("flatten", "the page")]
