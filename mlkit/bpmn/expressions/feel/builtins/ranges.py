"""Functions that relate points and ranges (DMN 1.5, table 78), and `range()`."""

from __future__ import annotations

from typing import Any

from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.builtins.arguments import text
from mlkit.bpmn.expressions.feel.builtins.registry import Table, declare
from mlkit.bpmn.expressions.feel.comparison import compare, contains, equal
from mlkit.bpmn.expressions.feel.values import Range, Refused

RANGES: Table = {}
_ANY = (
    "point1, point2", "point, range", "range, point", "range1, range2",
)  # fmt: skip


def _is(op: str, one: Any, other: Any) -> bool:
    """Compare two ends.

    Raises:
        Refused: One is unbounded, or they have no order.
    """
    if one is None or other is None:
        raise Refused
    found = compare(op, one, other)
    if found is None:
        raise Refused
    return found


def _same(run: Run, one: Any, other: Any) -> bool:
    if one is None or other is None:
        raise Refused
    found = equal(run, one, other)
    if found is None:
        raise Refused
    return found


def _interval(value: Any) -> Range:
    if type(value) is not Range:
        raise Refused
    return value


def _ends_before(run: Run, one: Range, other: Range) -> bool:
    """Return whether a range ends before another starts."""
    if _is("lt", one.end, other.start):
        return True
    return _same(run, one.end, other.start) and not (one.end_included and other.start_included)


def _as_range(value: Any) -> Range:
    if value is None:
        raise Refused
    return value if type(value) is Range else Range(True, value, value, True)


@declare(RANGES, "before", *_ANY)
def _before(run: Run, one: Any, other: Any) -> bool:
    return _ends_before(run, _as_range(one), _as_range(other))


@declare(RANGES, "after", *_ANY)
def _after(run: Run, one: Any, other: Any) -> bool:
    return _ends_before(run, _as_range(other), _as_range(one))


@declare(RANGES, "meets", "range1, range2")
def _meets(run: Run, one: Any, other: Any) -> bool:
    first, second = _interval(one), _interval(other)
    touch = first.end_included and second.start_included
    return _same(run, first.end, second.start) and touch


@declare(RANGES, "met by", "range1, range2")
def _met_by(run: Run, one: Any, other: Any) -> bool:
    return _meets(run, other, one)


@declare(RANGES, "overlaps", "range1, range2")
def _overlaps(run: Run, one: Any, other: Any) -> bool:
    first, second = _interval(one), _interval(other)
    return not _ends_before(run, first, second) and not _ends_before(run, second, first)


@declare(RANGES, "overlaps before", "range1, range2")
def _overlaps_before(run: Run, one: Any, other: Any) -> bool:
    first, second = _interval(one), _interval(other)
    starts = _is("lt", first.start, second.start) or (
        _same(run, first.start, second.start) and first.start_included and not second.start_included
    )
    reaches = not _ends_before(run, first, second)
    ends = _is("lt", first.end, second.end) or (
        _same(run, first.end, second.end) and (not first.end_included or second.end_included)
    )
    return starts and reaches and ends


@declare(RANGES, "overlaps after", "range1, range2")
def _overlaps_after(run: Run, one: Any, other: Any) -> bool:
    first, second = _interval(one), _interval(other)
    starts = _is("gt", first.start, second.start) or (
        _same(run, first.start, second.start)
        and (second.start_included or not first.start_included)
    )
    reaches = not _ends_before(run, second, first)
    ends = _is("gt", first.end, second.end) or (
        _same(run, first.end, second.end) and first.end_included and not second.end_included
    )
    return starts and reaches and ends


@declare(RANGES, "finishes", "point, range", "range1, range2")
def _finishes(run: Run, one: Any, other: Any) -> bool:
    second = _interval(other)
    if type(one) is not Range:
        return second.end_included and _same(run, one, second.end)
    if not _same(run, one.end, second.end) or one.end_included != second.end_included:
        return False
    return _starts_within(run, one, second)


def _starts_within(run: Run, inner: Range, outer: Range) -> bool:
    """Return whether a range starts no earlier than another."""
    return _is("gt", inner.start, outer.start) or (
        _same(run, inner.start, outer.start) and (outer.start_included or not inner.start_included)
    )


def _ends_within(run: Run, inner: Range, outer: Range) -> bool:
    """Return whether a range ends no later than another."""
    return _is("lt", inner.end, outer.end) or (
        _same(run, inner.end, outer.end) and (outer.end_included or not inner.end_included)
    )


@declare(RANGES, "finished by", "range, point", "range1, range2")
def _finished_by(run: Run, one: Any, other: Any) -> bool:
    return _finishes(run, other, one)


@declare(RANGES, "includes", "range, point", "range1, range2")
def _includes(run: Run, one: Any, other: Any) -> bool:
    outer = _interval(one)
    if type(other) is not Range:
        found = contains(run, outer, other)
        if found is None:
            raise Refused
        return found
    return _starts_within(run, other, outer) and _ends_within(run, other, outer)


@declare(RANGES, "during", "point, range", "range1, range2")
def _during(run: Run, one: Any, other: Any) -> bool:
    return _includes(run, other, one)


@declare(RANGES, "starts", "point, range", "range1, range2")
def _starts(run: Run, one: Any, other: Any) -> bool:
    second = _interval(other)
    if type(one) is not Range:
        return second.start_included and _same(run, one, second.start)
    if not _same(run, one.start, second.start) or one.start_included != second.start_included:
        return False
    return _ends_within(run, one, second)


@declare(RANGES, "started by", "range, point", "range1, range2")
def _started_by(run: Run, one: Any, other: Any) -> bool:
    return _starts(run, other, one)


@declare(RANGES, "coincides", "point1, point2", "range1, range2")
def _coincides(run: Run, one: Any, other: Any) -> bool:
    if (type(one) is Range) != (type(other) is Range):
        raise Refused
    if type(one) is not Range:
        return _same(run, one, other)
    included = (one.start_included, one.end_included) == (other.start_included, other.end_included)
    same = _same(run, one.start, other.start) and _same(run, one.end, other.end)
    return included and same


@declare(RANGES, "range", "from")
def _range(run: Run, value: Any) -> Range:
    """Return the range that a text is, with ends that are literals."""
    from mlkit.bpmn.expressions.feel.literals import read_range

    return read_range(run, text(value))
