"""Find the rules whose tests of one column pass, without asking each of them.

Most cells compare with constants: `"EU", "US"`, `[18..65)`, `>= 0.9`, `true`. A column keeps the
rules of each constant, and of each piece of the number line, as the bits of an integer; a decision
is an `and` over the columns.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from mlkit.bpmn.expressions.feel.numbers import number

_NUMBER = r"-?(?:\d+(?:\.\d+)?|\.\d+)"
_TEXT = r'"[^"\\]*"'
_CONSTANT = rf"(?:{_TEXT}|{_NUMBER}|true|false|null)"
_CONSTANTS = re.compile(rf"\s*{_CONSTANT}(?:\s*,\s*{_CONSTANT})*\s*")
_EACH = re.compile(rf"({_TEXT})|({_NUMBER})|(true|false|null)")
_COMPARED = re.compile(rf"\s*(<=|>=|<|>)\s*({_NUMBER})\s*")
_RANGE = re.compile(rf"\s*([\[\](])\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*([\[\])])\s*")
_WORDS = {"true": True, "false": False, "null": None}
# Values of these types pass a constant test only by being equal to it, or in its interval.
INDEXED = (Decimal, str, bool, type(None))


class Interval(NamedTuple):
    """Numbers between two ends; None is unbounded."""

    low: Decimal | None
    has_low: bool
    high: Decimal | None
    has_high: bool


class Constant(NamedTuple):
    """A test that compares with constants: equal to one of them, or within an interval."""

    values: tuple[Any, ...] = ()
    interval: Interval | None = None


@lru_cache(maxsize=4096)
def constant_test(text: str) -> Constant | None:
    """Return the constants of a cell, or None for a cell that must be evaluated."""
    if _CONSTANTS.fullmatch(text):
        return Constant(tuple(_value(each) for each in _EACH.finditer(text)))
    compared = _COMPARED.fullmatch(text)
    if compared is not None:
        end = number(compared[2])
        if compared[1] in ("<", "<="):
            return Constant(interval=Interval(None, False, end, compared[1] == "<="))
        return Constant(interval=Interval(end, compared[1] == ">=", None, False))
    found = _RANGE.fullmatch(text)
    if found is None:
        return None
    low, high = number(found[2]), number(found[3])
    if low is None or high is None or low > high:
        return None
    return Constant(interval=Interval(low, found[1] == "[", high, found[4] == "]"))


def _value(found: re.Match[str]) -> Any:
    if found[1] is not None:
        return found[1][1:-1]
    return number(found[2]) if found[2] is not None else _WORDS[found[3]]


class Column:
    """The tests of one input.

    Args:
        tests: Of each rule: True if it always passes, its constants, or None if it must be
            evaluated.

    Attributes:
        always: The rules that always pass, as bits.
        evaluated: The rules that must be evaluated, as bits.
        constants: The rules of each constant.
        points: The ends of all intervals, in order.
    """

    def __init__(self, tests: Iterable[Constant | bool | None]) -> None:
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

    def passed(self, value: Any) -> int:
        """Return the rules whose constants a value passes, as bits, beside those that always do."""
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
