"""Evidence of the last hours: rewards in hourly buckets, of which the oldest are forgotten.

A window of n hours at the time T holds the hour of T and the n - 1 before it. Times are seconds
since 1970, hours count from there. What is known is the sum of the buckets, in the order of hours.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from mlkit.errors import BadData, UsageError

HOUR = 3600.0
LONGEST = 24 * 3660
"""The longest window, in hours."""
Key = tuple[str | None, str]
"""A context (None: the arm itself), and an arm."""
Bucket = tuple[float, float, int]
"""Sums of rewards and of what they miss to 1, and how many there are."""


class Buckets:
    """Buckets of all keys.

    Attributes:
        hours: The length of the window.

    Args:
        hours: The length of the window.

    Raises:
        UsageError: It is out of range.
    """

    def __init__(self, hours: int) -> None:
        if not 1 <= hours <= LONGEST:
            expected = f"1 hour to {LONGEST // 24} days"
            raise UsageError(f"--window: {hours} hours, expected {expected}")
        self.hours = hours
        self._of: dict[Key, dict[int, Bucket]] = {}
        self._first = -(1 << 60)

    def add(self, key: Key, at: float, a: float, b: float, pulls: int) -> None:
        """Add to the bucket of a time; nothing, if it is forgotten already."""
        hour = int(at // HOUR)
        if hour >= self._first:
            own = self._of.setdefault(key, {})
            before = own.get(hour, (0.0, 0.0, 0))
            own[hour] = before[0] + a, before[1] + b, before[2] + pulls

    def take(self, key: Key, at: float, a: float, b: float) -> None:
        """Take a reward back from the bucket of a time, unless it was forgotten since."""
        hour, own = int(at // HOUR), self._of.get(key, {})
        if hour in own:
            sum_, missed, pulls = own[hour]
            left = max(sum_ - a, min(sum_, 0.0)), max(missed - b, min(missed, 0.0))
            own[hour] = *left, max(pulls - 1, 0)

    def set(self, key: Key, buckets: Iterable[tuple[int, float, float, int]]) -> None:
        """Replace the buckets of a key."""
        self._of[key] = {hour: (a, b, n) for hour, a, b, n in buckets if hour >= self._first}

    def of(self, key: Key) -> list[tuple[int, float, float, int]]:
        """Return the buckets of a key, the oldest first."""
        return [(hour, *bucket) for hour, bucket in sorted(self._of.get(key, {}).items())]

    def sum(self, key: Key) -> Bucket:
        """Return the sums over the window."""
        found = self.of(key)
        sums = (sum(row[place] for row in found) for place in (1, 2, 3))
        a, b, pulls = sums
        return float(a), float(b), int(pulls)

    def drop(self, arm: str) -> None:
        """Forget an arm in all contexts."""
        for key in [key for key in self._of if key[1] == arm]:
            del self._of[key]

    def expire(self, at: float) -> list[Key]:
        """Forget what is out of the window at a time; return the keys whose sums have changed."""
        first = int(at // HOUR) - self.hours + 1
        if first <= self._first:
            return []
        self._first = first
        changed = []
        for key, own in self._of.items():
            old = [hour for hour in own if hour < first]
            for hour in old:
                del own[hour]
            if old:
                changed.append(key)
        return changed

    def __iter__(self) -> Iterator[Key]:
        """Yield the keys."""
        return iter(self._of)


class Window(NamedTuple):
    """How posteriors forget by a window, and the buckets that they are the sums of.

    Attributes:
        as_of: The time of the posteriors, in seconds since 1970.
        buckets: The buckets.
    """

    as_of: float
    buckets: Buckets


def pack(buckets: Buckets) -> bytes:
    """Return buckets as bytes: MessagePack, compressed."""
    rows = [(*key, buckets.of(key)) for key in sorted(buckets, key=_order)]
    return zlib.compress(_encode(rows))


def unpack(data: bytes, hours: int) -> Buckets:
    """Return buckets from bytes.

    Raises:
        BadData: They are damaged.
    """
    found = Buckets(hours)
    try:
        unpack = zlib.decompressobj()
        rows = _decode(unpack.decompress(data, _MOST_BYTES))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise BadData(f"damaged buckets: {error}") from error
    for context, arm, own in rows:
        found.set((context, arm), own)
    return found


def _order(key: Key) -> tuple[str, str]:
    return key[0] or "", key[1]


_MOST_BYTES = 1 << 31
_Row = tuple[str | None, str, list[tuple[int, float, float, int]]]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Row]).decode
own_encode = msgspec.msgpack.Encoder().encode
own_decode = msgspec.msgpack.Decoder(list[tuple[int, float, float, int]]).decode
"""The buckets of one key, as bytes and back."""
