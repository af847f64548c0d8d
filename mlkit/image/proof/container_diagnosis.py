"""The diagnosis of a running container: it is watched, and never stopped or changed."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlkit.errors import BadData
from mlkit.image.command.entrypoint import SHELLS
from mlkit.image.proof import findings
from mlkit.image.proof.findings import Finding
from mlkit.image.run.engine.container import OWN, Container
from mlkit.image.run.engine.engine import Engine
from mlkit.image.run.inspector import INITS, Process, app_of, read_processes, signal_number
from mlkit.image.run.observation import Tools

PAUSE = 0.25


@dataclass(frozen=True)
class Watched:
    """What watching a container showed.

    Attributes:
        before: The engine's description of it at first.
        after: The engine's description of it in the end.
        first: Its processes at first; none: they cannot be distinguished from those of the machine.
        last: Its processes in the end.
        seconds: How long it was watched.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    first: Sequence[Process]
    last: Sequence[Process]
    seconds: float


@dataclass(frozen=True)
class ContainerDiagnosis:
    """What is to be reported of a container.

    Attributes:
        findings: What is wrong.
        notes: What is worth knowing, and no reason to fail a check.
        facts: What was seen, for JSON.
    """

    findings: list[Finding]
    notes: list[Finding]
    facts: dict[str, Any]


def watch(engine: Engine, tools: Tools, container: Container, seconds: float) -> Watched:
    """Watch a container.

    Its processes are read by a sidecar in its process namespace, with two capabilities and no
    network.

    Raises:
        BadData: It does not run.
    """
    before = container.facts()
    state = before["State"]
    if state["Status"] not in {"running", "restarting"}:
        hint = "start it, or diagnose its image, which is then run"
        text = f"{before['Name'].lstrip('/')}: not running but {state['Status']}"
        raise BadData(f"{text}, exit code {state['ExitCode']}", hint=hint)
    first = _processes(engine, tools, container, before)
    until = time.monotonic() + seconds
    while time.monotonic() < until and container.state().running:
        time.sleep(PAUSE)
    after = container.facts()
    return Watched(before, after, first, _processes(engine, tools, container, after), seconds)


def _processes(
    engine: Engine, tools: Tools, container: Container, facts: dict[str, Any]
) -> list[Process]:
    if facts["HostConfig"].get("PidMode") not in OWN or facts["State"]["Status"] != "running":
        return []
    settings = {"pid_mode": f"container:{container.id}", "network_mode": "none"}
    with engine.container(
        tools.image,
        entrypoint=["/inspector", "processes"],
        cap_drop=["ALL"],
        cap_add=["SYS_PTRACE", "DAC_READ_SEARCH"],  # to see other users' variables
        **settings,
    ) as sidecar:
        return [] if sidecar.start() else read_processes(sidecar.finish(10))


def diagnose(watched: Watched) -> ContainerDiagnosis:
    """Return what is wrong with a container that was watched."""
    config = watched.after["Config"]
    app = app_of(watched.last)
    found = [
        *_life(watched),
        *_signals(watched.last, str(config.get("StopSignal") or "SIGTERM")),
        *_zombies(watched.first, watched.last),
        *_health(watched.after["State"].get("Health") or {}),
        *findings.form(config),
    ]
    notes = list(findings.notes(config, app.user if app else None))
    if not watched.last:
        observed = "its processes cannot be told from others (its process namespace is shared)"
        notes.append(Finding("processes", observed, "run it in a process namespace of its own"))
    return ContainerDiagnosis(found, notes, _facts(watched, app))


def _life(watched: Watched) -> Iterator[Finding]:
    state = watched.after["State"]
    times = int(watched.after.get("RestartCount") or 0)
    cure = "see its log; `mlkit image doctor` of its image runs it with and without an init"
    if times:
        observed = f"it has been restarted {times} times; its last exit code is {state['ExitCode']}"
        yield Finding("restarts", observed, cure)
    elif state["Status"] != "running":
        observed = f"it has ended while it was watched, with exit code {state['ExitCode']}"
        yield Finding("ends", observed, cure)
    if state.get("OOMKilled"):
        yield Finding("out-of-memory", "it ran out of memory", "give it more, or let it use less")


def _signals(processes: Sequence[Process], name: str) -> Iterator[Finding]:
    first = next((each for each in processes if each.pid == 1), None)
    number = signal_number(name)
    if first is None or number is None or first.handles(number) or _is_init(first):
        return
    shell = _program(first) in SHELLS
    observed = (
        f"process 1 ({first.command}) does not handle {name} (SigCgt {first.caught:016x}): "
        "the engine has to kill it"
    )
    cure = "end the line with `exec`, or write exec form" if shell else findings.INIT
    yield Finding("pid1-signal", observed, cure)


def _is_init(process: Process) -> bool:
    return _program(process) in INITS


def _program(process: Process) -> str:
    return posixpath.basename(process.command.partition(" ")[0])


def _zombies(first: Sequence[Process], last: Sequence[Process]) -> Iterator[Finding]:
    """Find zombies that nobody has reaped as long as the container was watched."""
    before = {each.pid for each in first if each.state == "Z"}
    left = [each for each in last if each.state == "Z" and each.pid in before]
    orphans = [each for each in left if each.parent == 1]
    if orphans:
        observed = f"{len(orphans)} zombies that process 1 does not reap"
        cure = f"{findings.INIT}; doctor of its image shows whether that helps"
        yield Finding("pid1-zombies", observed, cure)
    others = sorted({each.parent for each in left} - {1})
    if others:
        named = {each.pid: each.command for each in last}
        parents = ", ".join(f"{pid} ({named.get(pid, '?')})" for pid in others)
        count = len(left) - len(orphans)
        cure = "wait for its children in the app; an init does not help while their parent lives"
        yield Finding("zombies", f"{count} zombies that process {parents} does not reap", cure)


def _health(health: dict[str, Any]) -> Iterator[Finding]:
    if health.get("Status") != "unhealthy":
        return
    last = (health.get("Log") or [{}])[-1]
    lines = str(last.get("Output") or "").strip().splitlines()
    said = f": {lines[-1]}" if lines else ""
    observed = f"its health check fails with exit code {last.get('ExitCode')}{said}"
    yield Finding("health-check", observed, "fix the app, or the check if that is what is wrong")


def _facts(watched: Watched, app: Process | None) -> dict[str, Any]:
    first = next((each for each in watched.last if each.pid == 1), None)
    health = watched.after["State"].get("Health") or {}
    return {
        "process_1": first.command if first else None,
        "caught": f"{first.caught:016x}" if first else None,
        "app": app.command if app else None,
        "user": app.user if app else None,
        "processes": len(watched.last),
        "zombies": sum(each.state == "Z" for each in watched.last),
        "health": health.get("Status"),
        "restarts": int(watched.after.get("RestartCount") or 0),
        "seconds": watched.seconds,
    }
