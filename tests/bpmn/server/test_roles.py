"""Roles for all definitions, for one, and for those with a tag: over the API and on the pages."""

from __future__ import annotations

import re

import pytest
from bpmn.conftest import diagram
from bpmn.server.conftest import Server

TOKENS = """
root
pat participant pat
both participant,viewer eva
vic viewer@loans vic
olga operator@loans,viewer olga
tag operator#finance tag
dora deployer#finance dora
will worker@loans-work will
wes worker@loans wes
none - none
robot worker pat
"""
ENDS = '<startEvent id="s"/><endEvent id="e"/>'
TASK = ENDS + '<userTask id="u" name="Sign" camunda:assignee="{}"/>'
BREAKS = ENDS + '<scriptTask id="w" scriptFormat="python"><script>1 / 0</script></scriptTask>'
EXTERNAL = ENDS + '<serviceTask id="x" camunda:type="external" camunda:topic="t"/>'


def named(key: str, body: str, flows: str, tags: str = "") -> tuple[str, tuple[str, str]]:
    attributes = f'process id="{key}"' + (f' mlkit:tags="{tags}"' if tags else "")
    xml = diagram(body, flows).replace('process id="p"', attributes)
    return "file", (f"{key}.bpmn", xml)


FILES = [
    named("loans", TASK.format("pat"), "s>u u>e", "finance, eu"),
    named("hiring", TASK.format("eve"), "s>u u>e"),
    named("broken", BREAKS, "s>w w>e", "finance"),
    named("loans-work", EXTERNAL, "s>x x>e"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roles")
    (folder / "tokens").write_text(TOKENS)
    made = Server(folder, "--token-file", "tokens")
    answer = ask(made, "root", "POST", "/api/v1/definitions", files=FILES)
    assert answer.status_code == 201, answer.text
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143
    made.http.close()


@pytest.fixture(scope="module")
def instances(server):
    found = {}
    for process, state in (("loans", "waiting"), ("hiring", "waiting"), ("broken", "incident")):
        body = {"process": process, "variables": {"salary": 1}}
        found[process] = ask(server, "root", "POST", "/api/v1/instances", json=body).json()[
            "instance"
        ]
        path = f"/api/v1/instances/{found[process]}"
        server.wait(lambda path=path, state=state:
                    ask(server, "root", "GET", path).json()["state"] == state)  # fmt: skip
    return found


def ask(server, token: str, method: str, path: str, **options):
    headers = {"authorization": f"Bearer {token}", **options.pop("headers", {})}
    return server(method, path, headers=headers, **options)


def processes(server, token: str, kind: str) -> set[str]:
    listed = ask(server, token, "GET", f"/api/v1/{kind}")
    assert listed.status_code == 200, listed.text
    return {each["process"] for each in listed.json()[kind]}


def test_everybody_is_told_who_they_are_and_what_they_may(server, instances):
    for token, name, roles in (
        ("wes", "wes", ["worker@loans"]),
        ("will", "will", ["worker@loans-work"]),
        ("none", "none", []),
        ("robot", "pat", ["worker"]),
        ("pat", "pat", ["participant"]),
    ):
        found = ask(server, token, "GET", "/api/v1/me").json()
        assert (found["name"], found["roles"]) == (name, roles)
        # Whoever may not see tasks sees none here, though one bears their name.
        assert [each["instance"] for each in found["tasks"]] == [instances["loans"]] * (
            token == "pat"
        )
    assert ask(server, "stranger", "GET", "/api/v1/me").status_code == 401
    assert ask(server, "wes", "GET", "/api/v1/tasks").status_code == 403


def test_lists_show_what_a_caller_reaches(server, instances):
    everything = {"loans", "hiring", "broken"}
    for token, wanted in (("root", everything), ("olga", everything), ("vic", {"loans"}),
                          ("tag", {"loans", "broken"}), ("dora", {"loans", "broken"})):  # fmt: skip
        assert processes(server, token, "instances") == wanted, token
        assert processes(server, token, "definitions") - {"loans-work"} == wanted, token
    assert processes(server, "tag", "incidents") == {"broken"}
    assert processes(server, "vic", "incidents") == set()
    assert processes(server, "vic", "tasks") == {"loans"}
    for token in ("pat", "will"):
        assert ask(server, token, "GET", "/api/v1/instances").status_code == 403


def test_an_instance_is_read_and_steered_by_who_reaches_it(server, instances):
    for token, process, read, steered in (
        ("vic", "loans", 200, 403), ("vic", "hiring", 403, 403), ("olga", "hiring", 200, 403),
        ("olga", "loans", 200, 200), ("tag", "broken", 200, 200), ("tag", "hiring", 403, 403),
        ("pat", "loans", 403, 403), ("dora", "broken", 200, 403), ("will", "loans", 403, 403),
    ):  # fmt: skip
        path = f"/api/v1/instances/{instances[process]}"
        for more in ("", "/history", "/logs", "/artifacts"):
            assert ask(server, token, "GET", path + more).status_code == read, (token, process)
        assert ask(server, token, "GET", path[7:]).status_code == read
        assert ask(server, token, "GET", f"{path[7:]}/picture.svg").status_code == read
        done = ask(server, token, "POST", f"{path}/variables", json={"variables": {"a": 1}})
        assert done.status_code == steered, (token, process)
        watched = f"/api/v1/events?instance={instances[process]}"
        assert ask(server, token, "HEAD", watched).status_code == read


def test_only_who_operates_a_definition_starts_it(server, instances):
    for token, process, status in (("olga", "loans", 201), ("olga", "hiring", 403),
                                   ("tag", "loans", 201), ("tag", "nothing", 403)):  # fmt: skip
        body = {"process": process}
        assert ask(server, token, "POST", "/api/v1/instances", json=body).status_code == status
    kind = {"process": "broken"}
    assert ask(server, "olga", "POST", "/api/v1/incidents/retry", json=kind).status_code == 403
    assert ask(server, "tag", "POST", "/api/v1/incidents/retry", json=kind).status_code == 200
    for path, body in (("signals", {"name": "s"}), ("messages", {"name": "m"})):
        # They reach every definition: a role for a part is not enough.
        assert ask(server, "olga", "POST", f"/api/v1/{path}", json=body).status_code == 403
    assert ask(server, "tag", "GET", "/api/v1/audit").status_code == 403


def test_a_participant_sees_and_does_their_own_tasks_alone(server, instances):
    assert processes(server, "pat", "tasks") == {"loans"}
    others = ask(server, "pat", "GET", "/api/v1/tasks?assignee=eve").json()["tasks"]
    assert others == []
    for process, status in (("loans", 200), ("hiring", 403)):
        task = f"/api/v1/tasks/{instances[process]}/u"
        assert ask(server, "pat", "GET", task).status_code == status
        number = next(
            each["activation"]
            for each in ask(server, "root", "GET", "/api/v1/tasks").json()["tasks"]
            if each["instance"] == instances[process]
        )
        page = f"/tasks/{instances[process]}/{number}"
        assert ask(server, "pat", "GET", page).status_code == status
        assert ask(server, "pat", "GET", f"{page}/picture.svg").status_code == status
    listed = ask(server, "pat", "GET", "/tasks?show=all").text
    assert instances["loans"] in listed
    assert instances["hiring"] not in listed
    assert ask(server, "pat", "GET", "/", allow_redirects=False).headers["location"] == "tasks"
    body = {"process": "loans", "variables": {"salary": 1}}
    made = ask(server, "root", "POST", "/api/v1/instances", json=body).json()["instance"]
    server.wait(lambda: ask(server, "root", "GET", f"/api/v1/tasks/{made}/u").status_code == 200)
    assert ask(server, "vic", "POST", f"/api/v1/tasks/{made}/u/complete").status_code == 403
    done = ask(server, "pat", "POST", f"/api/v1/tasks/{made}/u/complete", json={"approved": True})
    assert (done.status_code, done.json()["variables"]) == (200, {})


@pytest.mark.parametrize("token", ["pat", "both"])
@pytest.mark.parametrize(
    "candidates", ['camunda:candidateUsers="eve"', 'camunda:candidateGroups="board"']
)
def test_a_participant_takes_no_task_of_others(server, token, candidates):
    files = [named("open", ENDS + f'<userTask id="u" {candidates}/>', "s>u u>e")]
    assert ask(server, "root", "POST", "/api/v1/definitions", files=files).status_code == 201
    body = {"process": "open"}
    made = ask(server, "root", "POST", "/api/v1/instances", json=body).json()["instance"]
    task = f"/api/v1/tasks/{made}/u"
    server.wait(lambda: ask(server, "root", "GET", task).status_code == 200)
    for action, more in (("delegate", {"to": "pat"}), ("claim", {}), ("complete", {})):
        done = ask(server, token, "POST", f"{task}/{action}", json=more)
        assert done.status_code in (403, 409), action
    assert ask(server, "root", "GET", task).json()["assignee"] is None


def test_pages_show_no_button_that_is_not_allowed(server, instances):
    for token, process, buttons in (
        ("vic", "loans", 0),
        ("olga", "loans", 1),
        ("olga", "hiring", 0),
    ):
        page = ask(server, token, "GET", f"/instances/{instances[process]}").text
        assert page.count("End it</button>") == buttons, (token, process)
        page = ask(server, token, "GET", f"/definitions/{process}").text
        assert page.count("Start version 1</button>") == buttons
    shown = ask(server, "olga", "GET", "/incidents").text
    assert "Retry the selected" not in shown
    shown = ask(server, "tag", "GET", "/incidents").text
    assert "Retry the selected" in shown
    token = re.search(r'name="form_token" value="([^"]+)"', shown)[1]
    chosen = {"form_token": token, "incident": f"{instances['hiring']}/1"}
    refused = ask(server, "tag", "POST", "/incidents", data=chosen)
    assert "0 tried again" in refused.text
    assert "do not operate" in refused.text
    home = ask(server, "vic", "GET", "/").text
    assert instances["hiring"] not in home
    assert "<strong>1</strong>" in home


def test_who_deploys_a_part_takes_nothing_of_others(server):
    for file, status in (
        (named("budget", ENDS, "s>e", "finance"), 201),
        (named("budget", ENDS + "<!-- changed -->", "s>e", "other"), 403),
        (named("untagged", ENDS, "s>e"), 403),
        (named("hiring", ENDS, "s>e", "finance"), 403),
    ):
        done = ask(server, "dora", "POST", "/api/v1/definitions", files=[file])
        assert done.status_code == status, file[1][0]


def test_a_worker_of_a_part_gets_its_tasks(server):
    fetch = {"workerId": "w", "maxTasks": 5, "topics": [{"topicName": "t", "lockDuration": 60000}]}
    body = {"process": "loans-work"}
    made = ask(server, "root", "POST", "/api/v1/instances", json=body).json()["instance"]
    path = f"/api/v1/instances/{made}"
    server.wait(lambda: ask(server, "root", "GET", path).json()["state"] == "waiting")
    external = "/engine-rest/external-task"
    assert ask(server, "wes", "POST", f"{external}/fetchAndLock", json=fetch).json() == []
    (task,) = ask(server, "will", "POST", f"{external}/fetchAndLock", json=fetch).json()
    for token, status in (("wes", 403), ("vic", 403), ("will", 204)):
        done = ask(
            server, token, "POST", f"{external}/{task['id']}/complete", json={"workerId": "w"}
        )
        assert done.status_code == status
    assert ask(server, "vic", "POST", f"{external}/fetchAndLock", json=fetch).status_code == 403
