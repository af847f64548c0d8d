"""The ids of events that count already, and what each of them counts for.

New ids come at random places of an order by key, so that a table by key would write a page of the
file for each. They are written one after another instead, a row per commit (`recent`), and are
known in memory. When there are many they become a run: sorted once, in pieces, of which each commit
writes some; from then on they are on disk. A filter in memory, 2 bytes per id, excludes nearly all
ids that are not in the run (a Bloom filter of 64-bit blocks: Putze, Sanders and Singler, "Cache-,
Hash- and Space-Efficient Bloom Filters", 2007). Runs are not merged; all of a run ends at once.

What is remembered later hides what was remembered before under the same id. So ids are looked up in
the newest place first, and the oldest places are forgotten first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlkit.bandit.server.learning.records import Effect, Seen
from mlkit.storage.sqlite_file import SqliteFile, reading

RUN = 1 << 16
"""Ids of a run, at least."""
_PIECE = 32
"""Ids of a piece of a run: about a page of the file."""
_AT_ONCE = 128
"""Pieces that a commit writes."""
_DROPPED_AT_ONCE = 16
"""Rows of `recent` that a commit drops when their ids are in a run."""
_PIECES = 1 << 24
"""The most pieces of a run, by the numbers that they have."""
_EXPIRED_AT_ONCE = 4
"""Runs that a call of `expire` forgets at most: with one in 5 s, 52,000 ids a second."""
_FILTER_BITS = 16
"""Bits of a filter per id; 3 of 1,000 ids that are not in it pass."""
_BITS_OF_ID = 5
_SLICES = 4096
"""Calls of `expire` that go through the table of before."""
_LOOKED_UP = 512
"""Ids that are looked up at once in the table of before."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (  -- of formats before 5; no ids are added
  event BLOB PRIMARY KEY,   -- hash of the event id
  body BLOB NOT NULL,       -- hash of the rest of the event
  at REAL NOT NULL,         -- of the receipt or of the decision, if later: seconds since 1970
  running REAL NOT NULL DEFAULT 0,  -- seconds that servers have run with this journal
  effect BLOB                 -- msgpack: what it counts for; null: for nothing to be amended
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS recent (
  number INTEGER PRIMARY KEY, -- of the commit
  content BLOB NOT NULL       -- msgpack: see event_ids.Row
);
CREATE TABLE IF NOT EXISTS runs (
  run INTEGER PRIMARY KEY,
  at REAL NOT NULL, running REAL NOT NULL,  -- the latest of its ids
  firsts BLOB NOT NULL,       -- of each piece: the start of its first key
  filter BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS pieces (
  number INTEGER PRIMARY KEY, -- the run's times 2^24, and from 0 on
  content BLOB NOT NULL       -- msgpack: see event_ids.Row
);
"""


class Row(NamedTuple):
    """What is written of an id; times as of the table `seen`."""

    key: bytes
    body: bytes
    at: float
    running: float
    effect: Effect | None


class _Batch(NamedTuple):
    """The ids of a commit, its number in `recent`, and the latest times of them."""

    number: int
    at: float
    running: float
    keys: Sequence[bytes]
    rows: Sequence[bytes]


class _Run(NamedTuple):
    """Where ids are on disk: see the table `runs`."""

    number: int
    at: float
    running: float
    firsts: NDArray[np.uint64]
    filter: NDArray[np.uint64]


_decode_rows = msgspec.msgpack.Decoder(list[Row]).decode
_decode_row = msgspec.msgpack.Decoder(Row).decode
_decode_effect = msgspec.msgpack.Decoder(Effect).decode
_encode = msgspec.msgpack.Encoder().encode


_NEVER = (float("-inf"), float("-inf"))


def _joined(rows: Sequence[bytes]) -> bytes:
    """Return rows as an array of msgpack."""
    return b"\xdd" + len(rows).to_bytes(4) + b"".join(rows)


class EventIds:
    """What is remembered of events, until two clocks agree that their window is over.

    What is changed inside a transaction is kept by `keep` after it, or undone by `discard`.

    Args:
        database: The journal's database, with the tables of `SCHEMA`.
        window: Seconds for which ids are remembered.
        clock: Returns the seconds since 1970.
        running: Returns the seconds that servers have run with this journal.

    All methods but `keep` and `discard` raise SqliteFailure.
    """

    def __init__(
        self,
        database: SqliteFile,
        window: float,
        clock: Callable[[], float],
        running: Callable[[], float],
    ) -> None:
        self._database, self._window = database, window
        self._clock, self._running = clock, running
        self._is_loaded = False
        self._slice = 0
        self._number = 0
        self._staged: dict[bytes, bytes] = {}
        self._staged_ends = _NEVER
        self._recent: dict[bytes, bytes] = {}
        self._batches: deque[_Batch] = deque()
        self._sealed: dict[bytes, bytes] = {}
        self._sealed_last, self._sealed_ends = 0, _NEVER
        self._dropped = self._dropping = self._droppable = 0
        self._writing: Iterator[_Run | None] | None = None
        self._written: _Run | None = None
        self._runs: deque[_Run] = deque()
        self._expired = 0, 0
        self._has_older = False

    def _load(self) -> None:
        if self._is_loaded:
            return
        query = "SELECT number, content FROM recent ORDER BY number"
        for number, content in self._database.rows(query):
            with reading("recent"):
                found = _decode_rows(content)
                ends = _latest((each.at, each.running) for each in found)
            self._number = number
            keys, rows = [each.key for each in found], [_encode(each) for each in found]
            self._add(_Batch(self._number, *ends, keys, rows))
        if self._batches:
            self._dropped = self._dropping = self._droppable = self._batches[0].number - 1
        query = "SELECT run, at, running, firsts, filter FROM runs ORDER BY run"
        for row in self._database.rows(query):
            with reading("runs"):
                self._runs.append(_to_run(row))
        self._check_older()
        self._is_loaded = True

    def _check_older(self) -> None:
        self._has_older = self._database.first("SELECT 1 FROM seen LIMIT 1") is not None

    def _add(self, batch: _Batch) -> None:
        self._recent.update(zip(batch.keys, batch.rows, strict=True))
        self._batches.append(batch)

    # Looking up

    def recall(self, keys: Iterable[bytes]) -> dict[bytes, Seen]:
        """Return what is remembered under hashes of events' ids."""
        self._load()
        since = self._clock() - self._window, self._running() - self._window
        found: dict[bytes, bytes | Row] = {}
        others = []
        for key in keys:
            row = self._staged.get(key) or self._recent.get(key) or self._sealed.get(key)
            if row is None:
                others.append(key)
            else:
                found[key] = row
        if others and self._runs:
            found |= self._search_runs(others)
        if self._has_older:
            found |= self._search_older([key for key in others if key not in found])
        return {key: seen for key, row in found.items() if (seen := _seen(row, *since)) is not None}

    def _search_runs(self, keys: Sequence[bytes]) -> dict[bytes, Row]:
        found: dict[bytes, Row] = {}
        starts, words, masks = _hashes(keys)
        for run in reversed(self._runs):
            blocks = run.filter[words & np.uint64(len(run.filter) - 1)]
            places = np.flatnonzero((blocks & masks) == masks)
            for place in places.tolist():
                if keys[place] not in found:
                    row = self._search(run, starts[place], keys[place])
                    found |= {} if row is None else {row.key: row}
        return found

    def _search(self, run: _Run, start: np.uint64, key: bytes) -> Row | None:
        piece = int(np.searchsorted(run.firsts, start, side="right")) - 1
        if piece < 0:
            return None
        number = run.number * _PIECES + piece
        content = self._database.first("SELECT content FROM pieces WHERE number = ?", (number,))
        with reading("pieces"):
            if content is None:
                raise ValueError(f"{number} is missing")
            rows = _decode_rows(content[0])
            if not rows:
                raise ValueError(f"{number} is empty")
        return next((each for each in rows if each.key == key), None)

    def _search_older(self, keys: Iterable[bytes]) -> dict[bytes, Row]:
        found: dict[bytes, Row] = {}
        waiting = iter(keys)
        while some := list(islice(waiting, _LOOKED_UP)):
            # Of few different lengths, so that few statements are prepared, once each.
            some += some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))
            query = "SELECT event, body, at, running, effect FROM seen WHERE event IN"
            rows = self._database.rows(f"{query} ({','.join('?' * len(some))})", some)
            for key, body, at, running, effect in rows:
                with reading("seen"):
                    decoded = None if effect is None else _decode_effect(effect)
                    found[key] = msgspec.convert((key, body, at, running, decoded), Row)
        return found

    # Inside a transaction

    def remember(self, events: Mapping[bytes, Seen]) -> None:
        """Remember events from now on."""
        self._load()
        now, running = self._clock(), self._running()
        for key, (body, effect, decided) in events.items():
            self._staged[key] = _encode((key, body, max(now, decided), running, effect))
        latest = max((seen.decided for seen in events.values()), default=now)
        self._staged_ends = _latest([self._staged_ends, (max(now, latest), running)])

    def write(self) -> None:
        """Write what is remembered, before the end of the transaction."""
        if self._staged:
            content = _joined([*self._staged.values()])
            self._database.execute("INSERT INTO recent VALUES (?, ?)", (self._number + 1, content))
        if self._dropped < self._droppable:
            # Before the next run is there: what a crash leaves hides what is in runs.
            self._dropping = min(self._dropped + _DROPPED_AT_ONCE, self._droppable)
            self._drop_recent(self._dropping)
        elif self._writing is not None:
            self._written = next(self._writing)

    def keep(self) -> None:
        """Keep what was written, after the end of the transaction."""
        if self._staged:
            self._number += 1
            keys, rows = [*self._staged], [*self._staged.values()]
            self._add(_Batch(self._number, *self._staged_ends, keys, rows))
            self._staged, self._staged_ends = {}, _NEVER
        if self._written is not None:
            self._runs.append(self._written)
            self._droppable = self._sealed_last
            self._sealed, self._writing, self._written = {}, None, None
        self._dropped = self._dropping
        self._forget()
        if len(self._recent) >= RUN and self._writing is None:
            self._sealed, self._recent = self._recent, {}
            self._sealed_last = self._number
            self._sealed_ends = _latest((each.at, each.running) for each in self._batches)
            self._batches.clear()
            self._writing = self._write_run()

    def discard(self) -> None:
        """Undo what the transaction would have changed."""
        self._staged, self._staged_ends = {}, _NEVER
        self._written, self._expired = None, (0, 0)
        self._dropping = self._dropped
        if self._sealed:
            self._writing = self._write_run()

    def _write_run(self) -> Iterator[_Run | None]:
        """Write the sealed ids as a run, some pieces at each step; yield it at the last one."""
        number = self._runs[-1].number + 1 if self._runs else 1
        base = number * _PIECES
        self._database.execute("DELETE FROM pieces WHERE number >= ?", (base,))
        keys, rows = [*self._sealed], [*self._sealed.values()]
        starts, words, masks = _hashes(keys)
        yield None
        order = np.argsort(starts)
        starts = starts[order]
        edges, places = _edges(starts), order.tolist()
        contents = (_joined([rows[at] for at in places[a:b]]) for a, b in pairwise(edges))
        pieces = enumerate(contents, base)
        yield None
        while some := list(islice(pieces, _AT_ONCE)):
            self._database.execute_many("INSERT INTO pieces VALUES (?, ?)", some)
            yield None
        run = _Run(number, *self._sealed_ends, starts[edges[:-1]], _filter(words, masks))
        values = *run[:3], *(array.tobytes() for array in run[3:])
        self._database.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", values)
        yield run

    def _drop_recent(self, last: int) -> None:
        self._database.execute("DELETE FROM recent WHERE number <= ?", (last,))

    # Forgetting

    def expire(self) -> None:
        """Forget some ids whose window is over, so that no call takes long."""
        self._load()
        edges = self._clock() - self._window, self._running() - self._window
        if self._has_older:  # They go first: see the module.
            self._expire_older(edges)
            return
        runs = _count_over(((run.at, run.running) for run in self._runs), edges)
        runs = min(runs, _EXPIRED_AT_ONCE)
        if runs:
            last = self._runs[runs - 1].number
            ends = (last + 1) * _PIECES
            self._database.execute("DELETE FROM pieces WHERE number < ?", (ends,))
            self._database.execute("DELETE FROM runs WHERE run <= ?", (last,))
        batches = 0
        if runs == len(self._runs) and not self._sealed:
            batches = _count_over(((each.at, each.running) for each in self._batches), edges)
        if batches:
            last = self._batches[batches - 1].number
            self._drop_recent(last)
        self._expired = runs, batches

    def _expire_older(self, edges: tuple[float, float]) -> None:
        start = self._slice << 4
        self._slice = (self._slice + 1) % _SLICES
        first, last = start.to_bytes(2), (start + 15).to_bytes(2) + b"\xff" * 16
        query = "DELETE FROM seen WHERE event BETWEEN ? AND ? AND at < ? AND running < ?"
        self._database.execute(query, (first, last, *edges))
        if self._slice == 0:
            self._check_older()

    def _forget(self) -> None:
        runs, batches = self._expired
        self._expired = 0, 0
        for _ in range(runs):
            self._runs.popleft()
        for _ in range(batches):
            batch = self._batches.popleft()
            for key, row in zip(batch.keys, batch.rows, strict=True):
                if self._recent.get(key) is row:
                    del self._recent[key]


