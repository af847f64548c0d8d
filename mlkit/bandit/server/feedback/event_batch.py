"""What the events of one batch change: rewards, amendments of them, and zeros that they correct.

Nothing is written before all events of the batch are accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import cache
from typing import NamedTuple

from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.records import Change, Effect, Event, Seen


class Reason(Enum):
    """Why nothing of a batch is accepted."""

    CONFLICT = "the id was used with another body"
    UNKNOWN_ARM = "the arm was never added"
    UNKNOWN_EVENT = "the event to amend is not known"


class Rejection(NamedTuple):
    """The first event of a batch because of which nothing of it is accepted.

    Attributes:
        place: Its index.
        reason: Why.
    """

    place: int
    reason: Reason


class Appended(NamedTuple):
    """What was appended to the journal, for each event of a batch.

    Attributes:
        repeats: Whether it is a repeat.
        changes: What it changes, in this order; nothing, if it is a repeat.
        replaced: Of an amendment: what was counted before; None: it is none.
    """

    repeats: list[bool]
    changes: list[list[Change]]
    replaced: list[Effect | None]


def append_events(
    journal: Journal, events: Sequence[Event], is_known: Callable[[str], bool] = lambda arm: True
) -> Appended | Rejection:
    """Append the events of one batch that were not seen before, inside a transaction.

    Args:
        journal: The journal.
        events: The events.
        is_known: Returns whether an arm may be rewarded.

    Returns:
        What was appended; or the event because of which nothing of the batch was written.
    """
    batch = _Batch(journal)
    rejection = batch.add_all(events, is_known)
    if rejection is None:
        batch.write()
    return rejection or batch.appended


def preview(
    journal: Journal, events: Sequence[Event], is_known: Callable[[str], bool]
) -> Appended | Rejection:
    """Return what `append_events` would, by what is known now, and write nothing."""
    batch = _Batch(journal)
    return batch.add_all(events, is_known) or batch.appended


class _Batch:
    """Events that are accepted together or not at all."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: dict[bytes, Seen] = {}
        self._changed: dict[bytes, Seen] = {}
        self.appended = Appended([], [], [])

    def add_all(self, events: Sequence[Event], is_known: Callable[[str], bool]) -> Rejection | None:
        """Take events, or return the first that cannot be taken."""
        self._known = self._journal.recall(_keys(events))
        is_known = cache(is_known)  # Nothing is written until all events are accepted.
        for index, event in enumerate(events):
            reason = self._add(event, is_known)
            if reason is not None:
                return Rejection(index, reason)
        return None

    def _add(self, event: Event, is_known: Callable[[str], bool]) -> Reason | None:
        """Take an event, or return why the batch is refused."""
        earlier = self._recall(event.event)
        if earlier is not None:
            if earlier.body != event.body:
                return Reason.CONFLICT
            self._note([], is_repeat=True)
            return None
        if event.amends is not None:
            return self._amend(event, event.amends)
        if not is_known(event.arm):
            return Reason.UNKNOWN_ARM
        self._count(event)
        return None

    def write(self) -> None:
        """Write what the events change."""
        self._journal.remember(self._changed)
        self._journal.append([each for changes in self.appended.changes for each in changes])

    def _recall(self, key: bytes) -> Seen | None:
        return self._changed.get(key) or self._known.get(key)

    def _note(
        self, changes: list[Change], replaced: Effect | None = None, *, is_repeat: bool = False
    ) -> None:
        self.appended.repeats.append(is_repeat)
        self.appended.changes.append(changes)
        self.appended.replaced.append(replaced)

    def _count(self, event: Event) -> None:
        changes = []
        if event.settles is not None:
            zero = self._recall(event.settles)
            if zero is not None and zero.effect is not None:
                changes.append(zero.effect.revert())
            self._changed[event.settles] = Seen(b"", None, event.decided)
        effect = event.effect()
        self._changed[event.event] = Seen(event.body, effect, event.decided)
        self._note([*changes, effect.change()])

    def _amend(self, event: Event, target: bytes) -> Reason | None:
        known = self._recall(target)
        if known is None or known.effect is None:
            return Reason.UNKNOWN_EVENT
        before, after = known.effect, known.effect._replace(reward=event.reward)
        self._changed[target] = known._replace(effect=after)
        self._changed[event.event] = Seen(event.body, None, event.decided)
        changes = [] if before.reward is None else [before.revert()]
        self._note([*changes, *([] if after.reward is None else [after.change()])], before)
        return None


def _keys(events: Sequence[Event]) -> Iterator[bytes]:
    """Yield under what anything that matters to events may be remembered."""
    for each in events:
        yield each.event
        if each.settles is not None:
            yield each.settles
        if each.amends is not None:
            yield each.amends
