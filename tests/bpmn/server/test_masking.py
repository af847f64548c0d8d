"""Secrets are masked in the API, on pages, in logs, in the history and in mails."""

from __future__ import annotations

import json
import re

import pytest
from bpmn.conftest import arrows, diagram
from bpmn.server.conftest import Server

from mlkit.bpmn.mail.composition import values
from mlkit.bpmn.runtime.session import Session

SECRETS = ("hunter22-x", "pin-998877", "artifact-secret", "default-5544")
FIELDS = (
    '<camunda:formData><camunda:formField id="pin" label="Pin" type="string" mlkit:secret="true"/>'
    '<camunda:formField id="code" label="Code" type="string" defaultValue="default-5544">'
    '<camunda:properties><camunda:property id="secret" value="true"/></camunda:properties>'
    "</camunda:formField>"
    '<camunda:formField id="password" label="Old" type="string"><camunda:validation>'
    '<camunda:constraint name="readonly"/></camunda:validation></camunda:formField>'
    "</camunda:formData>"
)
LEAKS = (
    "import sys; print('using', password); print(repr(password), file=sys.stderr)\n"
    "blob_secret = b'artifact-secret'; echo = 'pw=' + password\n"
    "config = {'host': 'db', 'password': password}"
)
FAILS = "raise ValueError('cannot log in with ' + password + ' ' + pin)"
DIAGRAM = diagram(
    '<startEvent id="s"/><endEvent id="e"/>'
    f'<scriptTask id="w" scriptFormat="python"><script>{LEAKS}</script></scriptTask>'
    '<userTask id="u" name="Ask" camunda:assignee="ann" mlkit:attach="password, config">'
    f"<extensionElements>{FIELDS}</extensionElements></userTask>"
    f'<scriptTask id="x" scriptFormat="python"><script>{FAILS}</script></scriptTask>',
    "s>w w>u u>x x>e",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("masking"))
    files = [("file", ("p.bpmn", DIAGRAM))]
    assert made("POST", "/api/v1/definitions", files=files).status_code == 201
    yield made
    if made.process.poll() is None:
        assert made.stop() == 143
    made.http.close()


def texts(server, instance: str) -> dict[str, str]:
    """Return all that is shown of an instance, by the path."""
    one = f"/api/v1/instances/{instance}"
    paths = (
        one, f"{one}/history", f"{one}/logs", f"{one}/artifacts", "/api/v1/incidents", "/incidents",
        "/api/v1/tasks?forms=true", f"/instances/{instance}", "/", "/api/v1/stores",
        "/api/v1/audit",
        f"/engine-rest/process-instance/{instance}/variables", "/engine-rest/incident",
        f"/engine-rest/history/variable-instance?processInstanceId={instance}",
        f"/instances/{instance}/picture.svg", f"{one}/picture.svg", f"{one}/progress",
        f"{one}/scenario", f"{one}/scenario?run_scripts=true",
        *(f"/engine-rest/process-instance/{instance}-{n}/variables" for n in range(1, 12)),
    )  # fmt: skip
    return {path: server("GET", path).text for path in paths}


def test_nothing_shows_a_secret(server):
    body = {"process": "p", "variables": {"password": "hunter22-x", "rows": 3}}
    instance = server("POST", "/api/v1/instances", json=body).json()["instance"]
    one = f"/api/v1/instances/{instance}"
    server.wait(lambda: server("GET", one).json()["state"] == "waiting")
    shown = server("GET", one).json()["variables"]
    assert (shown["password"], shown["rows"], shown["echo"]) == ("******", 3, "pw=******")
    (task,) = server("GET", "/api/v1/tasks?forms=true").json()["tasks"]
    flags = {each["id"]: (each["secret"], each["default"]) for each in task["form"]}
    assert flags == dict.fromkeys(("pin", "code", "password"), (True, None))
    page = server("GET", f"/tasks/{task['task']}")
    assert page.text.count('type="password"') == 2
    assert "it is a secret" in page.text
    attached = server("GET", f"/tasks/{task['task']}/documents/config.json")
    assert attached.json() == {"host": "db", "password": "******"}
    (blob,) = server("GET", f"{one}/artifacts").json()["artifacts"]
    assert server("GET", f"{one}/artifacts/{blob['artifact']}").status_code == 403
    token = re.search(r'name="form_token" value="([^"]+)"', page.text)[1]
    form = {"form_token": token, "field.pin": "pin-998877", "field.code": "", "action": "update"}
    again = server("POST", f"/tasks/{task['task']}", data=form)
    found = {**texts(server, instance), "page": page.text, "again": again.text}
    with Session(server.state) as session:
        (waiting,) = session.tasks(session.journal.find(instance))
        found["mail"] = json.dumps(values(waiting))
        # What a form does not show again is kept.
        assert waiting.defaults["code"] == "default-5544"
    sent = server("POST", f"/tasks/{task['task']}", data={**form, "action": "complete"})
    assert sent.status_code == 200, sent.text
    server.wait(lambda: server("GET", one).json()["state"] == "incident")
    found |= {f"{path} later": text for path, text in texts(server, instance).items()}
    assert server("GET", one).json()["variables"]["pin"] == "******"
    found["server.log"] = server.log.read_text()
    for path, text in found.items():
        assert not [each for each in SECRETS if each in text], path
    with Session(server.state) as session:
        state = session.state(session.journal.find(instance))
        (root,) = state.roots()
        assert root.variables["pin"] == "pin-998877"
        assert root.variables["code"] == "default-5544"