def _to_run(row: Sequence[Any]) -> _Run:
    """Return a row of the table `runs`.

    Raises:
        TypeError, ValueError, msgspec.ValidationError: It is damaged.
    """
    number, at, running = msgspec.convert(row[:3], tuple[int, float, float])
    firsts, found = (np.frombuffer(array, "<u8") for array in row[3:])
    # Of a filter the size is a power of 2, of the pieces the number is one of SQLite's.
    if not 0 < number < 1 << 39 or not len(firsts) or len(found).bit_count() != 1:
        raise ValueError(f"run {number} has {len(firsts)} pieces and a filter of {len(found)}")
    return _Run(number, at, running, firsts, found)


def _seen(row: bytes | Row, since: float, since_running: float) -> Seen | None:
    """Return what is remembered by a row; None: its window is over."""
    _, body, at, running, effect = _decode_row(row) if isinstance(row, bytes) else row
    return Seen(body, effect) if at >= since or running >= since_running else None


def _latest(times: Iterable[tuple[float, float]]) -> tuple[float, float]:
    ats, runnings = zip(*times, strict=True)
    return max(ats), max(runnings)


def _count_over(ends: Iterable[tuple[float, float]], edges: tuple[float, float]) -> int:
    """Count the first places whose ids are all over."""
    count = 0
    for at, running in ends:
        if at >= edges[0] or running >= edges[1]:
            break
        count += 1
    return count


Hashes = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]


def _hashes(keys: Sequence[bytes]) -> Hashes:
    """Return of each key its start, which sorts pieces, its word of a filter, and its bits."""
    halves = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 2)
    starts, words = halves[:, 0], halves[:, 1]
    masks = np.zeros(len(keys), np.uint64)
    for shift in range(0, 6 * _BITS_OF_ID, 6):
        masks |= np.uint64(1) << ((starts >> np.uint64(shift)) & np.uint64(63))
    return starts, words, masks


def _filter(words: NDArray[np.uint64], masks: NDArray[np.uint64]) -> NDArray[np.uint64]:
    size = 1 << (len(words) * _FILTER_BITS // 64).bit_length()
    made = np.zeros(size, np.uint64)
    np.bitwise_or.at(made, words & np.uint64(size - 1), masks)
    return made


def _edges(starts: NDArray[Any]) -> list[int]:
    """Return where pieces begin, and the end: keys with the same start are in the same piece."""
    edges = [0]
    for place in range(_PIECE, len(starts), _PIECE):
        while place < len(starts) and starts[place] == starts[place - 1]:
            place += 1
        if edges[-1] < place < len(starts):
            edges.append(place)
    return [*edges, len(starts)]
