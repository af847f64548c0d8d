"""Evaluate the tree: one table of operations, limited work, errors with a position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from mlkit.bpmn.expressions.dialects import DIALECTS, Number, OperationError, Refusal, kind
from mlkit.bpmn.expressions.functions import call
from mlkit.bpmn.expressions.tree import ExpressionError, Node, UnknownVariable

MAX_WORK = 100_000
Lookup = Callable[[str], Any]
# A filter's expression of these kinds may be a number: the position of an item.
_POSITIONS = ("literal", "neg", "name", "item", "filter", "call", "if", "add", "sub", "mul", "div")
_REFUSALS = (
    OperationError, TypeError, ValueError, ArithmeticError, KeyError, IndexError, RecursionError,
)  # fmt: skip


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
        self.assign = getattr(lookup, "assign", None)
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
        value = self.value(node)
        try:
            return self.dialect.result(value)
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

    def charge(self, node: Node, work: int) -> None:
        """Count work.

        Raises:
            ExpressionError: There was too much of it.
        """
        self.work -= work
        if self.work < 0:
            raise ExpressionError(self.text, node.position, "takes too much work")

    def values(self, nodes: tuple[Node, ...]) -> Iterator[Any]:
        """Evaluate operands one after the other."""
        return (self.value(each) for each in nodes)

    def within(self, names: Mapping[str, Any], node: Node) -> Any:
        """Evaluate one operation that sees some more names."""
        outer = self.lookup
        self.lookup = lambda name: names[name] if name in names else outer(name)
        try:
            return self.value(node)
        finally:
            self.lookup = outer


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


def _assign(run: Evaluator, node: Node) -> None:
    """Set or remove a variable, where what the expression belongs to allows it."""
    name, *values = run.values(node.children)
    if run.assign is None or not isinstance(name, str):
        raise OperationError("no variable can be set here")
    run.assign(str(node.value), name, *values)


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
    """Give the item at a position, or the items for which a condition holds."""
    base, inner = run.value(node.children[0]), node.children[1]
    if base is None:
        return None
    items = base if isinstance(base, list) else [base]
    if inner.op in _POSITIONS:
        index = run.value(inner)
        if isinstance(index, int | Decimal) and not isinstance(index, bool):
            at = int(index) - 1 if index > 0 else len(items) + int(index)
            return items[at] if index and 0 <= at < len(items) else None
    return [each for each in items if run.within(_names(each), inner) is True]


def _names(item: Any) -> dict[str, Any]:
    """Give the names that a filter's condition sees: `item`, and the entries of a context."""
    return {**item, "item": item} if isinstance(item, dict) else {"item": item}


def _range(run: Evaluator, node: Node) -> range | None:
    low, high = map(_whole, run.values(node.children))
    if low is None or high is None:
        return None
    return range(low, high + 1) if low <= high else range(low, high - 1, -1)


def _whole(value: Any) -> int | None:
    number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    return int(value) if number and value == int(value) else None


def _bindings(run: Evaluator, node: Node, names: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Go through every combination of what the names of an iteration stand for."""
    variables: tuple[str, ...] = node.value  # type: ignore[assignment]
    if len(names) == len(variables):
        yield names
        return
    domain = run.within(names, node.children[len(names)])
    if domain is None:
        raise _NoDomain
    items: Iterable[Any] = domain if isinstance(domain, list | range) else [domain]
    for each in items:
        yield from _bindings(run, node, {**names, variables[len(names)]: each})


class _NoDomain(Exception):
    """What an iteration goes through is null."""


def _for(run: Evaluator, node: Node) -> list[Any] | None:
    results: list[Any] = []
    try:
        for names in _bindings(run, node, {}):
            results.append(run.within({**names, "partial": results}, node.children[-1]))
    except _NoDomain:
        return None
    return results


def _quantified(run: Evaluator, node: Node) -> Any:
    """Combine a condition over all combinations: `or` for some, `and` for every."""
    combine = "or" if node.op == "some" else "and"
    found: Any = node.op == "every"
    try:
        for names in _bindings(run, node, {}):
            holds = partial(run.within, names, node.children[-1])
            found = run.dialect.logic(combine, found, holds)
            if found is (node.op == "some"):
                break
    except _NoDomain:
        return None
    return found


def _function(run: Evaluator, node: Node) -> Callable[..., Any]:
    parameters: tuple[str, ...] = node.value  # type: ignore[assignment]
    seen = run.lookup

    def function(*arguments: Any) -> Any:
        outer, run.lookup = run.lookup, seen
        try:
            return run.within(dict(zip(parameters, arguments, strict=True)), node.children[0])
        finally:
            run.lookup = outer

    return function


def _instance(run: Evaluator, node: Node) -> bool:
    value = run.value(node.children[0])
    return value is not None and _TYPES[str(node.value)](value)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "Any": lambda value: True,
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, Number) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "list": lambda value: isinstance(value, list),
    "context": lambda value: isinstance(value, dict),
    "date": lambda value: isinstance(value, date) and not isinstance(value, datetime),
    "time": lambda value: isinstance(value, time),
    "date and time": lambda value: isinstance(value, datetime),
    "days and time duration": lambda value: isinstance(value, timedelta),
}


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
    arguments = list(run.values(node.children))
    # A function goes through what it is given, faster than the evaluator would.
    run.charge(node, sum(len(each) for each in arguments if isinstance(each, list | str)) // 100)
    try:
        return call(run.language, str(node.value), arguments, run.now)
    except Refusal:
        if run.dialect.missing_is_null:
            return None
        raise


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
    "assign": _assign,
    "list": lambda run, node: list(run.values(node.children)),
    "map": _map,
    "text": _text,
    "item": _item,
    "filter": _filter,
    "if": _if,
    "call": _call,
    "range": _range,
    "for": _for,
    "some": _quantified,
    "every": _quantified,
    "function": _function,
    "instance": _instance,
    "neg": _negative,
    "not": lambda run, node: run.dialect.negate(run.value(node.children[0])),
    "empty": lambda run, node: run.value(node.children[0]) in (None, "", [], {}),
    "and": _logic, "or": _logic, "in": _in, "not_in": _in, "is": _is, "is_not": _is,
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), _compare),
    **dict.fromkeys(("add", "sub", "mul", "div", "floordiv", "mod", "pow"), _arithmetic),
}  # fmt: skip
