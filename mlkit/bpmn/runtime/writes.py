"""What other threads ask a host to write, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Append, Arrivals
from mlkit.bpmn.runtime.running import Running


@dataclass(slots=True)
class Write:
    """Something to write, and who waits for it, or for what the host decides about it later."""

    function: Callable[[Journal], Any]
    is_settled_later: bool
    task: str
    future: Future[Any] = field(default_factory=Future)


class Verdict(NamedTuple):
    """What was decided about an event.

    Attributes:
        refusal: Why it was refused; empty where it was not.
        status: What its instance has come to; empty where another host has decided.
    """

    refusal: str
    status: str = ""


class CannotMove(Exception):
    """An instance cannot be moved in the transaction that brings its event."""


class Written(NamedTuple):
    """What one transaction has written.

    Attributes:
        results: What the functions have returned.
        arrivals: What they leave for whoever runs instances.
        moved: The instances that have moved in the same transaction.
        appends: What that has added to each.
    """

    results: list[Any]
    arrivals: Arrivals
    moved: list[Running]
    appends: list[Append]
