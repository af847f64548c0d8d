"""What happened in an evaluation: the decisions, their inputs, the rules that matched."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from mlkit.bpmn.decisions.model import Table
from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.frame import Frame
from mlkit.bpmn.expressions.feel.writing import quote, write

_MAX_BRIEF = 60


class Matched(NamedTuple):
    """The rules of a table that matched.

    Attributes:
        decision: What was being evaluated.
        table: The table.
        values: The value of each column, in their order.
        places: The places of the rules, from 0.
    """

    decision: str
    table: Table
    values: list[Any]
    places: list[int]

    @property
    def inputs(self) -> dict[str, Any]:
        """The value of each column, by its label."""
        return {
            each.label: value for each, value in zip(self.table.inputs, self.values, strict=True)
        }

    @property
    def rules(self) -> list[int]:
        """The numbers of the rules, from 1."""
        return [at + 1 for at in self.places]

    @property
    def lines(self) -> list[int]:
        """Where the rules are in the file."""
        return [self.table.rules[at].line for at in self.places]


@dataclass(slots=True)
class Trace:
    """The course of one evaluation.

    Attributes:
        current: The elements that are being evaluated, the innermost last.
        inputs: The value of each input that was asked for.
        results: The value of each decision, in the order in which they were decided.
        matched: The tables that were read.
        notes: Why something is null, each with its decision.
    """

    current: list[str] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    matched: list[Matched] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        """Note why the current decision is null."""
        self.notes.append(f"{self.current[-1] if self.current else ''}: {message}")

    def table(self, table: Table, values: list[Any], matched: list[int]) -> None:
        """Note the rules of a table that matched."""
        self.matched.append(
            Matched(self.current[-1] if self.current else "", table, values, matched)
        )


class TracedRun(Run):
    """An evaluation that notes its course.

    Args:
        text: What is evaluated, for messages.
        now: What `now()` returns.
        work: The units of work that it may take.
    """

    __slots__ = ("trace",)

    def __init__(self, text: str, now: datetime, work: int) -> None:
        super().__init__(text, now, work)
        self.trace = Trace()


def note(frame: Frame, message: str) -> None:
    """Note why what a frame belongs to is null, where the evaluation keeps its course."""
    trace = getattr(frame.run, "trace", None)
    if trace is not None:
        trace.note(message)


def brief(run: Run, value: Any) -> str:
    """Return a value in FEEL's notation for a message: its beginning, if it is long."""
    try:
        text = quote(value) if type(value) is str else write(run, value)
    except LimitReached:
        return "a large value"
    return text if len(text) <= _MAX_BRIEF else f"{text[: _MAX_BRIEF - 3]}..."
