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

from mlkit.image.run.engine import LABEL

pytestmark = [pytest.mark.slow, pytest.mark.alone]
EXAMPLES = Path(__file__).parents[3] / "examples" / "image"
PATIENCE = 120


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
    ours = {each.id for each in client.containers.list(all=True, filters=wanted)}
    ours |= {each.id for each in client.images.list(filters=wanted)}
    ours |= {each.id for each in client.images.list(filters={"dangling": True})}
    return ours | {each.id for each in client.volumes.list()}


def wait_for_containers(client, process, count):
    """Wait until a run has made so many containers of ours, one after the other."""
    wanted = {"label": f"{LABEL}=1"}
    seen, until = set(), time.monotonic() + PATIENCE
    while len(seen) < count:
        assert process.poll() is None, "it has ended before the signal"
        assert time.monotonic() < until, "no container appears"
        seen |= {each.id for each in client.containers.list(all=True, filters=wanted, sparse=True)}
        time.sleep(0.01)


def as_in_a_terminal():
    """Background jobs start with SIGINT ignored, and hand that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("containers", [1, 4, 9])
def test_a_signal_leaves_nothing_behind(client, prefork, tmp_path, number, containers):
    before = left(client)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-m", "mlkit", "image", "slim", prefork, "--probe=http:3000/"]
    command += ["--watch=1", "--patience=8", f"--output=oci:{tmp_path / 'out'}"]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=as_in_a_terminal
    ) as process:
        wait_for_containers(client, process, containers)
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert errors == "error: interrupted\n"
    assert left(client) == before
    assert list(tmp_path.iterdir()) == [temporary]
    assert list(temporary.iterdir()) == []
