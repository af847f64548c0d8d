"""`mlkit bpmn worker`: external tasks in isolated processes, for a server elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from pathlib import Path

import pytest
from commands import Mlkit, run_mlkit

HERE = Path(__file__).parent
MODULE = """
import os, sys
from mlkit.bpmn import BpmnError

def charge(amount):
    print(f"charging {amount:g}", "<b>", "x" * 150_000)
    print("with card hunter2-4711", file=sys.stderr)
    if amount < 0:
        raise BpmnError("REJECTED", "less than nothing")
    if amount == 0:
        raise ValueError("nothing to charge")
    return {"number": f"R-{amount:g}", "worked_in": os.getpid()}

def ship():
    return {"frame": object()}

def read(stored):
    with open("left.txt", "a") as file:
        file.write(f" and {stored.stop}")
    return {"read": len(stored), "again": range(stored.stop + 1)}
"""
STORES = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d"
 xmlns:camunda="http://camunda.org/schema/1.0/bpmn"><process id="stores" isExecutable="true">
<startEvent id="s"/><scriptTask id="make" scriptFormat="python"><script>
import os
stored = range(3)
open("left.txt", "w").write("first")
os.mkdir("deep"); open("deep/gone.txt", "w").write("x"); os.chmod("left.txt", 0o640)
</script></scriptTask>
<serviceTask id="use" camunda:type="external" camunda:topic="read"/>
<scriptTask id="far" scriptFormat="python" camunda:type="external" camunda:topic="gpu"><script>
import os, pathlib
text = pathlib.Path("left.txt").read_text()
mode = os.stat("left.txt").st_mode
os.unlink("deep/gone.txt"); os.rmdir("deep")
pathlib.Path("made").mkdir(); pathlib.Path("made/empty").mkdir()
pathlib.Path("made/big.bin").write_bytes(bytes(big))
far, longer = os.getpid(), range(again.stop + 1)
</script></scriptTask>
<scriptTask id="back" scriptFormat="python"><script>
import os
listed = sorted(os.path.join(at, each) for at, folders, files in os.walk(".")
                for each in folders + files if not each.startswith("."))
size, end = os.path.getsize("made/big.bin"), longer.stop
</script></scriptTask><userTask id="look"/><endEvent id="e"/>
<sequenceFlow id="f1" sourceRef="s" targetRef="make"/>
<sequenceFlow id="f2" sourceRef="make" targetRef="use"/>
<sequenceFlow id="f3" sourceRef="use" targetRef="far"/>
<sequenceFlow id="f4" sourceRef="far" targetRef="back"/>
<sequenceFlow id="f5" sourceRef="back" targetRef="look"/>
<sequenceFlow id="f6" sourceRef="look" targetRef="e"/></process></definitions>"""


@pytest.fixture
def worker(server, tmp_path):
    """A worker beside the server, in a folder with its module; its log."""
    (tmp_path / "shop.py").write_text(MODULE, "utf-8")
    for each in ("orders.bpmn", "plain.bpmn"):
        files = {each: (each, (HERE / each).read_bytes())}
        assert server("POST", "/engine-rest/deployment/create", files=files).ok
    log = tmp_path / "worker.log"
    command = ["bpmn", "worker", "--server", server.url]
    command += ["--task", "charge=shop:charge", "--task", "ship=shop:ship", "--workers", "2"]
    command += ["--task", "read=shop:read", "--topics", "charge,ship,read,gpu"]
    command += ["--pause", "0.1", "--retries", "2", "--name", "shop"]
    with log.open("w") as output:
        process = Mlkit(*command, cwd=tmp_path, stderr=output, stdout=output)
    yield server, log, process
    if process.poll() is None:
        process.kill()
        process.wait()


def start(server, amount):
    given = {"total": {"value": float(amount)}, "urgency": {"value": 1}}
    given["password"] = {"value": "hunter2-4711"}
    path = "/engine-rest/process-definition/key/orders/start"
    return server("POST", path, json={"variables": given}).json()["id"]


def variables(server, instance):
    return server("GET", f"/engine-rest/process-instance/{instance}/variables").json()


def history_of(server, instance):
    path = f"/engine-rest/history/variable-instance?processInstanceId={instance}"
    return {each["name"] for each in server("GET", path).json()}


def incident(server, instance):
    return server("GET", f"/engine-rest/incident?processInstanceId={instance}").json()


def logs(server, instance):
    found = server("GET", f"/api/v1/instances/{instance}/logs").json()["logs"]
    return [each for each in found if each["element"] == "charge"]


