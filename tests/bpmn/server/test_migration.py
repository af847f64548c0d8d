"""Instances of a server that go on with another version: over HTTP, by commands, by the client."""

from __future__ import annotations

import json
import re

import pytest
from commands import run_mlkit

from mlkit.bpmn import Client
from mlkit.bpmn.runtime.service import Refused

ENDS = '<startEvent id="s"/><endEvent id="e"/>'


@pytest.fixture
def client(server):
    with Client(server.url) as made:
        yield made


@pytest.fixture
def deploy(client, tmp_path, diagram):
    def deploy(key, task):
        path = tmp_path / "p.bpmn"
        text = diagram(f'{ENDS}<userTask id="{task}"/>', f"s>{task} {task}>e")
        path.write_text(text.replace('process id="p"', f'process id="{key}"'))
        return client.deploy([path])[0]["version"]

    return deploy


@pytest.fixture
def waiting(server, client):
    """Start a definition, and wait until its task waits."""

    def start(key):
        instance = client.start(key)["instance"]
        server.wait(lambda: client.instance(instance)["waiting"])
        return instance

    return start


def test_over_http(server, client, deploy, waiting):
    deploy("over-http", "u")
    instance = waiting("over-http")
    assert deploy("over-http", "v") == 2
    path = f"/api/v1/instances/{instance}/migrate"
    report = server("POST", path, json={"version": 2, "dry_run": True})
    assert report.status_code == 200
    assert report.json()["problems"][0].startswith("u: it holds a token")
    assert not report.json()["migrated"]
    refused = server("POST", path, json={"version": 2})
    assert refused.status_code == 409
    assert "u: it holds a token" in refused.json()["detail"]
    assert server("POST", path, json={"version": 9}).status_code == 404
    assert server("POST", path, json={"version": 0}).status_code == 422
    assert client.instance(instance)["version"] == 1
    moved = server("POST", path, json={"mapping": {"u": "v"}, "person": "ann"}).json()
    assert moved["migrated"]
    assert [(each["element"], each["to"]) for each in moved["tokens"]] == [("u", "v")]
    shown = client.instance(instance)
    assert (shown["version"], shown["tokens"][0]["element"]) == (2, "v")
    found = client.request("GET", "/audit", params={"instance": instance})["entries"]
    entry = next(each for each in found if each["action"] == "migrate")
    assert (entry["who"], entry["subject"]) == ("ann", "version 2")


def test_by_the_client(client, deploy, waiting):
    deploy("by-client", "u")
    instance = waiting("by-client")
    deploy("by-client", "v")
    with pytest.raises(Refused, match="u: it holds a token"):
        client.migrate(instance)
    assert not client.migrate(instance, 2, {"u": "v"}, dry_run=True)["migrated"]
    assert client.migrate(instance, 2, {"u": "v"})["migrated"]


def test_by_commands_here_and_there(server, deploy, waiting):
    deploy("commands", "u")
    first, second = waiting("commands"), waiting("commands")
    deploy("commands", "v")
    there = ("--server", server.url)

    def run(instance, *options):
        return server.mlkit("migrate", instance, *options)

    prevented = run(first, "--to", 2)
    assert prevented.returncode == 1
    assert "u  waiting  -> ?" in prevented.stdout
    assert "prevented: u: it holds a token" in prevented.stderr
    wrong = run(first, "--map", "u")
    assert (wrong.returncode, "expected OLD=NEW" in wrong.stderr) == (2, True)
    dry = run(first, "--to", 2, "--map", "u=v", "--dry-run")
    assert (dry.returncode, "would be moved: version 1 -> 2" in dry.stdout) == (0, True)
    moved = run(first, "--to", 2, "--map", "u=v", "--json")
    assert json.loads(moved.stdout)["migrated"]

    found = run_mlkit("bpmn", "migrate", second, "--map", "u=v", *there)
    assert (found.returncode, found.stderr) == (0, "")
    assert "commands  moved: version 1 -> 2" in found.stdout


def test_in_the_console(server, client, deploy, waiting):
    deploy("console", "u")
    instance = waiting("console")
    page = f"/instances/{instance}"
    assert "another version" not in server("GET", page).text
    deploy("console", "v")
    assert f'href="../instances/{instance}/migrate"' in server("GET", page).text
    shown = server("GET", f"{page}/migrate").text
    assert "u: it holds a token" in shown
    assert ">u=\n</textarea>" in shown
    assert "Move it to version" not in shown
    assert server("GET", f"{page}/migrate", params={"mapping": "<b>"}).status_code == 422
    assert server("GET", f"{page}/migrate", params={"version": "x"}).status_code == 422
    shown = server("GET", f"{page}/migrate", params={"version": "2", "mapping": "u=v\n"}).text
    assert "Move it to version 2" in shown
    forged = server("POST", f"{page}/migrate", data={"version": "2", "mapping": "u=v"})
    assert forged.status_code == 422
    token = re.search(r'name="form_token" value="([^"]+)"', shown)[1]
    given = {"form_token": token, "version": "2", "mapping": "u=v\r\n"}
    moved = server("POST", f"{page}/migrate", data=given)
    assert "It was migrated to another version." in moved.text
    assert client.instance(instance)["version"] == 2
