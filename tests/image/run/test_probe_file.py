"""Files of probes, and test commands that run on this machine."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

import pytest

from mlkit.errors import BadData, InputMissing, Interrupted, UsageError
from mlkit.image.run import host_command
from mlkit.image.run.probe import Probe, command, parse
from mlkit.image.run.probe_file import read
from mlkit.interruption import stoppable


def written(tmp_path, text):
    path = tmp_path / "probes.toml"
    path.write_text(text)
    return path


def test_probes_have_methods_bodies_headers_and_statuses(tmp_path):
    path = written(
        tmp_path,
        """
        [[probe]]
        http = "/predict"
        method = "POST"
        body = '{"x": 1}'
        status = 201
        headers = { content-type = "application/json" }
        [[probe]]
        http = "8001/"
        [[probe]]
        tcp = 5432
        [[probe]]
        exec = "app --check"
        [[probe]]
        log = "ready$"
        [[probe]]
        exit = 0
        """,
    )
    first, *rest = read(path, [9000])
    assert first.text == "http:POST 9000/predict=201"
    assert (first.port, first.method, first.expected) == (9000, "POST", 201)
    assert (first.body, first.headers) == (b'{"x": 1}', {"Content-Type": "application/json"})
    same = [parse(each, []) for each in ("tcp:5432", "exec:app --check", "log:ready$", "exit:0")]
    assert rest == [Probe("http:8001/", "http", "/", 8001), *same]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no [[probe]]"),
        ("[probe]\nhttp = '/'", "no [[probe]]"),
        ("probe = [1]", "probe 1: not a table"),
        ("x = 1\n[[probe]]\nhttp = '/'", "'x' is not known"),
        ("[[probe]]\nhttp = '/'\ntcp = 1", "expected one of"),
        ("[[probe]]\nhttp = '/'\n[[probe]]\ntcp = 1\nmethod = 'GET'", "probe 2: 'method'"),
        ("[[probe]]\ntcp = '1'", "tcp: expected a number"),
        ("[[probe]]\ntcp = 65536", "from 1 to 65535"),
        ("[[probe]]\nhttp = 1", "http: expected text"),
        ("[[probe]]\nhttp = '/\u00e9'", "not understood"),
        ("[[probe]]\nhttp = '/'\nmethod = 'get'", "method: expected one of GET"),
        ("[[probe]]\nhttp = '/'\nstatus = true", "status"),
        ("[[probe]]\nhttp = '/'\nstatus = 99", "status"),
        ("[[probe]]\nhttp = '/'\nbody = 1", "body: expected text"),
        ('[[probe]]\nhttp = "/"\nheaders = { X = "a\\r\\nB: c" }', "not a header"),
        ('[[probe]]\nhttp = "/"\nheaders = { "X Y" = "a" }', "not a header"),
        ('[[probe]]\nhttp = "/"\nheaders = 1', "expected a table"),
        ("[[probe]]\nlog = '('", "log:("),
        ("[[probe]", "not TOML"),
    ],
)
def test_a_bad_file_is_refused_by_its_place(tmp_path, text, problem):
    with pytest.raises(BadData) as error:
        read(written(tmp_path, text), [])
    assert problem in error.value.message
    assert error.value.message.startswith(f"{tmp_path}/probes.toml: ")


def test_a_file_that_is_not_there_is_input_missing(tmp_path):
    with pytest.raises(InputMissing, match=r"none\.toml"):
        read(tmp_path / "none.toml", [])


def test_a_command_learns_where_the_app_is():
    where = host_command.address("127.0.0.1", {8000: 40001, 9000: 40002}, "abc")
    line = 'test "$MLKIT_HOST:$MLKIT_PORT:$MLKIT_PORT_9000" = 127.0.0.1:40001:40002 && exit 7'
    assert host_command.run(line, where) == (7, "")
    assert "MLKIT_PORT" not in host_command.address("127.0.0.1", {}, "abc")


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(host_command, "LONGEST", 2)
    line = f"sleep 4321 & echo $! >{tmp_path}/pid; echo begun; sleep 4321"
    assert host_command.run(line, {}) == (None, "begun\n")
    wait_for_the_end(tmp_path / "pid")


def wait_for_the_end(file):
    """Wait until the process has ended whose number is in a file."""
    stat, until = Path(f"/proc/{file.read_text().strip()}/stat"), time.monotonic() + 180
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < until, "it goes on"
            time.sleep(0.02)


@pytest.fixture
def interrupted_soon(tmp_path):
    """Send SIGINT once a command has written a file."""

    def look(*_):
        if (tmp_path / "begun").exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("interrupted_soon")
def test_a_command_that_is_interrupted_is_ended_with_all_that_it_started(tmp_path):
    line = f"sleep 4321 & echo $! >{tmp_path}/pid; touch {tmp_path}/begun; sleep 4321"
    with pytest.raises(Interrupted), stoppable():
        host_command.run(line, {})
    wait_for_the_end(tmp_path / "pid")


def test_a_command_can_reach_each_port_once():
    assert command("true", [80, 443, 80]).ports == (80, 443)
    with pytest.raises(UsageError, match="empty"):
        command("  ", [])
