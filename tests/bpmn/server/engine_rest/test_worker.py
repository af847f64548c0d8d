"""`mlkit bpmn worker`: external tasks in isolated processes, for a server elsewhere."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULE = """
import os
from mlkit.bpmn import BpmnError

def charge(amount):
    if amount < 0:
        raise BpmnError("REJECTED", "less than nothing")
    if amount == 0:
        raise ValueError("nothing to charge")
    return {"number": f"R-{amount:g}", "worked_in": os.getpid()}

def ship():
    return {"frame": object()}

def read(stored):
    return {"read": 1}
"""
STORES = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d"
 xmlns:camunda="http://camunda.org/schema/1.0/bpmn"><process id="stores" isExecutable="true">
<startEvent id="s"/><scriptTask id="make" scriptFormat="python"><script>
stored = range(3)</script></scriptTask>
<serviceTask id="use" camunda:type="external" camunda:topic="read"/><endEvent id="e"/>
<sequenceFlow id="f1" sourceRef="s" targetRef="make"/>
<sequenceFlow id="f2" sourceRef="make" targetRef="use"/>
<sequenceFlow id="f3" sourceRef="use" targetRef="e"/></process></definitions>"""


@pytest.fixture
def worker(server, tmp_path):
    """A worker beside the server, in a folder with its module; its log."""
    (tmp_path / "shop.py").write_text(MODULE, "utf-8")
    for each in ("orders.bpmn", "plain.bpmn"):
        files = {each: (each, (HERE / each).read_bytes())}
        assert server("POST", "/engine-rest/deployment/create", files=files).ok
    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "mlkit", "bpmn", "worker", "--server", server.url]
    command += ["--task", "charge=shop:charge", "--task", "ship=shop:ship", "--workers", "2"]
    command += ["--task", "read=shop:read"]
    command += ["--pause", "0.1", "--retries", "2", "--name", "shop"]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=output, stdout=output)
    yield server, log, process
    if process.poll() is None:
        process.kill()
        process.wait()


def start(server, amount):
    given = {"total": {"value": float(amount)}, "urgency": {"value": 1}}
    path = "/engine-rest/process-definition/key/orders/start"
    return server("POST", path, json={"variables": given}).json()["id"]


def variables(server, instance):
    return server("GET", f"/engine-rest/process-instance/{instance}/variables").json()


def incident(server, instance):
    return server("GET", f"/engine-rest/incident?processInstanceId={instance}").json()


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
    # A value that only this machine can read does not travel.
    (other,) = server.wait(lambda: incident(server, paid))
    assert "'frame' is not a value that can be sent" in other["incidentMessage"]
    # Nor does one that the engine has stored.
    files = {"stores.bpmn": ("stores.bpmn", STORES)}
    assert server("POST", "/engine-rest/deployment/create", files=files).ok
    path = "/engine-rest/process-definition/key/stores/start"
    instance = server("POST", path, json={}).json()["id"]
    (unread,) = server.wait(lambda: incident(server, instance))
    assert "stored" in unread["incidentMessage"]
    details = f"/engine-rest/external-task/{unread['configuration']}/errorDetails"
    assert "stored by the engine, and does not travel to workers" in server("GET", details).text
    process.send_signal(signal.SIGTERM)
    assert process.wait(180) == 143, log.read_text()


def test_a_server_that_is_not_there_is_an_error():
    command = [sys.executable, "-m", "mlkit", "bpmn", "worker", "--server", "http://127.0.0.1:9"]
    ran = subprocess.run(
        [*command, "--task", "a=b:c"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 69
    assert "is the server running there?" in ran.stderr


@pytest.mark.parametrize("options", [[], ["--task", "a"], ["--task", "a=b:c", "--topics", "d"]])
def test_a_topic_needs_a_function(options):
    command = [sys.executable, "-m", "mlkit", "bpmn", "worker", "--server", "http://127.0.0.1:9"]
    ran = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
