"""Schedules of a real server: over HTTP, by the command line, and through crashes."""

from __future__ import annotations

import random
import time

V1 = "/api/v1"
CYCLE = (
    '<startEvent id="s"><timerEventDefinition><timeCycle>{}</timeCycle></timerEventDefinition>'
    '</startEvent><endEvent id="e"/>'
)


def deploy(server, xml: str) -> None:
    answer = server("POST", f"{V1}/definitions", files=[("file", ("p.bpmn", xml))])
    assert answer.status_code == 201, answer.text


def test_a_schedule_is_shown_paused_and_started_now(server, diagram):
    deploy(server, diagram(CYCLE.format("0 6 * * *"), "s>e").replace('id="p"', 'id="daily"'))
    (found,) = server("GET", f"{V1}/schedules").json()["schedules"]
    assert (found["process"], found["element"], found["paused"]) == ("daily", "s", False)
    assert [each[11:16] for each in found["upcoming"]] == ["06:00"] * 5
    refused = server("POST", f"{V1}/instances", json={"process": "daily"})
    assert refused.status_code == 400
    assert "mlkit bpmn schedules run daily" in refused.json()["hint"]
    page = server("GET", "/definitions/daily").text
    assert "Start version" not in page
    assert "under <a href=" in page
    path = f"{V1}/schedules/daily/s"
    assert server("POST", f"{path}/pause").json()["paused"] is True
    assert "paused" in server.mlkit("schedules", "list").stdout
    assert server.mlkit("schedules", "resume", "daily").returncode == 0
    begun = server("POST", f"{path}/run")
    assert begun.status_code == 201
    instance = begun.json()["instance"]
    server.wait(lambda: server("GET", f"{V1}/instances/{instance}").json()["state"] == "completed")
    (found,) = server("GET", f"{V1}/schedules").json()["schedules"]
    assert (found["paused"], found["instance"]) == (False, instance)
    missing = server("POST", f"{V1}/schedules/daily/none/run")
    assert missing.status_code == 404


def test_each_time_starts_once_though_the_server_is_killed(own_server, diagram):
    server = own_server()
    xml = diagram(CYCLE.format("R12/PT0.5S"), "s>e")
    policy = 'id="p" xmlns:m="urn:mlkit:bpmn" m:misfire="all"'
    deploy(server, xml.replace('id="p"', policy, 1))
    chance = random.Random(7)
    for _ in range(3):
        time.sleep(chance.uniform(0.1, 0.9))
        server.kill()
        server.start()

    def begun() -> int:
        return len(server("GET", f"{V1}/instances").json()["instances"])

    server.wait(lambda: begun() >= 12)
    (found,) = server("GET", f"{V1}/schedules").json()["schedules"]
    assert found["upcoming"] == []
    assert begun() == 12
