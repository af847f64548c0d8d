"""The interface over HTTP, as another program uses it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
FORM = (
    ENDS + '<userTask id="u" name="Look" camunda:candidateGroups="owners"><extensionElements>'
    '<camunda:formData><camunda:formField id="rate" label="Rate" type="double"/>'
    "</camunda:formData></extensionElements></userTask>"
)
HEAD = '<scriptTask id="work" scriptFormat="python"><script>'
V1 = "/api/v1"


def script(source: str) -> str:
    return f"{ENDS}{HEAD}{source}</script></scriptTask>"


def deploy(server, key: str, xml: str, **files: str):
    parts = [("file", (f"{key}.bpmn", xml.replace('process id="p"', f'process id="{key}"')))]
    parts += [("file", (name.replace("_", "."), text)) for name, text in files.items()]
    return server("POST", f"{V1}/definitions", files=parts)


def start(server, key: str, headers=None, **options):
    answer = server("POST", f"{V1}/instances", json={"process": key, **options}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["instance"]


def show(server, instance: str):
    return server("GET", f"{V1}/instances/{instance}").json()


def until(server, instance: str, *states: str):
    return server.wait(lambda: (d := show(server, instance))["state"] in states and d)


def test_from_a_deployment_to_the_end(server, diagram):
    xml = diagram(script("total = rows * 2"), "s>work work>e")
    answer = deploy(server, "whole", xml)
    assert answer.status_code == 201, answer.text
    (found,) = answer.json()["definitions"]
    assert (found["process"], found["version"], found["is_new"]) == ("whole", 1, True)
    instance = start(server, "whole", variables={"rows": 21}, business_key="b1")
    shown = until(server, instance, "completed")
    assert shown["variables"] == {"rows": 21, "total": 42}
    assert (shown["version"], shown["business_key"]) == (1, "b1")
    trace = server("GET", f"{V1}/instances/{instance}/history").json()["trace"]
    assert [each["element"] for each in trace] == ["s", "work", "e"]
    (log,) = server("GET", f"{V1}/instances/{instance}/logs").json()["logs"]
    assert (log["element"], log["outcome"]) == ("work", "completed")


def test_new_instances_take_the_newest_version_and_running_ones_keep_theirs(server, diagram):
    ask = ENDS + '<userTask id="u"/>'
    first = diagram(ask + HEAD + "v = 1</script></scriptTask>", "s>u u>work work>e")
    assert deploy(server, "versions", first).json()["definitions"][0]["version"] == 1
    old = start(server, "versions")
    again = deploy(server, "versions", first).json()["definitions"][0]
    assert (again["version"], again["is_new"]) == (1, False)
    second = deploy(server, "versions", first.replace("v = 1", "v = 2"))
    assert second.json()["definitions"][0]["version"] == 2
    new, pinned = start(server, "versions"), start(server, "versions", version=1)
    for instance in (old, new, pinned):
        until(server, instance, "waiting")
        server("POST", f"{V1}/tasks/{instance}/u/complete")
    values = [until(server, each, "completed")["variables"]["v"] for each in (old, new, pinned)]
    assert values == [1, 2, 1]
    listed = server("GET", f"{V1}/definitions/versions").json()["definitions"]
    assert [each["version"] for each in listed] == [2, 1]
    found = server("GET", f"{V1}/instances?process=versions&version=1").json()["instances"]
    assert {each["instance"] for each in found} == {old, pinned}
    stored = server("GET", f"{V1}/definitions/versions/versions/2/diagram")
    assert "v = 2" in stored.text


def test_files_of_a_deployment_are_used_where_it_came_from_is_gone(server, diagram):
    body = (
        ENDS + '<scriptTask id="work" scriptFormat="python" camunda:resource="calc.py"/>'
        '<serviceTask id="call" camunda:class="steps:triple"/>'
    )
    xml = diagram(body, "s>work work>call call>e")
    steps = "def triple(x):\n    return {'y': x * 3}\n"
    answer = deploy(server, "files", xml, calc_py="x = 5", steps_py=steps)
    if answer.status_code == 422:  # The attribute of callables is another one.
        pytest.fail(answer.text)
    shown = until(server, start(server, "files"), "completed", "incident")
    assert shown["variables"].get("x") == 5, shown


def test_a_deployment_with_errors_is_refused_with_all_of_them(server, diagram):
    bad = diagram(script("1 +"), "s>work work>e").replace('id="p"', 'id="bad"')
    worse = diagram(ENDS, "s>nowhere")
    parts = [("file", ("bad.bpmn", bad)), ("file", ("worse.bpmn", worse))]
    answer = server("POST", f"{V1}/definitions", files=parts)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert "bad.bpmn" in answer.json()["detail"]
    assert "worse.bpmn" in answer.json()["detail"]
    assert answer.json()["hint"]
    names = server("GET", f"{V1}/definitions").json()["definitions"]
    assert "bad" not in {each["process"] for each in names}


@pytest.mark.parametrize("name", ["../x.bpmn", "/etc/x.bpmn", "a\\b.bpmn"])
def test_a_file_name_does_not_lead_out_of_a_deployment(server, diagram, name):
    files = [("file", (name, diagram(ENDS, "s>e")))]
    assert server("POST", f"{V1}/definitions", files=files).status_code in (400, 422)


def test_an_idempotency_key_starts_once(server, diagram):
    deploy(server, "once", diagram(ENDS, "s>e"))
    key = {"Idempotency-Key": "k-1"}
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(lambda _: start(server, "once", headers=key), range(8)))
    assert len(found) == 1
    body = {"process": "once", "variables": {"other": 1}}
    assert server("POST", f"{V1}/instances", json=body, headers=key).status_code == 400


def test_pages_and_searches(server, diagram):
    deploy(server, "search", diagram(ENDS, "s>e"))
    made = [
        start(server, "search", variables={"n": n, "text": "a b"}, business_key=f"k{n}")
        for n in range(7)
    ]
    for each in made:
        until(server, each, "completed")
    seen, cursor = [], ""
    while True:
        page = server("GET", f"{V1}/instances?process=search&limit=3{cursor}").json()
        seen += [each["instance"] for each in page["instances"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == made[::-1]
    for query, wanted in (
        ("variable=n=3", [made[3]]),
        ('variable=n="3"', []),
        ("variable=text=a b", made[::-1]),
        ("business_key=k5", [made[5]]),
        ("state=waiting", []),
        ("started_after=2999-01-01", []),
        ("ended_after=2020-01-01T00:00:00Z", made[::-1]),
    ):
        found = server("GET", f"{V1}/instances?process=search&{query}").json()["instances"]
        assert [each["instance"] for each in found] == wanted, query


def test_a_task_from_claim_to_completion(server, diagram):
    deploy(server, "people", diagram(FORM, "s>u u>e"))
    instance = start(server, "people")
    until(server, instance, "waiting")
    (task,) = server("GET", f"{V1}/tasks?group=owners").json()["tasks"]
    assert (task["instance"], task["name"]) == (instance, "Look")
    path = f"{V1}/tasks/{task['task']}"
    one = server("GET", path).json()
    assert one["form"][0]["id"] == "rate"
    assert (one["created"], task["since"]) == (task["created"], task["created"])
    assert datetime.fromisoformat(one["created"]).timestamp() == pytest.approx(one["since"], abs=1)
    assert server("POST", f"{path}/claim", json={"person": "ann"}).status_code == 200
    refused = server("POST", f"{path}/claim", json={"person": "bob"})
    assert refused.status_code == 409
    assert "assigned to ann" in refused.json()["detail"]
    assert server("POST", f"{path}/delegate", json={"to": "bob"}).status_code == 200
    (mine,) = server("GET", f"{V1}/tasks?assignee=bob").json()["tasks"]
    assert mine["task"] == task["task"]
    wrong = server("POST", f"{path}/complete", json={"variables": {"rate": "x"}})
    assert wrong.status_code == 422
    done = server(
        "POST", f"{path}/complete", json={"variables": {"rate": 0.5}, "person": "bob"}
    ).json()
    assert (done["state"], done["variables"]["rate"]) == ("completed", 0.5)
    late = server("POST", f"{path}/complete", json={"variables": {"rate": 1}})
    assert late.status_code == 409
    assert "bob has completed it" in late.json()["detail"]
    entries = server("GET", f"{V1}/audit?instance={instance}").json()["entries"]
    assert [(e["action"], e["who"]) for e in entries[:1]] == [("complete", "bob")]
    delegated = [each for each in entries if each["action"] == "delegate"]
    assert [each["subject"].partition(" ")[2] for each in delegated] == ["to bob"]
    assert {e["source"] for e in entries} == {"127.0.0.1"}


def test_of_two_who_complete_at_once_one_wins(server, diagram):
    deploy(server, "race", diagram(ENDS + '<userTask id="u"/>', "s>u u>e"))
    for _ in range(5):
        instance = start(server, "race")
        until(server, instance, "waiting")
        together = threading.Barrier(4)

        def complete(person: str, instance: str = instance, together=together) -> int:
            together.wait()
            body = {"person": person, "variables": {"who": person}}
            return server.post(f"{V1}/tasks/{instance}/u/complete", body).status_code

        with ThreadPoolExecutor(4) as threads:
            statuses = sorted(threads.map(complete, "abcd"))
        assert statuses == [200, 409, 409, 409]


def test_an_operator_steers(server, diagram):
    fails = script("if bad:\n    raise ValueError('no')\nok = 1")
    deploy(server, "steer", diagram(fails, "s>work work>e"))
    made = [start(server, "steer", variables={"bad": True}) for _ in range(3)]
    for each in made:
        until(server, each, "incident")
    found = server("GET", f"{V1}/incidents?process=steer&element=work").json()["incidents"]
    assert {each["instance"] for each in found} == set(made)
    assert "ValueError" in found[0]["message"]
    one, *rest = made
    body = {"variables": {"bad": False}}
    assert server("POST", f"{V1}/instances/{one}/variables", json=body).status_code == 200
    assert server("POST", f"{V1}/instances/{one}/retry").status_code == 200
    assert until(server, one, "completed")["variables"]["ok"] == 1
    kind = {"process": "steer", "element": "work"}
    done = server("POST", f"{V1}/incidents/retry", json=kind).json()
    assert set(done["retried"]) == set(rest)
    for each in rest:
        until(server, each, "incident")
        answer = server("POST", f"{V1}/instances/{each}/cancel", json={"reason": "enough"})
        assert answer.json()["state"] == "cancelled"
        assert server("POST", f"{V1}/instances/{each}/cancel").status_code == 409
        assert server("POST", f"{V1}/instances/{each}/retry").status_code == 409
    assert not server("GET", f"{V1}/incidents?process=steer").json()["incidents"]
    new = server("POST", f"{V1}/instances/{one}/rerun", json={"element": "work"}).json()
    assert until(server, new["instance"], "completed", "incident")
    entry = server("GET", f"{V1}/audit?instance={new['instance']}").json()["entries"][-1]
    assert (entry["action"], entry["subject"]) == ("rerun", f"work of {one}")
    assert (bool(entry["who"]), entry["source"]) == (True, "127.0.0.1")


def test_an_operator_suspends_and_lets_go_on(server, diagram):
    deploy(server, "halt", diagram(FORM, "s>u u>e"))
    one = start(server, "halt", variables={"x": 1})
    until(server, one, "waiting")
    path, rest = f"{V1}/instances/{one}", f"/engine-rest/process-instance/{one}"
    answer = server("POST", f"{path}/suspend", json={"reason": "wrong prices"})
    assert answer.json()["state"] == "suspended"
    assert server("GET", rest).json()["suspended"] is True
    listed = server("GET", f"{V1}/instances?state=suspended&process=halt").json()["instances"]
    assert [each["instance"] for each in listed] == [one]
    assert 'bpmn_instances{state="suspended"} 1' in server("GET", "/metrics").text
    refused = server("POST", f"{V1}/tasks/{one}/u/complete", json={"variables": {"rate": 1.0}})
    assert refused.status_code == 409
    assert "is suspended" in refused.json()["detail"]
    assert server("POST", f"{path}/suspend").status_code == 409
    assert server("POST", f"{path}/variables", json={"variables": {"x": 2}}).status_code == 200
    assert server("POST", f"{path}/unsuspend").json()["state"] == "waiting"
    for wanted in (True, True, False):
        assert server("PUT", f"{rest}/suspended", json={"suspended": wanted}).status_code == 204
        assert server("GET", rest).json()["suspended"] is wanted
    done = server("POST", f"{V1}/tasks/{one}/u/complete", json={"variables": {"rate": 1.0}})
    assert done.json()["state"] == "completed"
    assert done.json()["variables"]["x"] == 2


def test_messages_signals_and_stores(server, diagram):
    catch = (
        ENDS + '<intermediateCatchEvent id="m"><messageEventDefinition messageRef="Paid"/>'
        '</intermediateCatchEvent><intermediateCatchEvent id="g"><signalEventDefinition'
        ' signalRef="Stop"/></intermediateCatchEvent>'
    )
    deploy(server, "mail", diagram(catch, "s>m m>g g>e"))
    instance = start(server, "mail", business_key="b7")
    until(server, instance, "waiting")
    message = {"name": "paid", "key": "b7", "variables": {"sum": 9}}
    got = server("POST", f"{V1}/messages", json=message).json()
    assert got["instances"] == [instance]
    assert [each["instance"] for each in got["receivers"]] == [instance]
    server.wait(lambda: show(server, instance)["waiting"][0].get("signal") == "stop")
    assert instance in server("POST", f"{V1}/signals", json={"name": "stop"}).json()["instances"]
    assert until(server, instance, "completed")["variables"]["sum"] == 9
    assert server("PUT", f"{V1}/stores/a/b", json={"value": [1]}).status_code == 204
    newest = server("GET", f"{V1}/audit?limit=1").json()["entries"][0]
    assert (newest["action"], newest["subject"]) == ("store", "a/b")
    stores = server("GET", f"{V1}/stores").json()["stores"]
    assert {each["name"]: each["value"] for each in stores} == {"a/b": [1]}


def test_who_watches_is_told_what_changes(server, diagram):
    deploy(server, "watched", diagram(ENDS + '<userTask id="u"/>', "s>u u>e"))
    instance = start(server, "watched")
    until(server, instance, "waiting")
    with server("GET", f"{V1}/events?instance={instance}", stream=True) as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = events.iter_lines()
        assert next(lines).startswith(b"retry")
        server.post(f"{V1}/tasks/{instance}/u/complete", {})
        told = (json.loads(e[6:]) for e in lines if e.startswith(b"data: "))
        states = [each["state"] for each in next(told)]
        while states[-1] != "completed":  # A busy server may tell of the beginning only now.
            states += [each["state"] for each in next(told) if each["instance"] == instance]
    assert set(states) <= {"waiting", "running", "completed"}
    assert server("HEAD", f"{V1}/events").status_code == 200  # It has no events, so it ends.


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/instances/zzzz", {}, 400),
        ("GET", "/instances/abcd1234", {}, 404),
        ("GET", "/instances?limit=0", {}, 400),
        ("GET", "/instances?limit=1001", {}, 400),
        ("GET", "/instances?state=lost", {}, 400),
        ("GET", "/instances?unknown=1", {}, 400),
        ("GET", "/instances?cursor=x", {}, 400),
        ("GET", "/instances?process=%FF", {}, 400),
        ("POST", "/instances", {"data": b"{"}, 400),
        ("POST", "/instances", {"json": {}}, 422),
        ("POST", "/instances", {"json": {"process": 1}}, 422),
        ("POST", "/instances", {"json": {"process": "p", "extra": 1}}, 422),
        ("POST", "/instances", {"json": {"process": "no-such"}}, 404),
        ("POST", "/instances", {"data": b'{"variables":{"a":' + b"[" * 100_000}, 400),
        ("POST", "/instances", {"data": b"x" * (5 << 20)}, 413),
        ("POST", "/instances/x/y/z", {}, 404),
        ("DELETE", "/instances", {}, 405),
        ("POST", "/definitions", {"data": b"{}"}, 415),
        ("POST", "/definitions", {"files": {"f": ("a.txt", b"x")}}, 400),
        ("GET", "/instances/abcd1234/artifacts/..%2f..%2fjournal.sqlite", {}, 404),
    ],
)
def test_hostile_and_wrong_requests_are_problems(server, method, path, options, status):
    answer = server(method, V1 + path, **options)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert server("GET", "/healthz").status_code == 200
