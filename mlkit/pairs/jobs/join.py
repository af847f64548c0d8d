"""Joins of topics by time: the records of several topics become one record per ticker and time.

Pure: records go in, joined records come out, and nothing but their times counts. How far time has
come is the *watermark*, the allowed lateness behind the newest record. A topic that has unread
records holds it back, so that topics may be read one after another; one that has none does not,
so that a topic where nothing happens stops nobody. What comes behind the watermark is late.

As of: each record of the first topic gets the latest record of each other topic that is neither
after it nor more than the tolerance before it (pandas: `merge_asof`, backward). Window: the latest
records of all topics in windows of the tolerance's length since 1970, by the start of the window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from mlkit.errors import BadData
from mlkit.pairs.defaults import KEY
from mlkit.pairs.feeds.records import iso
from mlkit.pairs.jobs.rows import Row

ASOF, WINDOW = "asof", "window"
LATEST = 2**63 - 1


@dataclass(frozen=True)
class JoinPlan:
    """How topics are joined.

    Attributes:
        kind: `ASOF` or `WINDOW`.
        topics: Their names; records of the first keep the names of their fields, those of others
            have `TOPIC.FIELD`.
        key: The field whose values are joined each by itself.
        tolerance: Nanoseconds, above 0; None for as-of joins without limit.
        lateness: Nanoseconds that a record may be behind the newest one.
    """

    kind: str
    topics: tuple[str, ...]
    key: str = KEY
    tolerance: int | None = None
    lateness: int = 0


class Late(NamedTuple):
    """A record that came after its time had been joined."""

    topic: str
    row: Row


class Join(ABC):
    """The records of one partition of each topic, as far as they are not joined.

    Args:
        plan: How they are joined.
    """

    _shape: Any
    """The type of what `_dump` returns."""

    def __init__(self, plan: JoinPlan) -> None:
        self._plan = plan
        self._newest: dict[str, int] = {}
        self._watermark = -LATEST

    @property
    def watermark(self) -> int:
        """The time before which nothing is expected any more, in nanoseconds since 1970."""
        return self._watermark

    def take(self, topic: str, row: Row) -> Late | None:
        """Take a record; return it if it is late."""
        if self._is_late(row["time"]):
            return Late(topic, row)
        self._newest[topic] = max(row["time"], self._newest.get(topic, -LATEST))
        self._keep(topic, row)
        return None

    def advance(self, unread: Collection[str] = ()) -> list[Row]:
        """Move the watermark on, and return the records that are joined by it, by their time.

        Args:
            unread: The topics that are known to have more records than were taken.
        """
        known = [self._newest.get(each, -LATEST) for each in unread]
        newest = min([*known, max(self._newest.values(), default=-LATEST)])
        return self._move(newest - self._plan.lateness)

    def finish(self) -> list[Row]:
        """Join all that was taken: nothing older than the newest record will come."""
        return self._move(self._end(max(self._newest.values(), default=-LATEST)))

    def _move(self, watermark: int) -> list[Row]:
        if watermark <= self._watermark:
            return []
        self._watermark = watermark
        return self._join()

    def save(self) -> bytes:
        """Return all of it as bytes."""
        return msgspec.json.encode([self._watermark, self._newest, self._dump()])

    def load(self, content: bytes) -> None:
        """Restore what `save` returned.

        Raises:
            BadData: It is damaged, or of another kind of join.
        """
        try:
            shape = tuple[int, dict[str, int], self._shape]  # type: ignore[name-defined]
            self._watermark, self._newest, kept = msgspec.json.decode(content, type=shape)
            self._restore(kept)
        except (msgspec.MsgspecError, ValueError, KeyError) as error:
            raise BadData("the state of the join cannot be read") from error

    @abstractmethod
    def _is_late(self, time: int) -> bool: ...

    @abstractmethod
    def _keep(self, topic: str, row: Row) -> None: ...

    @abstractmethod
    def _join(self) -> list[Row]: ...

    @abstractmethod
    def _end(self, newest: int) -> int: ...

    @abstractmethod
    def _dump(self) -> Any: ...

    @abstractmethod
    def _restore(self, kept: Any) -> None: ...


def _time(row: Row) -> int:
    return int(row["time"])


class AsofJoin(Join):
    """An as-of join; see the module."""

    _shape = tuple[list[Row], dict[str, dict[str, list[Row]]]]

    def __init__(self, plan: JoinPlan) -> None:
        super().__init__(plan)
        self._waiting: list[Row] = []
        self._others: dict[str, dict[str, list[Row]]] = {each: {} for each in plan.topics[1:]}

    def _is_late(self, time: int) -> bool:
        return time < self._watermark

    def _end(self, newest: int) -> int:
        return newest + 1

    def _keep(self, topic: str, row: Row) -> None:
        if topic == self._plan.topics[0]:
            insort(self._waiting, row, key=_time)
        else:
            insort(self._others[topic].setdefault(row[self._plan.key], []), row, key=_time)

    def _join(self) -> list[Row]:
        count = bisect_left(self._waiting, self._watermark, key=_time)
        ready, self._waiting = self._waiting[:count], self._waiting[count:]
        joined = [self._row(each) for each in ready]
        self._forget()
        return joined

    def _row(self, row: Row) -> Row:
        joined = dict(row)
        for topic, rows in self._others.items():
            found = self._latest(rows.get(row[self._plan.key], []), row["time"])
            joined |= {} if found is None else _name_fields(topic, found, self._plan.key)
        return joined

    def _latest(self, rows: list[Row], time: int) -> Row | None:
        at = bisect_right(rows, time, key=_time) - 1
        if at < 0:
            return None
        near = self._plan.tolerance is None or time - rows[at]["time"] <= self._plan.tolerance
        return rows[at] if near else None

    def _forget(self) -> None:
        """Drop what no record from the watermark on can get."""
        for keys in self._others.values():
            for key, rows in list(keys.items()):
                del rows[: max(0, bisect_right(rows, self._watermark, key=_time) - 1)]
                if self._latest(rows, max(self._watermark, rows[-1]["time"])) is None:
                    del keys[key]

    def _dump(self) -> Any:
        return [self._waiting, self._others]

    def _restore(self, kept: Any) -> None:
        self._waiting, others = kept
        for topic in self._others:
            self._others[topic] = others[topic]


class WindowJoin(Join):
    """A join by windows; see the module."""

    _shape = list[tuple[int, dict[str, dict[str, Row]]]]

    def __init__(self, plan: JoinPlan) -> None:
        super().__init__(plan)
        self._length = plan.tolerance or 1
        self._windows: dict[int, dict[str, dict[str, Row]]] = {}

    def _start(self, time: int) -> int:
        return time // self._length * self._length

    def _is_late(self, time: int) -> bool:
        return self._start(time) + self._length <= self._watermark

    def _end(self, newest: int) -> int:
        return self._start(newest) + self._length

    def _keep(self, topic: str, row: Row) -> None:
        window = self._windows.setdefault(self._start(row["time"]), {})
        topics = window.setdefault(row[self._plan.key], {})
        if topic not in topics or topics[topic]["time"] <= row["time"]:
            topics[topic] = row

    def _join(self) -> list[Row]:
        ready = sorted(each for each in self._windows if each + self._length <= self._watermark)
        return [
            self._row(start, key, topics)
            for start in ready
            for key, topics in sorted(self._windows.pop(start).items())
        ]

    def _row(self, start: int, key: str, topics: dict[str, Row]) -> Row:
        first, *others = self._plan.topics
        joined = {**topics.get(first, {}), "time": start, self._plan.key: key}
        for topic in others:
            joined |= _name_fields(topic, topics[topic], self._plan.key) if topic in topics else {}
        return joined

    def _dump(self) -> Any:
        return sorted(self._windows.items())

    def _restore(self, kept: Any) -> None:
        self._windows = dict(kept)


def _name_fields(topic: str, row: Row, key: str) -> Row:
    """Return the fields of a record under names of its topic; its time is text, as in records."""
    fields = {f"{topic}.{name}": value for name, value in row.items() if name != key}
    return fields | {f"{topic}.time": iso(row["time"])}


def start(plan: JoinPlan) -> Join:
    """Return a join without records."""
    return AsofJoin(plan) if plan.kind == ASOF else WindowJoin(plan)


def late_document(late: Late, key: str) -> Row:
    """Return what the side topic holds of a late record: time and key, its topic, all of it."""
    row = late.row
    whole = {**row, "time": iso(row["time"])}
    return {"time": row["time"], key: row[key], "topic": late.topic, "record": whole}
