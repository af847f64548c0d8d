"""The client in Python and `mlkit bpmn deploy`, against a real server."""

from __future__ import annotations

import subprocess
import threading

import pytest
from commands import run_mlkit

from mlkit.bpmn import Client
from mlkit.bpmn.runtime.service import Refused
from mlkit.errors import (
    BadData,
    ConfigurationError,
    InputMissing,
    MlkitError,
    ServiceUnavailable,
    UsageError,
)

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
BODY = ENDS + (
    '<scriptTask id="work" scriptFormat="python" camunda:resource="calc.py"/>'
    '<userTask id="u" name="Look"/>'
)


@pytest.fixture
def client(server):
    with Client(server.url) as made:
        yield made


@pytest.fixture
def path(tmp_path, diagram):
    (tmp_path / "calc.py").write_text("y = x * 2")
    found = tmp_path / "client.bpmn"
    text = diagram(BODY, "s>work work>u u>e")
    found.write_text(text.replace('process id="p"', 'process id="client"'))
    return found


def until(server, client, instance, state):
    return server.wait(lambda: (d := client.instance(instance))["state"] == state and d)


def test_from_a_file_to_the_end(server, client, path):
    (deployed,) = client.deploy([path])
    assert deployed["process"] == "client"
    started = client.start("client", {"x": 4}, business_key="c1", once="client-1")
    again = client.start("client", {"x": 4}, business_key="c1", once="client-1")
    assert again["instance"] == started["instance"]
    instance = started["instance"]
    until(server, client, instance, "waiting")
    (task,) = [each for each in client.tasks() if each["instance"] == instance]
    assert client.task(task["task"])["name"] == "Look"
    client.claim(task["task"], person="ann")
    with pytest.raises(Refused, match="assigned to ann"):
        client.claim(task["task"], person="bob")
    done = client.complete(task["task"], {"seen": True}, person="ann")
    assert (done["state"], done["variables"]) == ("completed", {"x": 4, "y": 8, "seen": True})
    assert [each["instance"] for each in client.instances(business_key="c1")] == [instance]
    assert client.logs(instance)[0]["element"] == "work"
    assert client.history(instance)[-1]["element"] == "e"
    assert {each["action"] for each in client.audit(instance)} == {"start", "claim", "complete"}


def test_errors_are_those_of_a_state_folder(client):
    with pytest.raises(InputMissing, match="no definition"):
        client.start("nothing")
    with pytest.raises(UsageError, match="not an instance"):
        client.instance("x")
    with pytest.raises(BadData):
        client.start(7)
    with pytest.raises(UsageError, match="not the URL"):
        Client("ftp://here")
    with pytest.raises(ServiceUnavailable, match="cannot be reached"):
        Client("http://127.0.0.1:9").me()


def test_who_watches_sees_what_changes(server, client, path):
    client.deploy([path])
    instance = client.start("client", {"x": 1})["instance"]
    until(server, client, instance, "waiting")
    seen = []
    begun = threading.Event()

    def watch():
        with Client(server.url) as other:
            begun.set()
            # That it began to wait may be told after this has begun to watch.
            seen.append(next(e for e in other.watch(instance) if e["state"] != "waiting"))

    thread = threading.Thread(target=watch)
    thread.start()
    begun.wait()
    server.wait(lambda: "mlkit_bpmn_watchers 1.0" in server("GET", "/metrics").text)
    client.decide(f"{instance}/u", approved=True)
    thread.join(180)
    assert seen[0]["state"] == "completed"


def test_a_token_decides_what_a_client_may_do(own_server, tmp_path, path):
    (tmp_path / "tokens").write_text("aaaa\nbbbb viewer vic\ncccc participant pat\n")
    server = own_server("--token-file", str(tmp_path / "tokens"))
    with pytest.raises(ConfigurationError, match="bearer token"):
        Client(server.url).definitions()
    owner, viewer, person = (Client(server.url, token) for token in ("aaaa", "bbbb", "cccc"))
    owner.deploy([path])
    assert [each["process"] for each in viewer.definitions()] == ["client"]
    for act in (lambda: viewer.deploy([path]), lambda: viewer.start("client")):
        with pytest.raises(ConfigurationError, match="vic may not"):
            act()
    instance = owner.start("client", {"x": 1})["instance"]
    until(server, owner, instance, "waiting")
    with pytest.raises(ConfigurationError, match="may not act for"):
        person.complete(f"{instance}/u", person="ann")
    done = person.complete(f"{instance}/u")
    assert done["trace"][-2]["by"] == "pat"
    assert person.me()["roles"] == ["participant"]
    for each in (owner, viewer, person):
        each.close()


def deploy(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_mlkit("bpmn", "deploy", *arguments)


def test_the_command_deploys_to_a_server_and_into_a_state_folder(server, client, path, tmp_path):
    path.write_text(path.read_text().replace('name="Look"', 'name="Look here"'))
    done = deploy(path, "--server", server.url)
    assert done.returncode == 0, done.stderr
    version = client.definitions("client")[0]["version"]
    assert done.stdout == f"client  version {version}  deployed\n"
    assert "unchanged" in deploy(path, "--state", server.state).stdout
    assert "version 1  deployed" in deploy(path, "--state", tmp_path / "other").stdout
    (tmp_path / "calc.py").write_text("y = (")
    refused = deploy(path, "--server", server.url)
    assert refused.returncode == 65
    assert "client.bpmn" in refused.stderr
    assert deploy(path, "--server", "http://127.0.0.1:9").returncode == 69


def test_what_was_acknowledged_survives_a_crash_and_starts_once(own_server, path):
    server = own_server()
    with Client(server.url) as client:
        client.deploy([path])
    acknowledged: dict[str, str] = {}

    def start(number: int) -> None:
        with Client(server.url) as client:
            try:
                for turn in range(100):
                    key = f"{number}-{turn}"
                    acknowledged[key] = client.start("client", {"x": 1}, once=key)["instance"]
            except MlkitError:
                return  # The server is gone.

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    server.wait(lambda: len(acknowledged) > 20)
    server.kill()
    for each in threads:
        each.join()
    server.start()
    with Client(server.url) as client:
        again = {key: client.start("client", {"x": 1}, once=key) for key in list(acknowledged)[:5]}
        assert all(acknowledged[key] == each["instance"] for key, each in again.items())
        known = server.wait(lambda: _all_wait(client))
    assert set(acknowledged.values()) <= known


def _all_wait(client: Client) -> set[str] | None:
    found = list(client.instances(process="client"))
    done = all(each["state"] == "waiting" for each in found)
    return {each["instance"] for each in found} if done else None