def test_tasks_are_done_errors_thrown_and_failures_tried_again(worker):
    server, log, process = worker
    paid, refused, failed = (start(server, each) for each in (12.5, -1, 0))
    found = server.wait(lambda: variables(server, paid).get("receipt"))
    assert found["value"] == "R-12.5"
    assert variables(server, paid)["worked_in"]["value"] != process.pid
    assert server.wait(lambda: variables(server, refused).get("reason"))["value"] == (
        "less than nothing"
    )
    (stopped,) = server.wait(lambda: incident(server, failed))
    assert "nothing to charge" in stopped["incidentMessage"]
    (done,), (thrown,), tries = (logs(server, each) for each in (paid, refused, failed))
    assert [each["outcome"] for each in (done, thrown, *tries)] == [
        "completed", "error", "failed", "failed",
    ]  # fmt: skip
    assert [each["attempt"] for each in tries] == [1, 2]
    assert done["stdout"].startswith("charging 12.5 <b> xxx")
    assert re.search(r"x\n\[\d+ characters left out\]\nx+\n$", done["stdout"])
    assert len(done["stdout"]) <= 100_000
    assert "nothing to charge" in tries[1]["stderr"]
    assert done["stderr"] == "with card ******\n"
    assert done["host"]
    assert done["duration"] > 0
    assert "with card ******" in server("GET", f"/instances/{paid}").text
    assert server.wait(lambda: "frame" in history_of(server, paid))
    process.send_signal(signal.SIGTERM)
    assert process.wait(180) == 143, log.read_text()


def start_stores(server, big):
    files = {"stores.bpmn": ("stores.bpmn", STORES)}
    assert server("POST", "/engine-rest/deployment/create", files=files).ok
    path = "/engine-rest/process-definition/key/stores/start"
    return server("POST", path, json={"variables": {"big": {"value": big}}}).json()["id"]


def test_files_and_stored_values_travel_to_the_worker_and_back(worker):
    server, _, process = worker
    instance = start_stores(server, 70_000)
    shown = server.wait(lambda: "end" in (now := variables(server, instance)) and now)
    found = {name: each["value"] for name, each in shown.items()}
    assert (found["read"], found["text"], found["mode"] & 0o777) == (3, "first and 3", 0o640)
    assert (found["size"], found["end"]) == (70_000, 5)
    assert found["far"] != process.pid
    assert json.loads(found["listed"]) == ["./left.txt", "./made", "./made/big.bin", "./made/empty"]


def test_a_file_that_cannot_travel_fails_the_attempt_and_is_named(worker):
    server, log, _ = worker
    instance = start_stores(server, (64 << 20) + 1)
    (stopped,) = server.wait(lambda: incident(server, instance))
    message = stopped["incidentMessage"]
    assert "the file 'made/big.bin' did not arrive" in message, log.read_text()
    assert "--max-upload" in message
    assert "far" not in variables(server, instance)


def test_only_who_has_a_task_moves_its_contents_and_nothing_damaged_is_kept(server):
    instance = start_stores(server, 1)
    asked = {
        "workerId": "me",
        "maxTasks": 1,
        "topics": [{"topicName": "read", "lockDuration": 60000}],
    }

    def fetch():
        return server("POST", "/engine-rest/external-task/fetchAndLock", json=asked).json()

    (task,) = server.wait(fetch)
    one = f"/engine-rest/external-task/{task['id']}"
    job = server("GET", f"{one}/job?workerId=me").json()
    assert job["element"] == "use"
    content = job["files"]["left.txt"][0]
    assert server("GET", f"{one}/content/{content}?workerId=me").content == b"first"
    assert server("GET", f"{one}/job?workerId=other").status_code == 400
    assert server("GET", f"{one}/content/{content}?workerId=other").status_code == 400
    assert server("GET", f"{one}/content/{'0' * 64}?workerId=me").status_code == 422

    def put(content, body, worker="me"):
        return server("PUT", f"{one}/content/{content}?workerId={worker}", data=body).status_code

    new = hashlib.sha256(b"new").hexdigest()
    assert put(new, b"ne", "me") == 422
    assert put(new, b"new", "other") == 400
    assert put("x", b"new") == 400

    def finish(files, **variables):
        body = {"workerId": "me", "files": files, "variables": variables}
        return server("POST", f"{one}/result", json=body)

    found = finish({"a/b.txt": [new, 3, 0o600]})
    assert (found.status_code, "'a/b.txt' was not received" in found.text) == (409, True)
    assert finish({}, x={"$artifact": new}).status_code == 409
    for path in ("../b.txt", "/b.txt", "a//b"):
        assert finish({path: [new, 3, 0o600]}).status_code == 400
    assert finish({}, _x=1).status_code == finish({}, x={"$date": "never"}).status_code == 400
    for log in ([], {"stdout": 1}, {"duration": -1}, {"host": "x" * 300}):
        body = {"workerId": "me", "log": log}
        assert server("POST", f"{one}/result", json=body).status_code == 400
    assert put(new, b"new") == 204
    assert finish({"a/b.txt": [new, 3, 0o600], "left.txt": None}).status_code == 204
    assert finish({}).status_code == 404
    server("DELETE", f"/engine-rest/process-instance/{instance}")


def test_a_server_that_is_not_there_is_an_error():
    ran = run_mlkit("bpmn", "worker", "--server", "http://127.0.0.1:9", "--task", "a=b:c")
    assert ran.returncode == 69
    assert "is the server running there?" in ran.stderr


@pytest.mark.parametrize("options", [[], ["--task", "a"], ["--topics", ","]])
def test_a_worker_needs_a_topic(options):
    ran = run_mlkit("bpmn", "worker", "--server", "http://127.0.0.1:9", *options)
    assert ran.returncode == 2
