"""The console's pages over HTTP: what they show, who may act, and that data is never HTML."""

from __future__ import annotations

import re

import pytest
from bpmn.conftest import diagram
from bpmn.server.conftest import Server

from mlkit.bpmn.journal.listings import Throughput
from mlkit.bpmn.runtime.session import Session
from mlkit.bpmn.server.console.home_page import last_day

TOKENS = "all-rights\nonly-looks viewer vera\n"
LOOKS = {"authorization": "Bearer only-looks"}
HOSTILE = "<script>alert(1)</script>"
ENDS = '<startEvent id="s"/><endEvent id="e"/>'
ASK = (
    ENDS + '<userTask id="u" name="Look &lt;b>" camunda:candidateGroups="owners"/>'
    '<scriptTask id="w" name="Work" scriptFormat="python"><script>print("&lt;i>log"); '
    "total = rows * 2; data = b'12345'</script></scriptTask>"
)
BREAKS = (
    ENDS + '<scriptTask id="w" name="Work" scriptFormat="python"><script>'
    "result = 10 // divisor</script></scriptTask>"
)
FRAGILE = BREAKS.replace(
    "<script>",
    "<extensionElements><camunda:failedJobRetryTimeCycle>R2/P1D</camunda:failedJobRetryTimeCycle>"
    "</extensionElements><script>",
)
LONG = (
    ENDS + '<scriptTask id="w" name="Work" scriptFormat="python"><script>'
    "import time\n"
    "def until(word):\n"
    "    for _ in range(6000):\n"
    "        try:\n"
    "            if open(file).read() == word: return\n"
    "        except FileNotFoundError: pass\n"
    "        time.sleep(0.05)\n"
    "for n in range(40): print('line', n, flush=True)\n"
    "until('more')\n"
    "print('going on &lt;b>', flush=True)\n"
    "until('end')\n"
    "print('the end')</script></scriptTask>"
)
NIGHTLY = (
    '<startEvent id="s"><timerEventDefinition><timeCycle>0 3 * * *</timeCycle>'
    '</timerEventDefinition></startEvent><endEvent id="e"/>'
)
FORKED = diagram(
    ENDS + '<parallelGateway id="fork"/><parallelGateway id="join"/>'
    '<intermediateCatchEvent id="pause"><timerEventDefinition><timeDuration>PT9H</timeDuration>'
    '</timerEventDefinition></intermediateCatchEvent><userTask id="u"/><task id="t"/>',
    "s>fork fork>pause fork>u fork>t pause>join u>join t>join join>e",
)
HELD = diagram(
    ENDS + '<scriptTask id="w" scriptFormat="python"><script>import os, time\n'
    "for _ in range(6000):\n"
    "    if os.path.exists(file): break\n"
    "    time.sleep(0.05)</script></scriptTask>",
    "s>w w>e",
)
FILES = {
    "forked": FORKED,
    "held": HELD,
    "ask": diagram(ASK, "s>w w>u u>e"),
    "breaks": diagram(BREAKS, "s>w w>e"),
    "long": diagram(LONG, "s>w w>e"),
    "fragile": diagram(FRAGILE, "s>w w>e"),
    "plain": diagram(ENDS, "s>e"),
    "nightly": diagram(NIGHTLY, "s>e").replace(
        "isExecutable", 'xmlns:mlkit="urn:mlkit:bpmn" mlkit:timezone="Asia/Tokyo" isExecutable'
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("console")
    (folder / "tokens").write_text(TOKENS)
    made = Server(folder, "--token-file", "tokens")
    made.http.headers["authorization"] = "Bearer all-rights"
    files = [
        ("file", (f"{key}.bpmn", xml.replace('process id="p"', f'process id="{key}"')))
        for key, xml in FILES.items()
    ]
    answer = made("POST", "/api/v1/definitions", files=files)
    assert answer.status_code == 201, answer.text
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143
    made.http.close()


def start(server, process: str, state: str, key: str = "", **variables) -> str:
    body = {"process": process, "variables": variables, "business_key": key}
    instance = server("POST", "/api/v1/instances", json=body).json()["instance"]
    path = f"/api/v1/instances/{instance}"
    server.wait(lambda: server("GET", path).json()["state"] == state)
    return instance


def state(server, instance: str) -> str:
    return server("GET", f"/api/v1/instances/{instance}").json()["state"]


def text(server, path: str, **options) -> str:
    answer = server("GET", path, **options)
    assert answer.status_code == 200, answer.text
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    return answer.text


def send(server, path: str, page: str | None = None, **fields):
    """Send a form as its page has it; a form that is on no page where `page` is empty."""
    token = ""
    if page != "":
        token = re.search(r'name="form_token" value="([^"]+)"', text(server, page or path))[1]
    return server("POST", path, data={"form_token": token, **fields}, allow_redirects=False)


def test_the_first_page_shows_what_there_is(server):
    asked = start(server, "ask", "waiting", "order-1", rows=2)
    broken = start(server, "breaks", "incident", divisor=0)
    ended = start(server, "plain", "completed", "last one")
    shown = text(server, "/")
    assert f'href="instances/{broken}"' in shown
    assert "ZeroDivisionError" in shown
    assert f'href="instances/{ended}"' in shown.partition("What ended last")[2]
    assert "nightly" in shown.partition("What starts next")[2]
    assert re.search(r"<strong>1</strong> <span class=\"state\" data-state=\"waiting\"", shown)
    assert asked in text(server, "/instances?state=waiting")


def test_instances_are_found_and_paged(server):
    made = [start(server, "plain", "completed", f"Batch_{n}", n=n) for n in range(5)]
    seen, path = [], "/instances?text=bAtCh_&limit=2"
    while path:
        page = text(server, path)
        seen += re.findall(r'href="instances/([0-9a-f]+)"', page)
        older = re.search(r'href="(instances\?[^"]+)" rel="next"', page)
        path = older and "/" + older[1].replace("&amp;", "&")
    assert seen == made[::-1]
    # What has a meaning in the data base has none here.
    assert not re.findall(r'href="instances/', text(server, "/instances?text=Batch%25"))
    assert made[0][:6] in text(server, f"/instances?text={made[0][:6]}")
    for query, wanted in (
        ("business_key=Batch_3", made[3]),
        ("process=plain&variable=n=4", made[4]),
        ("state=completed&process=&variable=&text=BATCH_1&business_key=", made[1]),
    ):
        found = re.findall(r'href="instances/([0-9a-f]+)"', text(server, f"/instances?{query}"))
        assert found == [wanted], query
    api = server("GET", "/api/v1/instances?text=batch_2").json()["instances"]
    assert [each["instance"] for each in api] == [made[2]]
    assert server("GET", "/instances?state=odd").status_code == 400
    assert server("GET", f"/instances?text={'%25' * 20_000}").status_code == 400
    assert server("GET", "/instances?cursor=x").status_code == 400


def test_an_instance_says_why_it_waits_and_what_it_did(server):
    instance = start(server, "ask", "waiting", HOSTILE, rows=21, note=HOSTILE)
    shown = text(server, f"/instances/{instance}")
    assert "It waits for owners (at Look &lt;b&gt;)." in shown
    assert HOSTILE not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "&lt;i&gt;log" in shown
    assert '<pre tabindex="0">42</pre>' in shown
    assert f'href="../tasks/{instance}/' in shown
    picture = server("GET", f"/instances/{instance}/picture.svg?at=3")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert 'data-element="w" data-type="scriptTask" data-state="done"' in picture.text
    assert 'data-element="u" data-type="userTask" data-state="waiting"' in picture.text
    assert "Who did what" in shown
    assert "Who did what" not in text(server, f"/instances/{instance}", headers=LOOKS)
    send(server, f"/instances/{instance}", action="suspend", reason="wait")
    assert "It is suspended" in text(server, f"/instances/{instance}")
    send(server, f"/instances/{instance}", action="unsuspend")
    assert "It waits for owners" in text(server, f"/instances/{instance}")
    ended = send(server, f"/instances/{instance}", action="cancel", reason="not needed")
    assert ended.status_code == 303
    assert state(server, instance) == "cancelled"
    shown = text(server, f"/instances/{instance}")
    assert re.search("It was cancelled at [^:]+:[0-9]+:[0-9]+ UTC: not needed[.]", shown)


def test_artifacts_are_listed_and_downloaded(server):
    instance = start(server, "ask", "waiting", rows=1)
    shown = text(server, f"/instances/{instance}")
    found = re.search(r'href="\.\./(api/v1/instances/[^"]+/artifacts/[0-9a-f]{64})"', shown)
    if found is None:
        pytest.fail(shown)
    answer = server("GET", f"/{found[1]}")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == "attachment"


def test_an_incident_is_tried_again_with_other_variables(server):
    instance = start(server, "breaks", "incident", divisor=0)
    path = f"/instances/{instance}"
    assert "It stopped at Work and needs somebody: " in text(server, path)
    number = re.search(r'name="incident" value="([0-9]+)"', text(server, path))[1]
    fields = {"action": "retry", "incident": number}
    assert send(server, path, **fields, variables="[1]").status_code == 422
    assert send(server, path, **fields, variables="{").status_code == 422
    assert send(server, path, action="explode").status_code == 400
    wrong = {**fields, "incident": "999", "variables": '{"divisor": 7}'}
    assert send(server, path, **wrong).status_code == 409
    assert server("GET", f"/api/v1{path}").json()["variables"]["divisor"] == 0
    done = send(server, path, **fields, variables='{"divisor": 5}')
    assert (done.status_code, done.headers["location"]) == (
        303,
        f"../instances/{instance}?done=retry",
    )
    server.wait(lambda: state(server, instance) == "completed")
    shown = text(server, path)
    assert "It completed at " in shown
    assert "Work, attempt 2" in shown
    assert ": retry" in shown.partition("Who did what")[2]


def test_exactly_the_selected_incidents_are_tried_again(server):
    made = [start(server, "breaks", "incident", divisor=0) for _ in range(3)]
    page = text(server, "/incidents")
    assert page.count('<section class="incident"') == 1
    names = {each: re.search(rf'value="({each}/[0-9]+)"', page)[1] for each in made}
    for each in made:
        server("POST", f"/api/v1/instances/{each}/variables", json={"variables": {"divisor": 1}})
    answer = send(server, "/incidents", incident=[names[made[0]], names[made[2]]])
    assert answer.status_code == 200
    assert "2 tried again" in answer.text
    for each in (made[0], made[2]):
        server.wait(lambda each=each: state(server, each) == "completed")
    assert state(server, made[1]) == "incident"
    start(server, "breaks", "incident", divisor=0)
    seen, path = [], "/incidents?process=breaks&limit=1"
    while path:
        page = text(server, path)
        seen += re.findall(r'name="incident" value="([0-9a-f]+)/', page)
        older = re.search(r'href="(incidents[?][^"]+)" rel="next"', page)
        path = older and "/" + older[1].replace("&amp;", "&")
    assert seen.count(made[1]) == 1
    assert len(seen) == len(set(seen)) > 1
    again = send(server, "/incidents", page=f"/instances/{made[1]}", incident=names[made[0]])
    assert "0 tried again, 1 not" in again.text
    assert send(server, "/incidents", page=f"/instances/{made[1]}").status_code == 422
    assert send(server, "/incidents", page="/incidents", incident="x/y").status_code == 422


def test_the_log_of_an_attempt_that_runs_is_shown(server, tmp_path):
    go = tmp_path / "go"
    instance = start(server, "long", "running", file=str(go))
    path = f"/api/v1/instances/{instance}/logs"

    def printed(wanted):
        running = server("GET", path).json()["running"]
        return [each for each in running if each["stdout"].endswith(wanted)]

    [found] = server.wait(lambda: printed("line 38\nline 39\n"))
    assert (found["element"], found["attempt"]) == ("w", 1)
    shown = text(server, f"/instances/{instance}")
    assert f"on {found['host']}" in shown
    assert "line 39" in shown
    assert "runs since" in server.mlkit("logs", instance).stdout
    go.write_text("more")
    server.wait(lambda: printed("line 39\ngoing on <b>\n"))
    go.write_text("end")
    server.wait(lambda: state(server, instance) == "completed")
    ended = server("GET", path).json()
    assert ended["running"] == []
    assert ended["logs"][0]["host"] == found["host"]
    assert f"on {found['host']}" in text(server, f"/instances/{instance}")


def test_exactly_the_selected_retries_begin_at_once(server):
    made = [start(server, "fragile", "waiting", divisor=0) for _ in range(3)]
    page = text(server, "/retries")
    assert page.count('<section class="incident"') == 1
    assert "ZeroDivisionError" in page
    names = {each: re.search(rf'value="({each}/[0-9]+)"', page)[1] for each in made}
    found = server("GET", "/api/v1/retries?process=fragile").json()["retries"]
    assert {f"{each['instance']}/{each['incident']}" for each in found} == set(names.values())
    assert found[0]["attempt"] == 1
    for each in made:
        server("POST", f"/api/v1/instances/{each}/variables", json={"variables": {"divisor": 1}})
    answer = send(server, "/retries", incident=[names[made[0]], names[made[2]]])
    assert "2 tried again" in answer.text
    for each in (made[0], made[2]):
        server.wait(lambda each=each: state(server, each) == "completed")
    assert state(server, made[1]) == "waiting"
    again = send(server, "/retries", incident=names[made[0]])
    assert "0 tried again, 1 not" in again.text
    number = int(names[made[1]].partition("/")[2])
    answer = server("POST", f"/api/v1/instances/{made[1]}/retry", json={"incident": number})
    assert answer.status_code == 200
    server.wait(lambda: state(server, made[1]) == "completed")
    assert "No task waits for another attempt." in text(server, "/retries")


def test_a_definition_shows_its_versions_and_what_waits_and_is_started(server):
    start(server, "ask", "waiting", rows=1)
    assert 'href="definitions/ask"' in text(server, "/definitions")
    shown = text(server, "/definitions/ask")
    assert re.search(r"<code>u</code> <span class=\"about\">[1-9][0-9]* waiting", shown)
    picture = server("GET", "/definitions/ask/picture.svg?version=1").text
    assert 'data-element="u" data-type="userTask" data-state="waiting"' in picture
    fields = {"version": "1", "business_key": "by hand", "variables": '{"rows": 4}'}
    done = send(server, "/definitions/ask", **fields)
    instance = re.fullmatch(r"\.\./instances/([0-9a-f]+)\?done=start", done.headers["location"])[1]
    server.wait(lambda: state(server, instance) == "waiting")
    assert "by hand" in text(server, f"/instances/{instance}?done=start")
    for path in ("/definitions/none", "/definitions/ask?version=9", "/definitions/ask?version=x"):
        assert server("GET", path).status_code == 404


def test_a_schedule_is_paused_resumed_and_run(server):
    shown = text(server, "/schedules")
    at_three = r'<time datetime="[0-9-]+T18:00:00[.]000Z">[A-Z][a-z]{2} [0-9-]+ 03:00:00 JST</time>'
    assert len(re.findall(f"<li>{at_three}", shown)) == 5
    assert re.search(at_three, text(server, "/").partition("What starts next")[2])
    name = {"schedule": "nightly/s"}
    assert send(server, "/schedules", action="pause", **name).status_code == 303
    assert "<strong>paused</strong>" in text(server, "/schedules")
    assert "nightly" not in text(server, "/").partition("What starts next")[2]
    send(server, "/schedules", action="resume", **name)
    assert "<strong>paused</strong>" not in text(server, "/schedules")
    done = send(server, "/schedules", action="run", **name)
    instance = re.search(r"instances/([0-9a-f]+)", done.headers["location"])[1]
    server.wait(lambda: state(server, instance) == "completed")
    assert send(server, "/schedules", action="pause", schedule="nightly/x").status_code == 404


def test_a_viewer_sees_no_buttons_and_may_not_act(server):
    instance = start(server, "breaks", "incident", divisor=0)
    for path in ("/", "/instances", f"/instances/{instance}", "/definitions", "/schedules",
                 "/definitions/breaks", "/incidents"):  # fmt: skip
        shown = text(server, path, headers=LOOKS)
        assert 'class="yes"' not in shown.replace('<button class="yes">Find</button>', "")
        assert server("GET", path, headers={"authorization": ""}).status_code == 401
    for path in (f"/instances/{instance}", "/definitions/plain", "/schedules", "/incidents"):
        data = {"action": "retry", "form_token": "x"}
        assert server("POST", path, data=data, headers=LOOKS).status_code == 403


def test_a_form_that_was_on_no_page_does_nothing(server):
    instance = start(server, "breaks", "incident", divisor=0)
    for path in (f"/instances/{instance}", "/definitions/plain", "/schedules", "/incidents"):
        fields = {"action": "retry", "schedule": "nightly/s", "incident": f"{instance}/2"}
        assert send(server, path, page="", **fields).status_code == 422
    viewers = re.search(
        r'name="form_token" value="([^"]+)"', text(server, "/incidents", headers=LOOKS)
    )[1]
    data = {"form_token": viewers, "action": "retry"}
    assert server("POST", f"/instances/{instance}", data=data).status_code == 422
    assert state(server, instance) == "incident"


def test_of_a_file_with_several_diagrams_the_one_of_the_process_is_shown(server):
    plane = (
        '<bpmndi:BPMNDiagram xmlns:bpmndi="http://www.omg.org/spec/BPMN/20100524/DI"'
        ' xmlns:dc="http://www.omg.org/spec/DD/20100524/DC"><bpmndi:BPMNPlane bpmnElement="{0}">'
        '<bpmndi:BPMNShape bpmnElement="{0}_s"><dc:Bounds x="0" y="0" width="36" height="36"/>'
        '</bpmndi:BPMNShape><bpmndi:BPMNShape bpmnElement="{0}_e">'
        '<dc:Bounds x="90" y="0" width="36" height="36"/></bpmndi:BPMNShape></bpmndi:BPMNPlane>'
        "</bpmndi:BPMNDiagram>"
    )
    process = (
        '<process id="{0}" isExecutable="true"><startEvent id="{0}_s"/><endEvent id="{0}_e"/>'
        '<sequenceFlow id="{0}_f" sourceRef="{0}_s" targetRef="{0}_e"/></process>'
    )
    parts = [each.format(name) for each in (process, plane) for name in ("one", "two")]
    parts[0] = parts[0].replace("true", "false")
    head = '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d">'
    files = [("file", ("both.bpmn", f"{head}{''.join(parts)}</definitions>"))]
    answer = server("POST", "/api/v1/definitions", files=files)
    assert answer.status_code == 201, answer.text
    picture = server("GET", "/definitions/two/picture.svg").text
    assert set(re.findall(r'data-element="([a-z]+)_[se]"', picture)) == {"two"}


def test_what_is_not_there_is_a_page_too(server):
    for path in ("/instances/00000000", "/instances/00000000/picture.svg"):
        answer = server("GET", path)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")


def test_the_last_day_has_bars_by_hour_and_times_by_definition():
    hour = 500_000
    found = [
        Throughput(hour, "train", "completed", 3, 6.0, 4.0),
        Throughput(hour, "train", "failed", 1, 2.0, 2.0),
        Throughput(hour - 23, "load", "completed", 2, 7200.0, 7000.0),
    ]
    day = last_day(found, hour * 3600.0 + 1800)
    assert (day["number"], day["states"], day["most"]) == (6, [("completed", 5), ("failed", 1)], 4)
    first, *_, last = day["bars"]
    assert len(day["bars"]) == 24
    assert [(each["state"], each["y"], each["height"]) for each in last["parts"]] == [
        ("completed", 25.0, 75.0), ("failed", 0.0, 25.0)
    ]  # fmt: skip
    assert [each["height"] for each in first["parts"]] == [50.0]
    assert [(e["process"], e["number"], e["mean"], e["longest"]) for e in day["times"]] == [
        ("train", 4, "2.0 s", "4.0 s"), ("load", 2, "60 min", "117 min")
    ]  # fmt: skip
    assert last_day([], 0.0)["bars"][0]["parts"] == []


def test_the_first_page_shows_what_has_ended_in_the_last_day(server, tmp_path, diagram):
    (tmp_path / "p.bpmn").write_text(diagram('<startEvent id="s"/><endEvent id="e"/>', "s>e"))
    with Session(server.state) as session:
        session.begin(tmp_path / "p.bpmn", {})
    page = server.wait(
        lambda: (text := server("GET", "/").text) and "Time from start to end" in text and text
    )
    assert 'aria-label="Instances that ended in each of the last 24 hours' in page


def test_data_stores_and_what_people_did_have_pages(server):
    value = {"text": "<b>bold</b>", "password": "hunter22-x"}
    assert server("PUT", "/api/v1/stores/prices", json={"value": value}).status_code == 204
    page = server("GET", "/stores").text
    assert "prices" in page
    assert "&lt;b&gt;bold" in page
    assert "hunter22-x" not in page
    deployed = server("GET", "/activity").text
    assert "deploy ask version 1" in deployed
    assert server("GET", "/activity?before=1").status_code == 200
    assert server("GET", "/activity?before=x").status_code == 404


def test_the_page_of_a_definition_counts_tokens_wherever_they_are(server, tmp_path):
    def tallies(process: str) -> dict[str, str]:
        page = server("GET", f"/definitions/{process}").text
        return dict(re.findall(r'<li><code>(\w+)</code> <span class="about">([^<]+)</span>', page))

    for _ in range(2):
        start(server, "forked", "waiting")
    waiting = {"join": "2 at the join", "pause": "2 until a time", "u": "2 waiting"}
    assert tallies("forked") == waiting
    picture = server("GET", "/definitions/forked/picture.svg").text
    assert "2 until a time" in picture
    stops = start(server, "forked", "waiting")
    server("POST", f"/api/v1/instances/{stops}/suspend")
    server.wait(lambda: "1 suspended" in tallies("forked")["pause"])
    assert tallies("forked") == {
        "join": "3 at the join", "pause": "2 until a time 1 suspended",
        "u": "2 waiting 1 suspended",
    }  # fmt: skip
    files = [tmp_path / "first", tmp_path / "second"]
    try:
        for each in files:
            start(server, "held", "running", file=str(each))
        server.wait(lambda: tallies("held") == {"w": "2 running"})
        files[0].touch()
        server.wait(lambda: tallies("held") == {"w": "1 running"})
    finally:
        for each in files:
            each.touch()
    server.wait(lambda: tallies("held") == {})


def test_tasks_are_found_by_words(server):
    start(server, "ask", "waiting", "Words-1", rows=1)
    start(server, "ask", "waiting", "words-2", rows=1)

    def found(text: str) -> list[str]:
        page = server("GET", "/tasks", params={"show": "all", "find": text}).text
        return sorted(set(re.findall(r"[Ww]ords-\d", page.split("</form>", 1)[-1])))

    assert found("WORDS-") == ["Words-1", "words-2"]
    assert found("look words-2 owners") == ["words-2"]
    assert found("words-2 nobody") == []
