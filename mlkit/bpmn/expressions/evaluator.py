"""Evaluate the tree: one table of operations, limited work, errors with a position."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from mlkit.bpmn.expressions.dialects import DIALECTS, OperationError, kind
from mlkit.bpmn.expressions.functions import call
from mlkit.bpmn.expressions.tree import ExpressionError, Node, UnknownVariable

MAX_WORK = 100_000
Lookup = Callable[[str], Any]
_REFUSALS = (OperationError, TypeError, ValueError, ArithmeticError, KeyError, IndexError)


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
        self.dialect = DIALECTS[language]
        self.lookup = lookup
        self.now = now
        self.work = MAX_WORK

    def run(self, node: Node) -> Any:
        """Evaluate the tree to a value that a variable can hold.

        Raises:
            ExpressionError: An operation refuses its operands, or a limit is reached.
        """
        return self.dialect.result(self.value(node))

    def condition(self, node: Node) -> bool:
        """Evaluate the tree as a condition."""
        try:
            return self.dialect.truth(self.value(node))
        except OperationError as error:
            raise ExpressionError(self.text, node.position, str(error)) from error

    def value(self, node: Node) -> Any:
        """Evaluate one operation."""
        self.work -= 1
        if self.work < 0:
            raise ExpressionError(self.text, node.position, "takes too much work")
        try:
            return _OPERATIONS[node.op](self, node)
        except _REFUSALS as error:
            if isinstance(error, ExpressionError):
                raise
            problem = f"no item {error}" if isinstance(error, KeyError) else str(error)
            raise ExpressionError(self.text, node.position, problem) from error

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


def _compare(run: Evaluator, node: Node) -> Any:
    left, right = run.values(node.children)
    return run.dialect.compare(node.op, left, right)


def _arithmetic(run: Evaluator, node: Node) -> Any:
    left, right = run.values(node.children)
    return run.dialect.arithmetic(node.op, left, right)


def _logic(run: Evaluator, node: Node) -> Any:
    left, right = node.children
    return run.dialect.logic(node.op, run.value(left), lambda: run.value(right))


def _in(run: Evaluator, node: Node) -> bool:
    item, whole = run.values(node.children)
    return (item in whole) == (node.op == "in")


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
    if inner.op in ("literal", "neg", "name"):
        index = run.value(inner)
        if isinstance(index, int) and not isinstance(index, bool):
            at = index - 1 if index > 0 else len(items) + index
            return items[at] if index and 0 <= at < len(items) else None
    return [each for each in items if _matches(run, inner, each)]


def _matches(run: Evaluator, node: Node, item: Any) -> bool:
    outer = run.lookup

    def inner(name: str) -> Any:
        if name == "item":
            return item
        return item[name] if isinstance(item, dict) and name in item else outer(name)

    run.lookup = inner
    try:
        return run.value(node) is True
    finally:
        run.lookup = outer


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
    return call(str(node.value), list(run.values(node.children)), run.now)


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
    "list": lambda run, node: list(run.values(node.children)),
    "map": _map,
    "text": _text,
    "item": _item,
    "filter": _filter,
    "if": _if,
    "call": _call,
    "neg": _negative,
    "not": lambda run, node: run.dialect.negate(run.value(node.children[0])),
    "empty": lambda run, node: run.value(node.children[0]) in (None, "", [], {}),
    "and": _logic, "or": _logic, "in": _in, "not_in": _in, "is": _is, "is_not": _is,
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), _compare),
    **dict.fromkeys(("add", "sub", "mul", "div", "floordiv", "mod", "pow"), _arithmetic),
}  # fmt: skip
