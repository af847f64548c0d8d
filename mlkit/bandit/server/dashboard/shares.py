"""Which arms come first in the decisions of a worker, for all workers to sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from mlkit.web.shared_document import SharedDocument

MOST_ARMS = 2_000
"""Arms that a worker publishes: those that come first most often."""
_KEPT = 20_000
"""Arms that a worker counts; when there are more, the rarest are dropped."""
ROOM = 1 << 20


class Shown(msgspec.Struct):
    """How often arms came first, in a number of decisions."""

    decisions: int = 0
    first: dict[str, int] = {}


_decode = msgspec.json.Decoder(Shown).decode


class ShownArms:
    """Counts the decisions of a worker.

    Args:
        document: Where to publish; a new worker goes on where the one before was.
    """

    def __init__(self, document: SharedDocument) -> None:
        self._document = document
        before = _read(document)
        self._decisions, self._first = before.decisions, Counter(before.first)
        self._published = self._decisions

    def add(self, arms: list[str], weight: int = 1) -> None:
        """Count a decision, which may stand for several."""
        self._decisions += weight
        if arms:
            self._first[arms[0]] += weight

    def publish(self) -> None:
        """Publish what was counted, if there is anything new."""
        if self._decisions == self._published:
            return
        if len(self._first) > _KEPT:
            self._first = Counter(dict(self._first.most_common(_KEPT // 2)))
        self._published = self._decisions
        most = dict(self._first.most_common(MOST_ARMS))
        self._document.publish(msgspec.json.encode(Shown(self._decisions, most)))


def _read(document: SharedDocument) -> Shown:
    content = document.read()
    return _decode(content) if content else Shown()


def merge(documents: Iterable[SharedDocument]) -> Shown:
    """Return what all workers have counted."""
    decisions, first = 0, Counter[str]()
    for each in map(_read, documents):
        decisions += each.decisions
        first.update(each.first)
    return Shown(decisions, dict(first))
