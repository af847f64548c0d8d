"""Loops and filters: each iteration is charged with the size of what it evaluates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.calendar import from_days, to_days
from mlkit.bpmn.expressions.feel.frame import Code, Frame
from mlkit.bpmn.expressions.feel.numbers import CONTEXT
from mlkit.bpmn.expressions.feel.values import Date, Range
from mlkit.bpmn.expressions.tree import Node

_ONE = Decimal(1)
# Operations whose value is a condition, so that a filter holding one is not a position.
_CONDITIONS = frozenset(
    ("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "in", "between", "some", "every", "instance")
)


class NoDomain(Exception):
    """What an iteration goes through is null."""


class Steps:
    """The domain `low..high` of a loop, upwards or downwards, of numbers or dates."""

    __slots__ = ("high", "low")

    def __init__(self, low: Any, high: Any) -> None:
        self.low = low
        self.high = high

    def __iter__(self) -> Iterator[Any]:
        if type(self.low) is Decimal and type(self.high) is Decimal:
            return _numbers(self.low, self.high)
        if type(self.low) is Date and type(self.high) is Date:
            return _dates(to_days(self.low), to_days(self.high))
        raise NoDomain


def _numbers(low: Decimal, high: Decimal) -> Iterator[Decimal]:
    step = _ONE if low <= high else -_ONE
    while (low <= high) if step is _ONE else (low >= high):
        yield low
        low = CONTEXT.add(low, step)


def _dates(low: int, high: int) -> Iterator[Date]:
    step = 1 if low <= high else -1
    return map(from_days, range(low, high + step, step))


def _of_range(interval: Range) -> Iterable[Any]:
    """Return the members of a range of whole numbers or dates, upwards."""
    low, high = interval.start, interval.end
    steps = iter(Steps(low, high))
    skipped = set()
    if not interval.start_included:
        skipped.add(low)
    if not interval.end_included:
        skipped.add(high)
    return (each for each in steps if each not in skipped)


def _items(domain: Any) -> Iterable[Any]:
    if domain is None:
        raise NoDomain
    if type(domain) is list:
        return domain
    if type(domain) is Range:
        return _of_range(domain)
    return domain if type(domain) is Steps else [domain]


class Loop:
    """A `for`, `some` or `every`.

    Args:
        names: The names that it binds.
        domains: What each goes through; a domain sees the names before it.
        body: What is evaluated for each combination.
        size: The work of the body.
        position: The place in the text.
    """

    __slots__ = ("body", "domains", "names", "position", "size")

    def __init__(
        self, names: tuple[str, ...], domains: list[Code], body: Code, size: int, position: int
    ) -> None:
        self.names = names
        self.domains = domains
        self.body = body
        self.size = size + 1
        self.position = position

    def _frames(self, frame: Frame, level: int, names: dict[str, Any]) -> Iterator[Frame]:
        run = frame.run
        inner = Frame(names, frame, run)
        last = level + 1 == len(self.names)
        for each in _items(self.domains[level](inner)):
            run.position = self.position
            run.charge(self.size)
            bound = {**names, self.names[level]: each}
            if last:
                yield Frame(bound, frame, run)
            else:
                yield from self._frames(frame, level + 1, bound)

    def collect(self, frame: Frame) -> list[Any] | None:
        """Return the values of the body."""
        results: list[Any] = []
        body = self.body
        try:
            for inner in self._frames(frame, 0, {}):
                inner.names["partial"] = results
                results.append(body(inner))
        except NoDomain:
            return None
        return results

    def some(self, frame: Frame) -> bool | None:
        """Return whether a condition holds for some combination."""
        return self._search(frame, True)

    def every(self, frame: Frame) -> bool | None:
        """Return whether a condition holds for every combination."""
        return self._search(frame, False)

    def _search(self, frame: Frame, deciding: bool) -> bool | None:
        body, unknown = self.body, False
        try:
            for inner in self._frames(frame, 0, {}):
                found: bool | None = body(inner)
                if found is deciding:
                    return deciding
                unknown = unknown or type(found) is not bool
        except NoDomain:
            return None
        return None if unknown else not deciding


def filtering(base: Code, inner: Code, node: Node, size: int) -> Code:
    """Return the closure of a filter: the item at a position, or the items that pass."""
    is_condition = node.op in _CONDITIONS

    def filtered(frame: Frame) -> Any:
        value = base(frame)
        if value is None:
            return None
        items = value if type(value) is list else [value]
        if not is_condition:
            position = inner(frame)
            if type(position) is Decimal:
                return _at(items, position)
        frame.run.position = node.position
        return [each for each in items if _passes(each, frame, inner, size)]

    return filtered


def _passes(item: Any, frame: Frame, inner: Code, size: int) -> bool:
    run: Run = frame.run
    names = {"item": item}
    if type(item) is dict:
        run.charge(len(item))
        names.update(item)
    run.charge(size + 1)
    return inner(Frame(names, frame, run)) is True


def _at(items: list[Any], position: Decimal) -> Any:
    """Return the item at a position that counts from 1, or from the end if negative."""
    if not -len(items) - 1 < position < len(items) + 1:
        return None
    index = int(position)
    if index == 0:
        return None
    return items[index - 1] if index > 0 else items[index]
