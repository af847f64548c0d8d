"""How far an instance has come, element by element."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime import documents
from mlkit.bpmn.runtime.session import Session

_OPEN = {"working": "running", "open": "running", "incident": "failed"}


@dataclass(slots=True)
class Progress:
    """What an instance did at one element.

    Attributes:
        state: `done`, `running`, `waiting`, `failed` or `ended` (by something else).
        count: How often it completed.
        seconds: How long its scripts ran in all; None where none did.
        tokens: Of a join that waits, how many of its flows a token has come by: `1 of 2`.
    """

    state: str
    count: int = 0
    seconds: float | None = None
    tokens: str = ""

    @property
    def text(self) -> str:
        """Return it in a few characters."""
        parts = [f"{self.count}\u00d7"] if self.count > 1 else []
        if self.seconds is not None:
            parts.append(brief(self.seconds))
        parts += [self.tokens] if self.tokens else []
        return " ".join(parts)


def brief(seconds: float) -> str:
    """Write a duration with two or three digits."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def progress(session: Session, row: Row) -> dict[str, Progress]:
    """Return how far an instance has come, by the id of the element."""
    engine, state = session.engine(row), session.state(row)
    found: dict[str, Progress] = {}
    steps = documents.trace(session.journal, row, engine)
    repeated = {step["element"] for step in steps if step["iteration"]}
    for step in steps:
        each = found.setdefault(step["element"], Progress("done"))
        # What holds the iterations of an activity completes once more, after the last of them.
        whole = step["element"] in repeated and not step["iteration"]
        each.count += step["event"] == "completed" and not whole
        each.state = "done" if step["event"] == "completed" else "ended"
    _add_logs(found, session, row)
    if state.status == "running":
        _add_open(found, documents.open_nodes(engine, state))
    for incident in documents.incidents(engine, state):
        found.setdefault(incident["element"], Progress("failed")).state = "failed"
    return found


def _add_logs(found: dict[str, Progress], session: Session, row: Row) -> None:
    for log in session.journal.logs(row):
        each = found.setdefault(log.element, Progress("running"))
        each.seconds = (each.seconds or 0.0) + log.duration
        if each.state == "ended" and log.outcome != "completed":
            each.state = "failed"


def _add_open(found: dict[str, Progress], nodes: Iterable[dict[str, Any]]) -> None:
    for node in nodes:
        each = found.setdefault(str(node["element"]), Progress("running"))
        each.state = _OPEN.get(str(node["status"]), "waiting")
        if node["status"] == "joining":
            each.tokens = f"{len(node['arrived'])} of {node['incoming']}"
