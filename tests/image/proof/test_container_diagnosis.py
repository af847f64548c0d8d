"""The diagnosis of running containers: what is concluded, and that nothing is touched."""

from __future__ import annotations

import contextlib
import json

import docker
import pytest

from mlkit.image.proof.container_diagnosis import Watched, diagnose, signal_number
from mlkit.image.run.inspector import read_processes

TERM = "0000000000004000"
NONE = "0000000000000000"
QUICK = ("--watch", "0.5", "--json")
TIDY = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
time.sleep(600)
"""
ZOMBIES = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os._exit(0)
time.sleep(600)
"""


def process(pid, parent, command, caught=NONE, state="S", blocked=NONE, user=1000):
    text = f"process\t{pid} {parent} {state} {user} {user} {caught} {blocked}\n"
    return text + f"command\t{pid} {command}\n"


def found(*processes, state=None, config=None, first=None, **attributes):
    facts = {
        "State": {"Status": "running", "ExitCode": 0} | (state or {}),
        "Config": {"Cmd": ["/app"], "Healthcheck": {"Test": ["CMD", "/check"]}} | (config or {}),
        **attributes,
    }
    last = read_processes("".join(processes))
    return diagnose(Watched(facts, facts, last if first is None else first, last, 1.0))


def codes(*processes, **more):
    return [each.code for each in found(*processes, **more).findings]


def test_a_clean_container_has_no_finding_and_no_note():
    clean = found(process(1, 0, "/app", TERM))
    assert (clean.findings, clean.notes) == ([], [])


@pytest.mark.parametrize(
    ("first", "more", "expected"),
    [
        (process(1, 0, "/app", NONE), {}, ["pid1-signal"]),
        (process(1, 0, "/app", NONE, blocked=TERM), {}, []),
        (process(1, 0, "/tini -- /app") + process(7, 1, "/app"), {}, []),
        (process(1, 0, "/sbin/docker-init -- /app") + process(7, 1, "/app"), {}, []),
        (process(1, 0, "/app", TERM), {"config": {"StopSignal": "SIGQUIT"}}, ["pid1-signal"]),
        (process(1, 0, "/app", "0000000000000004"), {"config": {"StopSignal": "QUIT"}}, []),
        (process(1, 0, "/app", TERM), {"config": {"StopSignal": "nonsense"}}, []),
        (process(1, 0, "/app", TERM) + process(5, 1, "", state="Z"), {}, ["pid1-zombies"]),
        (process(1, 0, "/app", TERM) + process(4, 1, "/w") + process(5, 4, "", state="Z"), {},
         ["zombies"]),
        (process(1, 0, "/app", TERM), {"RestartCount": 2}, ["restarts"]),
        ("", {"state": {"Status": "exited", "ExitCode": 3}}, ["ends"]),
        (process(1, 0, "/app", TERM), {"state": {"OOMKilled": True}}, ["out-of-memory"]),
        (process(1, 0, "sh -c x; y", NONE), {"config": {"Cmd": ["sh", "-c", "x; y"]}},
         ["pid1-signal", "shell-form"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(first, more, expected):
    assert codes(first, **more) == expected


def test_a_zombie_that_was_reaped_meanwhile_is_none():
    both = process(1, 0, "/app", TERM) + process(5, 1, "", state="Z")
    assert codes(both, first=read_processes(process(1, 0, "/app", TERM))) == []


def test_a_failing_health_check_is_told_with_what_it_said():
    log = [{"ExitCode": 0, "Output": "fine"}, {"ExitCode": 7, "Output": "a\nno answer\n"}]
    state = {"Health": {"Status": "unhealthy", "Log": log}}
    (one,) = found(process(1, 0, "/app", TERM), state=state).findings
    assert one.code == "health-check"
    assert one.observed.endswith("exit code 7: no answer")
    assert codes(process(1, 0, "/app", TERM), state={"Health": {"Status": "starting"}}) == []


def test_notes_are_no_findings():
    noted = found(process(1, 0, "/app", TERM, user=0), config={"Healthcheck": None})
    assert noted.findings == []
    assert [each.code for each in noted.notes] == ["root", "no-health-check"]
    shell = {"Healthcheck": {"Test": ["CMD-SHELL", "x || exit 1"]}}
    noted = found(process(1, 0, "/app", TERM), config=shell)
    assert [each.code for each in noted.notes] == ["shell-health-check"]
    assert "process namespace" in found().notes[-1].observed


@pytest.mark.parametrize(
    ("name", "number"),
    [("SIGTERM", 15), ("quit", 3), ("9", 9), ("SIGRTMIN+3", 37), ("", None), ("SIGNOPE", None)],
)
def test_signals_have_numbers(name, number):
    assert signal_number(name) == number


@pytest.fixture
def started(engine, debian):
    """Start containers of Debian; they are removed at the end."""
    with contextlib.closing(docker.from_env()) as client:
        made = []

        def start(*command, **settings):
            made.append(client.containers.run(debian, list(command), detach=True, **settings))
            return made[-1]

        yield start
        for each in made:
            each.remove(force=True)


@pytest.mark.slow
@pytest.mark.alone
def test_a_running_container_is_diagnosed_and_left_as_it_is(mlkit, started):
    tidy = started("python3", "-c", TIDY, user="1000")
    zombies = started("python3", "-c", ZOMBIES)
    for container, expected in ((tidy, []), (zombies, ["pid1-signal", "pid1-zombies"])):
        container.reload()
        before, processes = container.attrs, container.top(ps_args="-o pid,args")["Processes"]
        done = mlkit("image", "doctor", container.name, *QUICK)
        assert done.returncode == bool(expected), done.stderr
        told = json.loads(done.stdout)
        assert [each["code"] for each in told["findings"]] == expected
        assert told["kind"] == "container"
        assert "root" not in {each["code"] for each in told["notes"]} or container is zombies
        container.reload()
        assert container.attrs == before
        assert container.top(ps_args="-o pid,args")["Processes"] == processes
    assert json.loads(mlkit("image", "clean", "--json").stdout)["removed"] == []


@pytest.mark.slow
@pytest.mark.alone
def test_what_cannot_be_watched_is_refused(mlkit, started):
    ended = started("true")
    ended.wait()
    done = mlkit("image", "doctor", ended.name, *QUICK)
    assert done.returncode == 65
    assert "not running but exited, exit code 0" in done.stderr
    tidy = started("python3", "-c", TIDY)
    done = mlkit("image", "doctor", tidy.name, "--probe=tcp:1", *QUICK)
    assert done.returncode == 2
    done = mlkit("image", "doctor", "no-such-thing", *QUICK)
    assert done.returncode == 66
    assert "no-such-thing" in done.stderr
