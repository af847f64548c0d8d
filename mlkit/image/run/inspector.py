"""What a container is like from within: its processes, and what programs in it find."""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field

SIGTERM = 15
INITS = {".mlkit-init", "tini", "docker-init", "dumb-init"}
SHELLS = {"sh", "bash", "dash", "ash"}
GIVEN = {"HOSTNAME", "PWD", "OLDPWD", "SHLVL", "_"}
"""Variables that the engine or a shell sets, another each time."""
HOST = re.compile(r"(?<!\w)\w{1,40}+://(?:[^/@\s]{0,400}@)?([A-Za-z][\w.-]*)")
REAL_TIME = 34
"""SIGRTMIN, as the C library counts."""
SIGNAL = re.compile(r"(?:SIG)?(?:RTMIN\+(\d+)|([A-Z]\w*))|(\d+)")


@dataclass(frozen=True)
class Process:
    """A process of a container.

    Attributes:
        pid: Its id within the container.
        parent: Its parent's.
        state: As `/proc/PID/status` has it; Z is a zombie.
        user: User and group id.
        caught: The signals that it handles, as bits.
        command: Its arguments, joined by spaces.
        directory: Where it works; None if that was not to be seen.
        environment: Its variables.
        blocked: The signals that it blocks, to ask for them itself, as bits.
    """

    pid: int
    parent: int
    state: str
    user: str
    caught: int = 0
    command: str = ""
    directory: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    blocked: int = 0

    @property
    def stops(self) -> bool:
        """Return whether it handles SIGTERM."""
        return self.handles(SIGTERM)

    def handles(self, signal: int) -> bool:
        """Return whether it catches a signal, or blocks it, as those do that wait for it."""
        return bool((self.caught | self.blocked) >> (signal - 1) & 1)


def signal_number(name: str) -> int | None:
    """Return the number of a signal as a Dockerfile names it; None if there is none."""
    match = SIGNAL.fullmatch(name.upper())
    if match is None:
        return None
    real_time, word, digits = match.groups()
    if real_time is not None:
        return REAL_TIME + int(real_time)
    if digits is not None:
        return int(digits)
    return getattr(signal, f"SIG{word}", None)


def orphans(processes: Iterable[Process]) -> int:
    """Count the zombies that process 1 would have to reap."""
    return sum(each.state == "Z" and each.parent == 1 for each in processes)


def read_processes(text: str) -> list[Process]:
    """Read the inspector's report of processes, by their ids."""
    facts: dict[int, dict[str, list[str]]] = {}
    for line in text.splitlines():
        key, _, rest = line.partition("\t")
        pid, _, value = rest.partition(" ")
        if pid.isdigit():
            facts.setdefault(int(pid), {}).setdefault(key, []).append(value)
    return [_process(pid, each) for pid, each in sorted(facts.items()) if "process" in each]


def _process(pid: int, facts: dict[str, list[str]]) -> Process:
    parent, state, user, group, caught, blocked, *_ = [*facts["process"][0].split(), "-"]
    pairs = (each.partition("=") for each in facts.get("variable", ()))
    return Process(
        pid,
        int(parent),
        state,
        f"{user}:{group}",
        int(caught, 16) if caught != "-" else 0,
        facts.get("command", [""])[0],
        facts.get("directory", [None])[0],
        {name: value for name, _, value in pairs if name not in GIVEN},
        int(blocked, 16) if blocked != "-" else 0,
    )


def app_of(processes: Iterable[Process]) -> Process | None:
    """Find the app: process 1, or what an init or a shell has started in its place."""
    by_parent: dict[int, list[Process]] = {}
    for each in processes:
        by_parent.setdefault(each.parent, []).append(each)
    here = next((each for each in by_parent.get(0, ()) if each.pid == 1), None)
    while here and _stands_before(here.command):
        alive = [each for each in by_parent.get(here.pid, ()) if each.state != "Z"]
        if len(alive) != 1:
            return here
        here = alive[0]
    return here


def _stands_before(command: str) -> bool:
    words = command.split(" ")
    name = posixpath.basename(words[0])
    return name in INITS or (name in SHELLS and words[1:2] == ["-c"])


def read_both(text: str) -> tuple[list[Process], str]:
    """Read a report of processes that one of what programs find follows; return that unread."""
    processes, _, look = text.partition("\nlook\n")
    return read_processes(processes), look


def read_look(text: str) -> dict[str, str]:
    """Read what the inspector found from within."""
    return dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)


def hosts_of(environment: Iterable[str]) -> list[str]:
    """List the hosts that URLs in variables name."""
    return sorted({match for value in environment for match in HOST.findall(value)})
