"""What `mlkit bpmn run` shows on a terminal while it runs: nodes, times, the scripts' output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from mlkit.bpmn.engine.events import Hop
    from mlkit.bpmn.engine.state import Activation
    from mlkit.bpmn.runtime.clock import Clock
    from mlkit.bpmn.runtime.running import Running
    from mlkit.bpmn.runtime.session import Session
    from mlkit.workers.pool import ScriptPool

TAIL = 3
_SHOWN = 12
_SIGNS = {"working": ("▶", "blue"), "pausing": ("↻", "yellow"), "incident": ("✘", "red")}


@contextmanager
def show_progress(session: Session) -> Iterator[None]:
    """Show on standard error what a session does in the block."""
    from rich.console import Console
    from rich.live import Live

    from mlkit.bpmn.runtime.clock import RealClock

    settings = session.settings
    before = settings.clock, settings.observer
    console = Console(file=sys.stderr, highlight=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        view = View(session, console, live)
        settings.clock = Redrawing(settings.clock or RealClock(), view.redraw)
        settings.observer = view.watch
        try:
            yield
        finally:
            settings.clock, settings.observer = before


@dataclass(slots=True)
class Redrawing:
    """A clock that lets the picture follow whenever the run pauses to wait."""

    clock: Clock
    redraw: Callable[[], None]

    def now(self) -> float:
        """Return the clock's time."""
        return self.clock.now()

    def wait(self, due: float | None, idle: bool) -> float | None:
        """Draw, then return how long to wait."""
        self.redraw()
        return self.clock.wait(due, idle)


@dataclass(slots=True)
class View:
    """The nodes that ended, as lines that stay, above those in progress."""

    session: Session
    console: Console
    live: Live
    running: dict[int, Running] = field(default_factory=dict)
    since: dict[tuple[int, int], tuple[str, float]] = field(default_factory=dict)

    def watch(self, running: Running, at: float, trace: list[Hop]) -> None:
        """Print what ended with one event, and note what began."""
        from rich.text import Text

        self.running[running.number] = running
        clock = time.strftime("%H:%M:%S", time.localtime(at))
        for step in trace:
            if step.event == "decided":
                continue
            node = running.engine.graph.behaviors[step.element].node
            sign, colour = ("✔", "green") if step.event == "completed" else ("■", "dim")
            times = f" (attempt {step.attempt})" if step.attempt > 1 else ""
            iteration = f" [{step.iteration}]" if step.iteration else ""
            text = f"{node.name or node.id}{iteration}{times}"
            took = self._took(running, step.element, at)
            line = Text.assemble((clock, "dim"), " ", (sign, colour), f" {text}", (took, "dim"))
            self.console.print(line, soft_wrap=True)
        self._remember(running, at)

    def _remember(self, running: Running, at: float) -> None:
        there = running.state.activations
        for each in there.values():
            self.since.setdefault((running.number, each.id), (each.node, at))
        for number, identifier in list(self.since):
            if number == running.number and identifier not in there:
                del self.since[number, identifier]

    def _took(self, running: Running, element: str, at: float) -> str:
        """Return how long a node took that has just ended."""
        for (number, identifier), (node, began) in self.since.items():
            gone = identifier not in running.state.activations
            if number == running.number and node == element and gone:
                del self.since[number, identifier]
                return f"  {at - began:.1f} s" if at - began >= 0.1 else ""
        return ""

    def redraw(self) -> None:
        """Draw what is in progress now."""
        from rich.console import Group

        lines: list[RenderableType] = []
        for running in self.running.values():
            for each in running.state.activations.values():
                if each.status in _SIGNS:
                    lines += self._lines(running, each)
        self.live.update(Group(*lines[: _SHOWN * (TAIL + 1)]), refresh=True)

    def _lines(self, running: Running, activation: Activation) -> list[RenderableType]:
        from rich.text import Text

        node = running.engine.graph.behaviors[activation.node].node
        _, began = self.since.get((running.number, activation.id), ("", 0.0))
        sign, colour = _SIGNS[activation.status]
        assert self.session.settings.clock is not None
        passed = self.session.settings.clock.now() - began if began else 0.0
        head = Text.assemble(
            (sign, colour), f" {node.name or node.id}", (f"  {passed:.0f} s", "dim")
        )
        return [
            head,
            *(Text(f"    {line}", style="dim") for line in self._tail(running, activation)),
        ]

    def _tail(self, running: Running, activation: Activation) -> list[str]:
        """Return the last lines that a running script has printed."""
        job = running.jobs.get(activation.id)
        pool: ScriptPool | None = self.session.pool
        if job is None or pool is None:
            return []
        printable = (
            "".join(c if c.isprintable() else " " for c in line)
            for line in pool.output(job).splitlines()
        )
        return [line[:200] for line in printable][-TAIL:]
