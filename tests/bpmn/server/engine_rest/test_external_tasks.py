"""What workers see over HTTP: tasks with their variables, long polling, errors, many tasks."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest
from connections import ends, is_left, is_read

from mlkit.bpmn.runtime.diagrams import load
from mlkit.bpmn.runtime.session import Session, Settings

HERE = Path(__file__).parent
VALUES = {"total": 12.5, "urgency": 7}


@pytest.fixture
def begin(server):
    """Return a function that begins instances of a diagram of this folder."""

    def make(name, variables=None, key="", count=1):
        diagram = load(HERE / name, external=True)
        with Session(server.state, Settings(external=True)) as session:
            return [session.begin(diagram, variables or {}, key).id for _ in range(count)]

    return make


def rest(server, method, path, status=200, **options):
    found = server(method, f"/engine-rest{path}", **options)
    assert found.status_code == status, found.text
    return found.json() if found.content else None


def fetch(server, topic, worker="w", patience=0, tasks=10, **options):
    asked = {"topicName": topic, "lockDuration": 60_000, **options}
    body = {"workerId": worker, "maxTasks": tasks, "topics": [asked]}
    body |= {"asyncResponseTimeout": patience, "usePriority": True}
    return rest(server, "POST", "/external-task/fetchAndLock", json=body)


def test_a_worker_gets_variables_properties_and_completes(server, begin):
    (instance,) = begin("orders.bpmn", VALUES, "order-1")
    (task,) = fetch(
        server, "charge", patience=20_000, variables=["amount"], includeExtensionProperties=True
    )
    assert task["processInstanceId"] == instance
    assert task["variables"] == {"amount": {"type": "Double", "value": 12.5, "valueInfo": {}}}
    assert task["extensionProperties"] == {"currency": "EUR"}
    assert (task["priority"], task["businessKey"], task["workerId"]) == (7, "order-1", "w")
    given = {"workerId": "w", "localVariables": {"number": {"value": "R-9"}}}
    path = f"/external-task/{task['id']}/complete"
    assert rest(server, "POST", path, 204, json=given) is None
    seen = rest(server, "GET", f"/process-instance/{instance}/variables")
    assert seen["receipt"]["value"] == "R-9"
    assert "number" not in seen
    (ship,) = fetch(server, "ship")
    assert ship["processInstanceId"] == instance
    rest(server, "POST", f"/external-task/{ship['id']}/complete", 204, json={"workerId": "w"})
    assert rest(server, "GET", f"/history/process-instance/{instance}")["state"] == "COMPLETED"


def test_a_waiting_worker_is_woken_when_a_task_appears(server, begin):
    found = []
    worker = threading.Thread(
        target=lambda: found.extend(fetch(server, "charge", "patient", 600_000))
    )
    worker.start()
    time.sleep(0.3)
    (instance,) = begin("orders.bpmn", VALUES)
    worker.join(180)
    assert [each["processInstanceId"] for each in found] == [instance]
    rest(server, "POST", f"/external-task/{found[0]['id']}/unlock", 204, json={})
    rest(server, "DELETE", f"/process-instance/{instance}", 204)
    assert rest(server, "GET", "/external-task/count?topicName=charge") == {"count": 0}


def test_a_worker_that_left_while_it_waited_gets_no_task(server, begin):
    host = server.url.removeprefix("http://")
    asked = {"workerId": "gone", "maxTasks": 5, "asyncResponseTimeout": 60_000}
    body = json.dumps({**asked, "topics": [{"topicName": "charge", "lockDuration": 60_000}]})
    head = f"POST /engine-rest/external-task/fetchAndLock HTTP/1.1\r\nHost: {host}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    address, _, port = host.partition(":")
    with socket.create_connection((address, int(port))) as client:
        client.sendall(head.encode() + body.encode())
        connection = ends(client)
        server.wait(lambda: is_read(connection))
    server.wait(lambda: is_left(connection))
    (instance,) = begin("orders.bpmn", VALUES)
    (task,) = fetch(server, "charge", "other", 20_000)
    assert (task["processInstanceId"], task["workerId"]) == (instance, "other")
    rest(server, "DELETE", f"/process-instance/{instance}", 204)


def test_patience_ends_with_no_task(server):
    assert fetch(server, "nobody offers this", patience=200) == []


def test_tasks_of_one_topic_are_shared_out_and_all_completed(server, begin):
    begin("plain.bpmn", count=60)
    done: list[str] = []

    def work(name):
        while tasks := fetch(server, "work", name, 5_000 if not done else 500, 7):
            for each in tasks:
                path = f"/external-task/{each['id']}/complete"
                rest(server, "POST", path, 204, json={"workerId": name})
                done.append(each["id"])

    workers = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(180)
    assert len(done) == len(set(done)) == 60


def test_a_failure_without_retries_is_an_incident_until_retries_are_set(server, begin):
    (instance,) = begin("orders.bpmn", VALUES)
    (task,) = fetch(server, "charge", patience=20_000)
    path = f"/external-task/{task['id']}"
    failure = {"workerId": "w", "errorMessage": "no", "errorDetails": "trace", "retries": 0}
    rest(server, "POST", f"{path}/failure", 204, json=failure)
    (incident,) = rest(server, "GET", f"/incident?processInstanceId={instance}")
    assert (incident["incidentType"], incident["incidentMessage"]) == ("failedExternalTask", "no")
    assert server("GET", f"/engine-rest{path}/errorDetails").text == "trace"
    rest(server, "PUT", f"{path}/retries", 204, json={"retries": 2})
    assert rest(server, "GET", f"/incident?processInstanceId={instance}") == []
    assert rest(server, "GET", path)["retries"] == 2
    rest(server, "DELETE", f"/process-instance/{instance}", 204)
    assert rest(server, "GET", path, 404)["type"] == "RestException"


def test_errors_are_documents_of_camunda(server):
    document = rest(server, "POST", "/external-task/none/complete", 404, json={"workerId": "w"})
    expected = "External task with id none does not exist"
    assert document == {"type": "RestException", "message": expected, "code": 0}
    assert rest(server, "GET", "/nowhere", 404)["type"] == "NotFoundException"
    bad = server("POST", "/engine-rest/external-task/fetchAndLock", data=b"[1", headers={})
    assert bad.status_code == 400


def test_of_reports_on_one_task_at_the_same_time_one_is_taken(server, begin):
    begin("plain.bpmn", count=12)
    tasks = []
    while len(tasks) < 12:
        tasks += fetch(server, "work", patience=20_000, tasks=12)
    found: dict[str, list[tuple[int, str]]] = {each["id"]: [] for each in tasks}
    together = threading.Barrier(6)

    def report(way):
        together.wait(60)
        for each in found:
            path = f"/engine-rest/external-task/{each}/{way}"
            answer = server("POST", path, json={"workerId": "w", "errorCode": "e", "retries": 0})
            found[each].append((answer.status_code, answer.text))

    ways = ["complete", "complete", "bpmnError", "complete", "bpmnError", "complete"]
    reporters = [threading.Thread(target=report, args=(each,)) for each in ways]
    for each in reporters:
        each.start()
    for each in reporters:
        each.join(180)
    for task, answers in found.items():
        assert sorted(status for status, _ in answers) == [204, 404, 404, 404, 404, 404]
        gone = {text for status, text in answers if status == 404}
        (document,) = map(json.loads, gone)
        assert document["message"] == f"External task with id {task} does not exist"
    other = fetch(server, "work", patience=0)
    assert other == []
