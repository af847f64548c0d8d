"""Evaluate the tree: one table of operations, limited work, errors with a position."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.dialects import DIALECTS, OperationError, kind
from mlkit.bpmn.expressions.functions import call
from mlkit.bpmn.expressions.tree import ExpressionError, Node, UnknownVariable

MAX_WORK = 100_000
Lookup = Callable[[str], Any]
_REFUSALS = (
    OperationError,
    TypeError,
    ValueError,
    ArithmeticError,
    KeyError,
    IndexError,
    RecursionError,
)


class Evaluator:
    """Evaluate one expression once.

    Args:
        text: The expression, for messages.
        language: `python`, `juel` or `feel`.
        lookup: Gives a variable by name; raises KeyError for an unknown one.
        now: The time that `now()` gives.
    """

    def __init__(self, text: str, language: str, lookup: Lookup, now: datetime) -> None:
        self.text = text
        self.language = language
        self.dialect = DIALECTS[language]
        self.outside = lookup
        self.known: dict[str, Any] = {}
        self.lookup: Lookup = self._variable
        self.now = now
        self.work = MAX_WORK

    def run(self, node: Node) -> Any:
        """Evaluate the tree to a value that a variable can hold.

        Raises:
            ExpressionError: An operation refuses its operands, or a limit is reached.
        """
        try:
            return self.dialect.result(self.value(node))
        except (OperationError, RecursionError) as error:
            raise ExpressionError(self.text, node.position, str(error)) from error

    def _variable(self, name: str) -> Any:
        if name not in self.known:
            self.known[name] = self.dialect.enter(self.outside(name))
        return self.known[name]

    def condition(self, node: Node) -> bool:
        """Evaluate the tree as a condition."""
        try:
            return self.dialect.truth(self.value(node))
        except OperationError as error:
            raise ExpressionError(self.text, node.position, str(error)) from error

    def value(self, node: Node) -> Any:
        """Evaluate one operation."""
        self.charge(node, 1)
        try:
            return _OPERATIONS[node.op](self, node)
        except _REFUSALS as error:
            if isinstance(error, ExpressionError):
                raise
            problem = f"no item {error}" if isinstance(error, KeyError) else str(error)
            raise ExpressionError(self.text, node.position, problem) from error

    def within(self, node: Node, names: Mapping[str, Any]) -> Any:
        """Evaluate an operation that sees some more names."""
        outer = self.lookup
        self.lookup = lambda name: names[name] if name in names else outer(name)
        try:
            return self.value(node)
        finally:
            self.lookup = outer

    def charge(self, node: Node, size: int) -> None:
        """Count what a result holds as work.

        Raises:
            ExpressionError: There was too much of it.
        """
        self.work -= size
        if self.work < 0:
            raise ExpressionError(self.text, node.position, "takes too much work")

    def values(self, nodes: tuple[Node, ...]) -> Iterator[Any]:
        """Evaluate operands one after the other."""
        return (self.value(each) for each in nodes)


def _name(run: Evaluator, node: Node) -> Any:
    try:
        return run.lookup(str(node.value))
    except KeyError:
        if run.dialect.missing_is_null:
            return None
        problem = f"there is no variable {node.value!r}"
        raise UnknownVariable(run.text, node.position, problem) from None


def _variable(run: Evaluator, node: Node) -> Any:
    try:
        return run.lookup(str(node.value))
    except KeyError:
        return None


def _known(run: Evaluator, node: Node) -> bool:
    try:
        run.lookup(str(node.value))
    except KeyError:
        return False
    return True


def _compare(run: Evaluator, node: Node) -> Any:
    left, right = run.values(node.children)
    return run.dialect.compare(node.op, left, right)


def _arithmetic(run: Evaluator, node: Node) -> Any:
    left, right = run.values(node.children)
    return run.dialect.arithmetic(node.op, left, right)


def _logic(run: Evaluator, node: Node) -> Any:
    left, right = node.children
    return run.dialect.logic(node.op, run.value(left), lambda: run.value(right))


def _in(run: Evaluator, node: Node) -> Any:
    item, whole = run.values(node.children)
    return run.dialect.contains(whole, item, node.op == "in")


def _is(run: Evaluator, node: Node) -> bool:
    left, right = run.values(node.children)
    return (left is right) == (node.op == "is")


def _if(run: Evaluator, node: Node) -> Any:
    condition, chosen, other = node.children
    return run.value(chosen if run.dialect.truth(run.value(condition)) else other)


def _item(run: Evaluator, node: Node) -> Any:
    base, key = run.values(node.children)
    return run.dialect.item(base, key)


def _filter(run: Evaluator, node: Node) -> Any:
    base = run.value(node.children[0])
    if base is None:
        return None
    items = base if isinstance(base, list) else [base]
    inner = node.children[1]
    if inner.op in ("literal", "neg", "name") or items:
        index = run.within(inner, _fields(items[0]) if items else {})
        if isinstance(index, int | Decimal) and not isinstance(index, bool):
            at = int(index) - 1 if index > 0 else len(items) + int(index)
            return items[at] if index == int(index) and index and 0 <= at < len(items) else None
    return [each for each in items if run.within(inner, _fields(each)) is True]


def _fields(item: Any) -> dict[str, Any]:
    """Give the names that a filter sees: those in the item, and the item itself."""
    return {**item, "item": item} if isinstance(item, dict) else {"item": item}


def _range(run: Evaluator, node: Node) -> list[int] | None:
    low, high = run.values(node.children)
    if not all(isinstance(each, int | Decimal) for each in (low, high)):
        return None
    first, last = int(low), int(high)
    step = 1 if first <= last else -1
    run.charge(node, abs(last - first) + 1)
    return list(range(first, last + step, step))


def _turns(run: Evaluator, node: Node) -> Iterator[dict[str, Any] | None]:
    """Give the names of each turn of `for`, `some` or `every`; None where one has no list."""
    names: tuple[str, ...] = node.value  # type: ignore[assignment]

    def turns(index: int, known: dict[str, Any]) -> Iterator[dict[str, Any] | None]:
        if index == len(names):
            yield known
            return
        items = run.within(node.children[index], known)
        for item in items if isinstance(items, list) else ():
            yield from turns(index + 1, {**known, names[index]: item})
        if not isinstance(items, list):
            yield None

    return turns(0, {})


def _for(run: Evaluator, node: Node) -> list[Any] | None:
    results = []
    for names in _turns(run, node):
        if names is None:
            return None
        value = run.within(node.children[-1], names)
        run.charge(node, len(value) if isinstance(value, list | dict | str) else 1)
        results.append(value)
    return results


def _quantified(run: Evaluator, node: Node) -> bool | None:
    deciding = node.op == "some"
    for names in _turns(run, node):
        if names is None:
            return None
        if (run.within(node.children[-1], names) is True) is deciding:
            return deciding
    return not deciding


def _function(run: Evaluator, node: Node) -> Callable[..., Any]:
    names: tuple[str, ...] = node.value  # type: ignore[assignment]
    lookup = run.lookup

    def function(*values: Any) -> Any:
        outer, run.lookup = run.lookup, lookup
        try:
            return run.within(node.children[0], dict(zip(names, values, strict=True)))
        finally:
            run.lookup = outer

    return function


def _instance(run: Evaluator, node: Node) -> bool:
    value = run.value(node.children[0])
    if node.value == "number":
        return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    exact = node.value == "date" and isinstance(value, datetime)
    return isinstance(value, TYPES[str(node.value)]) and not exact


TYPES: dict[str, Any] = {
    "number": Decimal, "string": str, "boolean": bool, "list": list, "context": dict,
    "date": date, "time": time, "date and time": datetime, "days and time duration": timedelta,
    "function": Callable, "Any": object, "Null": type(None),
}  # fmt: skip
"""The types of FEEL's `instance of`."""


