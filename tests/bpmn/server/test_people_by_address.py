"""Who logs in by an address is that person of the people file, whatever a diagram calls them."""

from __future__ import annotations

import json
import re

import pytest
from bpmn.conftest import diagram
from bpmn.mail.conftest import PEOPLE
from bpmn.server.conftest import Server

V1 = "/api/v1"
BODY = '<startEvent id="s"/><userTask id="t" camunda:{}/><endEvent id="e"/>'
ASKED = {
    "id": 'assignee="ann"',
    "address": 'assignee="ANN@example.org"',
    "candidate": 'candidateUsers="cem, ann@Example.org"',
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("addresses")
    (folder / "people.toml").write_text(PEOPLE)
    (folder / "tokens").write_text(
        "root\nby-address viewer,participant Ann@Example.Org\nbob participant bob\n"
    )
    made = Server(folder, "--token-file", "tokens", "--people", "people.toml")
    for key, who in ASKED.items():
        xml = diagram(BODY.format(who), "s>t t>e").replace('id="p"', f'id="{key}"')
        files = [("file", (f"{key}.bpmn", xml))]
        answer = made("POST", f"{V1}/definitions", files=files, headers=bearer("root"))
        assert answer.status_code == 201, answer.text
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143
    made.http.close()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def tasks(server):
    """Start an instance of each kind; return their tasks by kind."""

    def begin(key: str) -> str:
        started = server("POST", f"{V1}/instances", json={"process": key}, headers=bearer("root"))
        one = f"{V1}/instances/{started.json()['instance']}"

        def waiting():
            return server("GET", one, headers=bearer("root")).json()["waiting"]

        return server.wait(waiting)[0]["task"]

    return {key: begin(key) for key in ASKED}


def act(server, token: str, task: str, what: str, **body):
    return server("POST", f"{V1}/tasks/{task}/{what}", json=body, headers=bearer(token))


def test_their_tasks_are_listed_claimed_handed_on_and_done(server, tasks):
    me = server("GET", f"{V1}/me", headers=bearer("by-address")).json()
    assert me["name"] == "ann"
    assert {each["task"] for each in me["tasks"]} >= set(tasks.values())
    found = server("GET", f"{V1}/tasks?assignee=ann&limit=1000", headers=bearer("root")).json()
    assert {each["task"] for each in found["tasks"]} >= set(tasks.values())
    home = server("GET", "/", headers=bearer("by-address")).text
    assert all(f"/{task}" in home for task in tasks.values())
    assert act(server, "bob", tasks["address"], "complete").status_code == 403
    for task in tasks.values():
        assert act(server, "by-address", task, "claim").status_code == 200
        assert act(server, "by-address", task, "release").status_code == 200
    named = act(server, "by-address", tasks["id"], "claim", person="ann@EXAMPLE.org")
    assert (named.status_code, named.json()["waiting"][0]["assignee"]) == (200, "ann")
    assert act(server, "by-address", tasks["id"], "claim", person="bob").status_code == 403
    handed = act(server, "by-address", tasks["id"], "delegate", to="bob@example.org")
    assert (handed.status_code, handed.json()["waiting"][0]["assignee"]) == (200, "bob")
    assert act(server, "by-address", tasks["id"], "complete").status_code == 403
    assert act(server, "bob", tasks["id"], "complete").status_code == 200
    for key in ("address", "candidate"):
        assert act(server, "by-address", tasks[key], "complete").status_code == 200
    path = f"{V1}/instances/{tasks['address'].partition('/')[0]}/history"
    trace = server("GET", path, headers=bearer("root")).json()["trace"]
    assert {each["by"] for each in trace} >= {"ann"}


def test_what_they_choose_is_kept_for_their_id(server, tasks):
    def submit(**fields):
        page = server("GET", "/me", headers=bearer("by-address")).text
        token = re.search(r'name="form_token" value="([^"]+)"', page)[1]
        form = {"form_token": token, **fields}
        answer = server("POST", "/me", data=form, headers=bearer("by-address"))
        assert answer.status_code in (200, 303), answer.text

    assert act(server, "bob", tasks["id"], "complete").status_code == 403
    submit(action="away", substitute="BOB@example.org", ends="2999-12-31")
    submit(action="daily")
    (kept,) = json.loads(server.mlkit("people", "absences", "--json").stdout)["absences"]
    assert (kept["person"], kept["substitute"], kept["by"]) == ("ann", "bob", "ann")
    page = server("GET", "/me", headers=bearer("by-address")).text
    assert "You get one mail a day." in page
    handed = act(server, "bob", tasks["address"], "delegate", to="cem")
    assert handed.status_code == 200, handed.text
    for key in ("id", "candidate"):
        assert act(server, "bob", tasks[key], "complete").status_code == 200
    submit(action="revoke", absence=str(kept["id"]))
    (kept,) = json.loads(server.mlkit("people", "absences", "--json").stdout)["absences"]
    assert kept["revoked_by"] == "ann"
