"""Hosts that share a journal, and instances in it, for the tests of journals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mlkit.bpmn.engine.events import Start
from mlkit.bpmn.engine.state import Activation, State
from mlkit.bpmn.engine.waits import ForTimer
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import (
    Changes,
    Entry,
    Row,
)


@dataclass
class Hosts:
    """Processes that use one journal; each has a connection and is an owner of its own."""

    open: Callable[[], Journal]
    opened: list[Journal] = field(default_factory=list)

    def host(self) -> Journal:
        self.opened.append(self.open())
        return self.opened[-1]


def begin(journal: Journal, key: str = "") -> Row:
    with journal.transaction():
        name = journal.store_definition("p.bpmn", b"<x/>", {"a.py": "x = 1"})
        return journal.create("p", name, {"folder": "/x"}, key, 5.0)


def running(journal: Journal, row: Row) -> Row:
    owned = journal.own(row)
    assert owned is not None
    return owned


def append(journal: Journal, row: Row, sequence: int, status: str = "running", **changes) -> int:
    entries = [Entry(7.0, Start({"x": 1}), [])]
    with journal.transaction():
        return journal.append(row, sequence, State("p", status), Changes(entries, **changes))


def append_state(journal: Journal, row: Row, sequence: int, state: State) -> int:
    with journal.transaction():
        return journal.append(row, sequence, state, Changes([Entry(7.0, Start(), [])]))


def numbers(rows: list[Row]) -> list[int]:
    return [each.number for each in rows]


def waits(journal: Journal, due: float | None = None) -> Row:
    """Add an instance that rests at a user task, or at a timer, and that nobody owns."""
    row = running(journal, begin(journal))
    task = Activation(1, "t", 1, "waiting", wait=None if due is None else ForTimer(due))
    with journal.transaction():
        journal.append(
            row, 0, State("p", activations={1: task}), Changes([Entry(1.0, Start(), [])])
        )
    journal.release([row])
    return journal.get(row.number)
