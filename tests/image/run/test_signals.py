"""A signal in the middle of a slimming: nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest

from mlkit.image.run.engine.engine import LABEL, RUN

pytestmark = [pytest.mark.slow, pytest.mark.alone]
EXAMPLES = Path(__file__).parents[3] / "examples" / "image"
PATIENCE = 300


@pytest.fixture(scope="module")
def prefork(build, tmp_path_factory):
    """Return a small image whose slimming takes many containers, with a volume of its own."""
    program = tmp_path_factory.mktemp("c") / "prefork"
    command = ["cc", "-O1", "-static", "-o", program, EXAMPLES / "prefork.c"]
    subprocess.run(command, check=True)
    text = (EXAMPLES / "Dockerfile").read_text() + "\nVOLUME /data\n"
    return build(text, prefork=program.read_bytes())


@pytest.fixture
def client(engine):
    """Return a client that looks at what is there."""
    found = docker.from_env()
    yield found
    found.close()


def left(client):
    """List what is in the engine: our containers and images, and all volumes."""
    wanted = {"label": f"{LABEL}=1"}
    ours = {each.id for each in client.containers.list(all=True, filters=wanted, sparse=True)}
    ours |= {each["Id"] for each in client.api.images(filters=wanted)}
    ours |= {each["Id"] for each in client.api.images(filters={"dangling": True})}
    return ours | {each.id for each in client.volumes.list()}


def wait_for_containers(client, process, began, count):
    """Wait until a run has made so many containers, which its mark tells from those of others."""
    wanted = {"type": "container", "event": "create", "label": f"{LABEL}=1"}
    until, made = time.monotonic() + PATIENCE, 0
    while made < count:
        assert process.poll() is None, "it has ended before the signal"
        assert time.monotonic() < until, "no container appears"
        between = {"since": f"{began:.9f}", "until": f"{time.time():.9f}"}
        events = client.events(filters=wanted, decode=True, **between)
        marks = [each["Actor"]["Attributes"][RUN] for each in events]
        made = sum(mark.split("-")[1] == str(process.pid) for mark in marks)
        time.sleep(0.01)


def as_in_a_terminal():
    """Background jobs start with SIGINT ignored, and hand that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("containers", [1, pytest.param(4, marks=pytest.mark.nightly), 9])
def test_a_signal_leaves_nothing_behind(client, prefork, tmp_path, number, containers):
    before, began = left(client), time.time()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-m", "mlkit", "image", "slim", prefork, "--probe=http:3000/"]
    command += ["--watch=1", "--patience=60", f"--output=oci:{tmp_path / 'out'}"]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=as_in_a_terminal
    ) as process:
        try:
            wait_for_containers(client, process, began, containers)
            process.send_signal(number)
            _, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert errors == "error: interrupted\n"
    assert left(client) == before
    assert list(tmp_path.iterdir()) == [temporary]
    assert list(temporary.iterdir()) == []