def test_a_search_tells_no_secret(server):
    body = {"process": "p", "variables": {"password": "search-me-1", "rows": 77}}
    instance = server("POST", "/api/v1/instances", json=body).json()["instance"]
    one = f"/api/v1/instances/{instance}"
    server.wait(lambda: server("GET", one).json()["state"] == "waiting")
    for query, found in (("rows=77", 1), ("password=search-me-1", 0)):
        path = f"/api/v1/instances?variable={query}"
        assert len(server("GET", path).json()["instances"]) == found
        page = server("GET", f"/instances?variable={query}").text
        assert (f"instances/{instance}" in page) == bool(found)
    second = server("POST", "/api/v1/instances", json=body).json()["instance"]
    server.wait(lambda: server("GET", f"/api/v1/instances/{second}").json()["state"] == "waiting")
    for name in ("password", "rows"):
        path = f"/api/v1/instances?limit=1&variable={name}={body['variables'][name]}"
        assert (server("GET", path).json().get("next") is None) == (name == "password"), name
    for query, found in (("rows_eq_77", 0), ("password_eq_search-me-1", 0)):
        path = f"/engine-rest/process-instance?variables={query}"
        assert len(server("GET", path).json()) == found


PAST = ("local-secret-1", "old-secret-22", "typed-secret-3", "new-secret-55")
ENDED = diagram(
    '<startEvent id="s"/><endEvent id="e"/>'
    '<scriptTask id="local" scriptFormat="python"><extensionElements><camunda:inputOutput>'
    '<camunda:inputParameter name="password">local-secret-1</camunda:inputParameter>'
    "</camunda:inputOutput></extensionElements>"
    "<script>print('sent', password); notes = ['pw=' + password]</script></scriptTask>"
    '<scriptTask id="changed" scriptFormat="python"><script>print(token); note = token + "!"\n'
    "token = 'new-secret-55'</script></scriptTask>"
    '<subProcess id="inside"><startEvent id="i0"/><userTask id="ask"><extensionElements>'
    '<camunda:formData><camunda:formField id="pin" type="string" mlkit:secret="true"/>'
    "</camunda:formData></extensionElements></userTask>"
    '<scriptTask id="tell" scriptFormat="python"><script>print("pin", pin); said = "pin " + pin'
    "</script></scriptTask>" + arrows("i0>ask ask>tell", "i") + "</subProcess>"
    '<userTask id="show"><extensionElements><camunda:formData><camunda:formField id="said"'
    ' type="string" defaultValue="${said}"/></camunda:formData></extensionElements></userTask>'
    '<scriptTask id="fail" scriptFormat="python"><script>raise ValueError(said + note)</script>'
    "</scriptTask>",
    "s>local local>changed changed>inside inside>show show>fail fail>e",
).replace('id="p"', 'id="past"')


def complete(server, instance: str, element: str, variables: dict[str, str]) -> None:
    def task() -> str | None:
        tasks = server("GET", "/api/v1/tasks").json()["tasks"]
        mine = (instance, element)
        return next((e["task"] for e in tasks if (e["instance"], e["element"]) == mine), None)

    body = {"variables": variables}
    answer = server("POST", f"/api/v1/tasks/{server.wait(task)}/complete", json=body)
    assert answer.status_code == 200, answer.text


def test_a_secret_stays_one_when_its_scope_has_ended_or_it_has_changed(server):
    files = [("file", ("past.bpmn", ENDED))]
    assert server("POST", "/api/v1/definitions", files=files).status_code == 201
    body = {"process": "past", "variables": {"token": "old-secret-22"}}
    instance = server("POST", "/api/v1/instances", json=body).json()["instance"]
    complete(server, instance, "ask", {"pin": "typed-secret-3"})
    server.wait(lambda: "show" in str(server("GET", "/api/v1/tasks").json()))
    found = {f"{path} waiting": text for path, text in texts(server, instance).items()}
    complete(server, instance, "show", {})
    one = f"/api/v1/instances/{instance}"
    server.wait(lambda: server("GET", one).json()["state"] == "incident")
    found |= texts(server, instance)
    assert server("POST", f"{one}/cancel", json={}).status_code == 200
    found |= {f"{path} ended": text for path, text in texts(server, instance).items()}
    for path, text in found.items():
        assert not [each for each in PAST if each in text], path
    recorded = json.loads(found[f"{one}/scenario"])
    assert recorded["scenario"]["variables"] == {"token": "******"}
    assert recorded["scenario"]["answers"][0]["set"] == {"pin": "******"}
    assert {"pin", "token", "said", "note", "notes", "the failure of fail"} <= {*recorded["masked"]}
    assert recorded["scenario"]["mocks"]["fail"]["fail"].count("******") == 2
    logs = found[f"{one}/logs"]
    assert all(each in logs for each in ("sent ******", "pin ******"))
