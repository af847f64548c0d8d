"""Compose files: what they say, what is refused, and services that are up beside an app."""

from __future__ import annotations

import contextlib
import json

import docker
import pytest

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.image.compose import COMPLETED, HEALTHY, STARTED, read

FILE = """
x-common: &common
  restart: always
  environment: {LEVEL: debug, COUNT: 1.10, ON: yes, PASSED:}
services:
  web:
    <<: *common
    image: app:1
    ports: ["80:80"]
    depends_on:
      db: {condition: service_healthy}
      setup: {condition: service_completed_successfully}
    volumes: [data:/data, "./conf:/etc/conf:ro"]
  setup:
    build: {context: ./setup}
    command: init --all "a b"
    depends_on: [db]
  db:
    image: "postgres:${VERSION:-15}"
    user: "999"
    environment: ["PASSWORD=$$x${SECRET}"]
    healthcheck: {test: "pg_isready -q", interval: 2s}
    volumes:
      - {type: volume, source: data, target: /var/lib, read_only: true}
  cache: {image: redis}
  debug: {image: tools, profiles: [debug]}
volumes:
  data:
"""


@pytest.fixture
def write(tmp_path):
    """Write a Compose file."""

    def to(text):
        (tmp_path / "compose.yaml").write_text(text)
        return tmp_path / "compose.yaml"

    return to


def test_services_are_read_in_the_order_in_which_they_start(write, tmp_path):
    (tmp_path / ".env").write_text("SECRET=from-file\nPASSED=from-file\n")
    found = read(write(FILE), "web", {"PASSED": "on"})
    assert [each.name for each in found.others] == ["db", "setup", "cache"]
    web, (db, setup, _) = found.service, found.others
    assert web.environment == {"LEVEL": "debug", "COUNT": "1.10", "ON": "yes", "PASSED": "on"}
    assert web.needs == {"db": HEALTHY, "setup": COMPLETED}
    assert web.volumes == ["data:/data", f"{tmp_path}/conf:/etc/conf:ro"]
    assert setup.command == ["init", "--all", "a b"]
    assert setup.build == tmp_path / "setup"
    assert setup.needs == {"db": STARTED}
    assert db.image == "postgres:15"
    assert db.environment == {"PASSWORD": "$xfrom-file"}
    assert db.health == ["/bin/sh", "-c", "pg_isready -q"]
    assert db.volumes == ["data:/var/lib:ro"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services: {a: {image: x, privileged: true}, web: {}}", "service a: privileged"),
        ("services: {web: {command: run}}", "service web: command"),
        ("services: {web: {}}\nsecrets: {a: {file: b}}", "the file: secrets"),
        ("services: {web: {}}\nvolumes: {a: {driver: nfs}}", "volumes: a"),
        ("services: {web: {depends_on: {a: {condition: odd}}}}", "condition odd"),
        ("services: {web: {environment: {A: '${B:?must}'}}}", "a variable"),
        ("services: {web: {depends_on: [gone]}}", "needs gone"),
        ("services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}, web: {}}",
         "need one another"),
        ("services: {a: {}, web: {}}", "neither image nor build"),
        ("services: [web]", "not a mapping"),
        ("services: {~: {image: x}}", "not a mapping"),
        ("services: {web: {image: [1]}}", "a text is expected"),
        ("services: {a: {image: x, command: \"'\"}, web: {}}", "service a"),
        ("services: {web: {volumes: [{type: tmpfs, target: /x}]}}", "type tmpfs"),
        ("a: [", "not YAML"),
        ("!!python/object/apply:os.system [true]", "not YAML"),
        ("", "not a mapping"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(write, text, words):
    with pytest.raises(BadData) as found:
        read(write(text), "web", {})
    assert words in str(found.value)


def test_a_service_and_a_file_that_are_not_there(write, tmp_path):
    with pytest.raises(UsageError, match="--service other: not in"):
        read(write(FILE), "other", {})
    with pytest.raises(InputMissing):
        read(tmp_path / "none.yaml", "web", {})


@pytest.mark.parametrize(
    "options",
    [["--compose=c.yaml"], ["--service=web"], ["--compose=c", "--service=w", "--network=n"]],
)
def test_options_that_do_not_fit_are_refused(mlkit, options):
    assert mlkit("image", "slim", "app:1", *options).returncode == 2


DATABASE = """import socket
server = socket.create_server(("", 9000))
open("/ready", "w").close()
while True:
    connection, _ = server.accept()
    connection.sendall(b"stored")
    connection.close()
"""
APP = """import os, socket
with socket.create_connection((os.environ["DB"], 9000), 10) as connection:
    text = connection.recv(100)
if text == b"stored":
    import decimal
    print(decimal.Decimal("1.5"), os.environ["MODE"], flush=True)
"""


@pytest.mark.slow
def test_other_services_are_up_for_the_trace_and_the_proof(mlkit, build, debian, write):
    database = build(
        f'FROM {debian}\nCOPY db.py /db.py\nCMD ["python3", "/db.py"]\n', db_py=DATABASE
    )
    app = build(f'FROM {debian}\nCOPY app.py /app.py\nCMD ["python3", "/app.py"]\n', app_py=APP)
    health = '{test: ["CMD", "test", "-f", "/ready"]}'
    text = f"services:\n  db: {{image: {database}, healthcheck: {health}}}\n"
    text += "  web: {environment: {DB: db, MODE: live}, depends_on: {db: {condition: "
    write(text + "service_healthy}}}\n")
    command = (
        "image",
        "slim",
        app,
        "--probe=exit:0",
        "--probe=log:1.5 live",
        "--watch=0",
        "--patience=60",
    )
    command += ("--no-explore", "--compose=compose.yaml", "--service=web", "--json")
    done = mlkit(*command, timeout=500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] in {"equal", "improved"}
    assert "usr/lib/python3.11/decimal.py" in found["kept"]
    with contextlib.closing(docker.from_env()) as client:
        left = client.containers.list(all=True, filters={"ancestor": database}, sparse=True)
    assert left == []
