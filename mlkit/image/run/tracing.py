"""Tracing: a sidecar beside a held container, by the best way that the engine allows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from mlkit.errors import ServiceUnavailable
from mlkit.image.choices import TRACER, Tracer
from mlkit.image.filesystem.inventory import FileSystem
from mlkit.image.run.engine.container import Container
from mlkit.image.run.engine.engine import Engine
from mlkit.image.run.trace import Method, Trace, read_lines

PATIENCE = 10
"""Seconds that a sidecar may take to begin."""
POLL = 0.03


@dataclass(frozen=True)
class Way:
    """A way to trace.

    Attributes:
        method: Its name.
        program: The program of ours in the sidecar.
        capabilities: All that the sidecar may do.
    """

    method: Method
    program: str
    capabilities: Sequence[str]


WAYS = (
    Way("ptrace", "tracer", ("SYS_PTRACE",)),
    Way("fanotify", "listener", ("SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH")),
)
"""The one that sees most first."""


@dataclass(frozen=True)
class Tracing:
    """A traced run.

    Attributes:
        method: How it is traced.
        sidecar: Who does it; None: nobody.
    """

    method: Method
    sidecar: Container | None = None

    def trace(self) -> Trace:
        """Return what the run has looked up so far."""
        if self.sidecar is None:
            return Trace(method=self.method)
        return read_lines(self.sidecar.logs().splitlines(), self.method)


def attach(
    stack: ExitStack, engine: Engine, tools: str, app: Container, tracer: Tracer = TRACER
) -> Tracing:
    """Put a sidecar beside a held container.

    Args:
        stack: Keeps the sidecar as long as it is open.
        engine: Where.
        tools: The image of our programs.
        app: The container.
        tracer: The way to take; `auto` takes the best that the engine allows, or none.

    Raises:
        ServiceUnavailable: The way that was asked for is refused.
    """
    for way in WAYS:
        if tracer not in {"auto", way.method}:
            continue
        sidecar, problem = _begin(stack, engine, tools, app, way)
        if sidecar is not None:
            return Tracing(way.method, sidecar)
        if tracer != "auto":
            hint = "`--tracer auto` takes what the engine allows"
            raise ServiceUnavailable(f"{way.method} is refused: {problem}", hint=hint)
    return Tracing("none")


def _begin(
    stack: ExitStack, engine: Engine, tools: str, app: Container, way: Way
) -> tuple[Container | None, str]:
    """Start a sidecar; send it once it is ready, or else why not."""
    sidecar: Container = stack.enter_context(
        engine.container(
            tools,
            entrypoint=[f"/{way.program}"],
            pid_mode=f"container:{app.id}",
            network_mode="none",
            cap_drop=["ALL"],
            cap_add=list(way.capabilities),
            security_opt=["apparmor=unconfined", "seccomp=unconfined"],
        )
    )
    problem = sidecar.start()
    until = time.monotonic() + PATIENCE
    while not problem and "ready" not in sidecar.logs():
        if time.monotonic() > until or not sidecar.state().running:
            problem = sidecar.logs().strip() or "the tracer does not start"
        time.sleep(POLL)
    return (None, problem) if problem else (sidecar, "")


def with_links(trace: Trace, files: FileSystem) -> Trace:
    """Add the links that lead to what was opened: fanotify reports files, not the paths to them.

    Args:
        trace: What was seen.
        files: The image.
    """
    opened = {path.lstrip("/") for path in trace.opened}
    places = opened | {path.rpartition("/")[0] for path in opened}
    for path in list(places):
        while path := path.rpartition("/")[0]:
            places.add(path)
    links = (path for path, entry in files.entries.items() if entry.kind == "symlink")
    found = {f"/{path}" for path in links if files.walk(path)[0] in places}
    return Trace(trace.opened | found, trace.statted, trace.missed, trace.orphaned, trace.method)
