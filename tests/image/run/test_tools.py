"""The small programs that run inside containers, run on this machine: `make test-sanitize` too."""

from __future__ import annotations

import os
import socket
import subprocess
import threading

import pytest

from mlkit.image.run.inspector import read_both, read_look
from mlkit.image.run.trace import tool

LIMIT = 60


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Return the path of one of the programs."""
    folder = tmp_path_factory.mktemp("tools")

    def path(name):
        place = folder / name
        if not place.exists():
            place.write_bytes(tool(name))
            place.chmod(0o755)
        return place

    return path


def run(*command, **settings):
    return subprocess.run(command, capture_output=True, timeout=LIMIT, check=False, **settings)


def test_the_inspector_reports_what_an_app_sees(program, tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n" * 3)
    environment = {"SSL_CERT_FILE": str(bundle), "TZ": "UTC"}
    done = run(program("inspector"), "look", "127.0.0.1", "no such host", env=environment)
    assert done.returncode == 0, done.stderr
    found = dict(line.split("\t", 1) for line in done.stdout.decode().splitlines())
    assert found["certificates"] == "3"
    assert "+0000 UTC" in found["zone"]
    assert found["user"].startswith(f"{os.getuid()} {os.getgid()} ")
    assert found["address of 127.0.0.1"] == "127.0.0.1"
    assert found["address of no such host"]


def test_the_inspector_lists_processes(program):
    done = run(program("inspector"), "processes")
    assert done.returncode == 0, done.stderr
    assert b"command" in done.stdout


def test_the_inspector_reports_both_at_once(program):
    done = run(program("inspector"), "both")
    assert done.returncode == 0, done.stderr
    processes, look = read_both(done.stdout.decode())
    assert os.getpid() in {each.pid for each in processes}
    alone = run(program("inspector"), "look")
    assert read_look(look) == read_look(alone.stdout.decode())
    assert {"certificates", "zone", "user", "address of localhost"} <= read_look(look).keys()


@pytest.mark.parametrize("arguments", [(), ("other",)])
def test_the_inspector_refuses_what_it_does_not_know(program, arguments):
    assert run(program("inspector"), *arguments).returncode == 64


def test_the_gate_has_to_have_a_command(program):
    assert run(program("gate")).returncode == 64


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_the_relay_carries_bytes_both_ways(program, size):
    sent, served = os.urandom(size), []

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(65536):
                served.append(data)
            connection.sendall(b"".join(served)[::-1])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        port = str(listener.getsockname()[1])
        done = run(program("relay"), port, input=sent)
        thread.join(LIMIT)
    assert (done.returncode, done.stdout) == (0, b"+" + sent[::-1])


def test_the_relay_says_that_nobody_listens(program):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = str(closed.getsockname()[1])
    assert run(program("relay"), port).returncode == 1


def test_the_tracer_reports_what_is_looked_up(program, tmp_path):
    # Process 1 of a namespace of its own, as in a container.
    (tmp_path / "there").write_text("x")
    script = (
        f'"{program("tracer")}" >"{tmp_path}/facts" & '
        f'until grep -q ready "{tmp_path}/facts"; do sleep 0.01; done; '
        f'cat "{tmp_path}/there" "{tmp_path}/missing"; sh -c "exit 3"; :'
    )
    namespace = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if run(*namespace, "true").returncode != 0:
        pytest.skip("this machine refuses a process namespace")
    run(*namespace, "sh", "-c", script)
    facts = (tmp_path / "facts").read_text().splitlines()
    assert facts[0] == "ready"
    assert f"open {tmp_path}/there" in facts
    assert f"miss {tmp_path}/missing" in facts
    assert "call openat" in facts
