"""What the secrets of an instance have held: in scopes that have ended, and before they changed.

A log, a message or another variable may still hold what a secret was when its scope is long gone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.events import AnyEvent
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Recorded, Row
from mlkit.bpmn.people.masking import Mask

_MOST = 256
"""Instances that are remembered, so that only what has happened since is read again."""


@dataclass
class _Seen:
    """How far the events of an instance were read.

    Attributes:
        values: By scope, what its variables held after the last event.
        texts: What secrets have held.
    """

    definition: str
    state: State
    sequence: int = 0
    values: dict[int, list[Any]] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)

    def is_current(self, row: Row) -> bool:
        """Return whether all events of an instance were read."""
        return self.definition == row.definition and self.sequence == row.sequence

    def collect(self, marked: frozenset[str]) -> None:
        """Look at the variables that the last event has changed."""
        for number, scope in self.state.scopes.items():
            values = list(scope.variables.values())
            if values and self.values.get(number) != values:
                self.values[number] = values
                self.texts.update(Mask.of([scope.variables], marked).texts)
        if len(self.values) > 2 * len(self.state.scopes):
            self.values = {n: each for n, each in self.values.items() if n in self.state.scopes}


class HeldSecrets:
    """The secrets of the instances of a journal, for all threads that read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[int, _Seen] = OrderedDict()

    def knows(self, row: Row) -> bool:
        """Return whether the mask of an instance needs nothing of the journal."""
        seen = self._seen.get(row.number)
        return seen is not None and seen.is_current(row)

    def mask(
        self,
        journal: Journal,
        row: Row,
        engine: Engine,
        marked: frozenset[str],
        recorded: Recorded | None = None,
    ) -> Mask:
        """Return the mask of an instance.

        Args:
            journal: Where its events are.
            row: The instance.
            engine: The engine of its definition.
            marked: The variables that the forms of its diagram mark.
            recorded: What the journal has read of it together with others.

        Raises:
            Damaged: Its events cannot be read.
        """
        with self._lock:
            seen = self._seen.pop(row.number, None)
            if seen is None or seen.definition != row.definition:
                seen = _Seen(row.definition, engine.create())
            found: Iterable[tuple[int, AnyEvent]] = ()
            if not seen.is_current(row):
                found = journal.follow(row, engine, seen.state, seen.sequence, recorded)
            for number, event in found:
                seen.texts.update(Mask.of(_find_given(event), marked).texts)
                seen.collect(marked)
                seen.sequence = number
            self._seen[row.number] = seen
            if len(self._seen) > _MOST:
                self._seen.popitem(last=False)
            return Mask(marked).with_texts(seen.texts)


def _find_given(event: AnyEvent) -> Iterator[Mapping[str, Any]]:
    """Yield the variables that came with an event."""
    for name in ("variables", "local"):
        yield getattr(event, name, {})
