"""The clients that workers of Camunda 7 and Operaton are written with, unchanged."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from installing import install

HERE = Path(__file__).parent / "clients"
FILE = {"filename": "a b.txt", "mimeType": "text/plain", "encoding": "UTF-8"}
OBJECT = {"objectTypeName": "java.util.HashMap", "serializationDataFormat": "application/json"}
GIVEN = {
    "text": {"type": "String", "value": 'é "x"', "valueInfo": {}},
    "yes": {"type": "Boolean", "value": True, "valueInfo": {}},
    "small": {"type": "Short", "value": 5, "valueInfo": {}},
    "whole": {"type": "Integer", "value": 6, "valueInfo": {}},
    "large": {"type": "Long", "value": 2**40, "valueInfo": {}},
    "part": {"type": "Double", "value": 2.5, "valueInfo": {}},
    "when": {"type": "Date", "value": "2030-05-06T07:08:09.123+0000", "valueInfo": {}},
    "data": {"type": "Json", "value": '{"a":[1,2.5,null]}', "valueInfo": {}},
    "bytes": {"type": "Bytes", "value": "YWIA", "valueInfo": {}},
    "thing": {"type": "Object", "value": '{"a":1}', "valueInfo": OBJECT},
    "nothing": {"type": "Null", "value": None, "valueInfo": {}},
    "file": {"type": "File", "value": base64.b64encode(b"hello").decode(), "valueInfo": FILE},
}
MAVEN = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]


def javascript(folder):
    if (npm := shutil.which("npm")) is None:
        pytest.skip("needs the program npm")
    install([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, "node_modules")
    return ["node", "worker.js"]


def java(folder):
    if not (shutil.which("mvn") and shutil.which("javac")):
        pytest.skip("needs the programs mvn and javac")
    install(MAVEN, folder, "lib")
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", "lib/*", "Worker.java"]


def python(folder):
    pytest.importorskip("operaton.external_task")
    return [sys.executable, "worker.py"]


@pytest.fixture(params=["js", "java", "python"])
def worker(request):
    """The folder and the command of a worker."""
    folder = request.config.cache.mkdir(f"engine-rest-{request.param}")
    for each in (HERE / request.param).iterdir():
        shutil.copy(each, folder)
    command = {"js": javascript, "java": java, "python": python}[request.param](folder)
    return request.param, folder, command


def rest(server, method, path, **options):
    found = server(method, f"/engine-rest{path}", **options)
    assert found.status_code < 300, found.text
    return found.json() if found.content else None


@pytest.mark.slow
def test_a_worker_gets_typed_variables_reports_and_sends_them_back(server, worker):
    name, folder, command = worker
    for each in ("clients.bpmn", "stop.bpmn"):
        content = (HERE / each).read_bytes()
        rest(server, "POST", "/deployment/create", files={each: (each, content)})
    path = "/process-definition/key/clients/start"
    instance = rest(server, "POST", path, json={"variables": GIVEN})["id"]
    log = server.folder / f"{name}.log"
    with log.open("w") as output:
        client = subprocess.Popen(
            [*command, f"{server.url}/engine-rest"], cwd=folder, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        check(server, instance, name, lambda: (client.poll(), log.read_text()[-2000:]))
        rest(server, "POST", "/process-definition/key/stop/start", json={})
        assert client.wait(180) == 0, log.read_text()
    finally:
        client.kill()
        client.wait()
    lines = [json.loads(each) for each in log.read_text().splitlines() if each[:8] == '{"name":']
    seen = {each["name"]: each["value"] for each in lines}
    assert set(seen) == set(GIVEN)
    assert seen["text"] == 'é "x"'


def check(server, instance, name, why):
    def stopped():
        found = rest(server, "GET", f"/incident?processInstanceId={instance}")
        assert why()[0] is None, why()
        return found

    (incident,) = server.wait(stopped)
    assert incident["incidentMessage"] == "no luck"
    details = server("GET", f"/engine-rest/external-task/{incident['configuration']}/errorDetails")
    assert details.text == "trace\nline"
    path = f"/process-instance/{instance}/variables"
    found = rest(server, "GET", f"{path}?deserializeValues=false")
    assert (found["code"]["value"], found["reason"]["value"]) == (7, "too much")
    assert "mine" not in found
    assert found["plain"]["type"] in ("Json", "Object", "String")
    for each in GIVEN:
        if (each, name) != ("file", "python"):  # Python's client does not load files.
            assert same(found[f"{each}_back"], found[each]), each
    if name != "python":
        assert server("GET", f"/engine-rest{path}/file_back/data").text == "hello"


def same(one, other):
    """Compare variables.

    Files by their names, since a client may leave their types out; the client in Java adds the
    parameters of a generic class.
    """
    if other["type"] == "File":
        return one["valueInfo"]["filename"] == other["valueInfo"]["filename"]
    return plain(one) == plain(other)


def plain(variable):
    info = dict(variable["valueInfo"])
    if "objectTypeName" in info:
        info["objectTypeName"] = info["objectTypeName"].partition("<")[0]
    return {**variable, "valueInfo": info}
