"""Find the rules whose tests of one column pass, without asking each of them.

Most cells compare with constants: `"EU", "US"`, `[18..65)`, `>= 0.9`, `true`. A column keeps the
rules of each constant, and of each piece of the number line, as the bits of an integer; a decision
is an `and` over the columns. Blocks of rules have indexes of their own: without, the memory would
grow with the square of the rules.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from mlkit.bpmn.decisions.constants import Constant, Interval

# Values of these types pass a constant test only by being equal to it, or in its interval.
INDEXED = (Decimal, str, bool, type(None))
_BLOCK = 2048
Test = Constant | bool | None


class Column:
    """The tests of one input.

    Args:
        tests: Of each rule: True if it always passes, its constants, or None if it must be
            evaluated.

    Attributes:
        always: The rules that always pass, as bits.
        evaluated: The rules that must be evaluated, as bits.
    """

    def __init__(self, tests: Iterable[Test]) -> None:
        every = list(tests)
        self._first = _Block(every[:_BLOCK])
        self._others = [
            (at, _Block(every[at : at + _BLOCK])) for at in range(_BLOCK, len(every), _BLOCK)
        ]
        self.always, self.evaluated = self._first.always, self._first.evaluated
        for at, each in self._others:
            self.always |= each.always << at
            self.evaluated |= each.evaluated << at

    @property
    def constants(self) -> list[Any]:
        """The constants, each once per block."""
        return [value for each in self._blocks() for _, value in each.constants]

    @property
    def points(self) -> list[Decimal]:
        """The ends of all intervals, in order."""
        return sorted({point for each in self._blocks() for point in each.points})

    def _blocks(self) -> list[_Block]:
        return [self._first, *(each for _, each in self._others)]

    def match(self, value: Any) -> int:
        """Return the rules whose constants a value passes, as bits, beside those that always do."""
        found = self._first.match(value)
        for at, each in self._others:
            found |= each.match(value) << at
        return found


class _Block:
    """The tests of some rules."""

    def __init__(self, tests: Sequence[Test]) -> None:
        self.always = self.evaluated = 0
        self.constants: dict[tuple[type, Any], int] = {}
        intervals: list[tuple[int, Interval]] = []
        for at, test in enumerate(tests):
            bit = 1 << at
            if test is True:
                self.always |= bit
            elif isinstance(test, Constant):
                for value in test.values:
                    key = (type(value), value)
                    self.constants[key] = self.constants.get(key, 0) | bit
                if test.interval is not None:
                    intervals.append((bit, test.interval))
            else:
                self.evaluated |= bit
        self._line(intervals)

    def _line(self, intervals: list[tuple[int, Interval]]) -> None:
        """Cut the number line at the ends of the intervals: points, and the gaps between them."""
        ends = {end for _, each in intervals for end in (each.low, each.high) if end is not None}
        self.points = sorted(ends)
        place = {end: at for at, end in enumerate(self.points)}
        count = len(self.points)
        points, gaps = [0] * (count + 1), [0] * (count + 2)
        for bit, each in intervals:
            low = -1 if each.low is None else place[each.low]
            high = count if each.high is None else place[each.high]
            gaps[low + 1] ^= bit
            gaps[high + 1] ^= bit
            first = low if each.low is not None and each.has_low else low + 1
            last = high if each.high is not None and each.has_high else high - 1
            if first <= last:
                points[first] ^= bit
                points[last + 1] ^= bit
        self._at_points, self._in_gaps = _running(points), _running(gaps)

    def match(self, value: Any) -> int:
        found = self.always | self.constants.get((type(value), value), 0)
        if type(value) is Decimal:
            at = bisect_left(self.points, value)
            if at < len(self.points) and self.points[at] == value:
                found |= self._at_points[at]
            else:
                found |= self._in_gaps[at]
        return found


def _running(changes: list[int]) -> list[int]:
    """Return what is on at each place, from what is switched there."""
    on, found = 0, []
    for each in changes:
        on ^= each
        found.append(on)
    return found


def bits(mask: int) -> Iterable[int]:
    """Yield the places of the bits of a mask, the lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