def _map(run: Evaluator, node: Node) -> dict[Any, Any]:
    keys, values = node.children[::2], node.children[1::2]
    return dict(zip(run.values(keys), run.values(values), strict=True))


def _text(run: Evaluator, node: Node) -> str:
    return "".join(_shown(each) for each in run.values(node.children))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _call(run: Evaluator, node: Node) -> Any:
    values = list(run.values(node.children))
    run.charge(node, sum(len(each) for each in values if isinstance(each, list | str)) // 100)
    return call(run.language, str(node.value), values, run.now)


def _negative(run: Evaluator, node: Node) -> Any:
    value = run.value(node.children[0])
    if value is None and run.dialect.missing_is_null:
        return None
    if isinstance(value, bool | str | list | dict) or value is None:
        raise OperationError(f"{kind(value)} has no negative")
    return -value


_OPERATIONS: dict[str, Callable[[Evaluator, Node], Any]] = {
    "literal": lambda run, node: node.value,
    "name": _name,
    "variable": _variable,
    "known": _known,
    "list": lambda run, node: list(run.values(node.children)),
    "map": _map,
    "text": _text,
    "item": _item,
    "filter": _filter,
    "range": _range,
    "for": _for,
    "some": _quantified,
    "every": _quantified,
    "function": _function,
    "instance": _instance,
    "if": _if,
    "call": _call,
    "neg": _negative,
    "not": lambda run, node: run.dialect.negate(run.value(node.children[0])),
    "empty": lambda run, node: run.value(node.children[0]) in (None, "", [], {}),
    "and": _logic, "or": _logic, "in": _in, "not_in": _in, "is": _is, "is_not": _is,
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), _compare),
    **dict.fromkeys(("add", "sub", "mul", "div", "floordiv", "mod", "pow"), _arithmetic),
}  # fmt: skip
