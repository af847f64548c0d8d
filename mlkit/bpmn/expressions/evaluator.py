"""Evaluate the tree of JUEL and Python: one table of operations, limited work, errors with a place.

FEEL has an evaluator of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from mlkit.bpmn.expressions.dialects import DIALECTS, MAX_TEXT, OperationError, kind
from mlkit.bpmn.expressions.functions import LOOKED_AT, call
from mlkit.bpmn.expressions.tree import ExpressionError, Node, UnknownVariable

MAX_WORK = 100_000
# Items of data that are gone through for one unit of work: that is done by C.
ITEMS = 16
Lookup = Callable[[str], Any]
_REFUSALS = (
    OperationError, TypeError, ValueError, ArithmeticError, KeyError, IndexError, RecursionError,
)  # fmt: skip


class Evaluator:
    """Evaluate one expression once.

    Args:
        text: The expression, for messages.
        language: `python` or `juel`.
        lookup: Returns a variable by name; raises KeyError for an unknown one.
        now: The time that `now()` returns.
    """

    def __init__(self, text: str, language: str, lookup: Lookup, now: datetime) -> None:
        self.text = text
        self.language = language
        self.dialect = DIALECTS[language]
        self.assign = getattr(lookup, "assign", None)
        self.lookup = lookup
        self.now = now
        self.work = MAX_WORK

    def run(self, node: Node) -> Any:
        """Evaluate the tree to a value that a variable can hold.

        Raises:
            ExpressionError: An operation refuses its operands, or a limit is reached.
        """
        value = self.value(node)
        self.weigh(node, value)
        return value

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

    def weigh(self, node: Node, *values: Any) -> None:
        """Count the data that an operation goes through; what is shared counts each time.

        Raises:
            ExpressionError: It is too much.
        """
        left = self.work * ITEMS
        stack = [each for each in values if isinstance(each, list | dict | str)]
        while stack:
            value = stack.pop()
            left -= len(value) >> 4 if isinstance(value, str) else len(value) + 1
            if left < 0:
                raise ExpressionError(self.text, node.position, "takes too much work")
            if not isinstance(value, str):
                inside = value.values() if isinstance(value, dict) else value
                stack += [each for each in inside if isinstance(each, list | dict | str)]
        self.charge(node, self.work - left // ITEMS)

    def values(self, nodes: tuple[Node, ...]) -> Iterator[Any]:
        """Evaluate operands one after the other."""
        return (self.value(each) for each in nodes)


def _name(run: Evaluator, node: Node) -> Any:
    try:
        return run.lookup(str(node.value))
    except KeyError:
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


def _is_known(run: Evaluator, node: Node) -> bool:
    try:
        run.lookup(str(node.value))
    except KeyError:
        return False
    return True


def _compare(run: Evaluator, node: Node) -> Any:
    left, right = run.values(node.children)
    run.weigh(node, left, right)
    return run.dialect.compare(node.op, left, right)


def _arithmetic(run: Evaluator, node: Node) -> Any:
    left, right = run.values(node.children)
    found = run.dialect.arithmetic(node.op, left, right)
    if isinstance(found, str | list):
        run.charge(node, len(found) >> 4)
    return found


def _logic(run: Evaluator, node: Node) -> Any:
    left, right = node.children
    return run.dialect.logic(node.op, run.value(left), lambda: run.value(right))


def _in(run: Evaluator, node: Node) -> Any:
    item, whole = run.values(node.children)
    run.weigh(node, item, whole)
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


def _map(run: Evaluator, node: Node) -> dict[Any, Any]:
    keys, values = node.children[::2], node.children[1::2]
    return dict(zip(run.values(keys), run.values(values), strict=True))


def _text(run: Evaluator, node: Node) -> str:
    parts = []
    for each in run.values(node.children):
        run.weigh(node, each)
        parts.append(_format(each))
        if sum(map(len, parts)) > MAX_TEXT:
            raise OperationError("the text is too long")
    return "".join(parts)


def _format(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _call(run: Evaluator, node: Node) -> Any:
    arguments = list(run.values(node.children))
    if node.value not in LOOKED_AT:
        run.weigh(node, *arguments)
    return call(run.language, str(node.value), arguments, run.now)


def _negative(run: Evaluator, node: Node) -> Any:
    value = run.value(node.children[0])
    if isinstance(value, bool | str | list | dict) or value is None:
        raise OperationError(f"{kind(value)} cannot be negated")
    return -value


_OPERATIONS: dict[str, Callable[[Evaluator, Node], Any]] = {
    "literal": lambda run, node: node.value,
    "name": _name,
    "variable": _variable,
    "known": _is_known,
    "assign": _assign,
    "list": lambda run, node: list(run.values(node.children)),
    "map": _map,
    "text": _text,
    "item": _item,
    "if": _if,
    "call": _call,
    "neg": _negative,
    "not": lambda run, node: run.dialect.negate(run.value(node.children[0])),
    "empty": lambda run, node: run.value(node.children[0]) in (None, "", [], {}),
    "and": _logic, "or": _logic, "in": _in, "not_in": _in, "is": _is, "is_not": _is,
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), _compare),
    **dict.fromkeys(("add", "sub", "mul", "div", "floordiv", "mod", "pow"), _arithmetic),
}  # fmt: skip
