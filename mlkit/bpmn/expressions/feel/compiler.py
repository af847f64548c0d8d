"""Compile a tree to closures: each takes a frame of names and returns a value."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel import arithmetic, calls, comparison, iteration
from mlkit.bpmn.expressions.feel.frame import Code, Frame
from mlkit.bpmn.expressions.feel.paths import member
from mlkit.bpmn.expressions.feel.temporal import parse_temporal
from mlkit.bpmn.expressions.feel.types import Type
from mlkit.bpmn.expressions.feel.values import Function, Range, Refused
from mlkit.bpmn.expressions.tree import Node


class Compiler:
    """Compile one tree.

    Args:
        known: Names of variables that hide built-in functions of the same name.

    Attributes:
        problems: Calls that can have no value, each with its position.
        unknown: The names that nothing known binds, each with its position.
    """

    def __init__(self, known: frozenset[str] = frozenset()) -> None:
        self.known = known
        self.bound: list[frozenset[str]] = []
        self.dynamic = 0
        self.problems: list[tuple[int, str]] = []
        self.unknown: list[tuple[int, str]] = []

    def compile(self, node: Node) -> Code:
        """Return the closure of a node."""
        code: Code = getattr(self, f"_{node.op}", self._binary)(node)
        return code

    def all(self, nodes: tuple[Node, ...]) -> list[Code]:
        """Return the closures of nodes."""
        return [self.compile(each) for each in nodes]

    def inside(self, names: tuple[str, ...], node: Node) -> Code:
        """Return the closure of a node that sees some more names."""
        self.bound.append(frozenset(names))
        code = self.compile(node)
        self.bound.pop()
        return code

    def is_bound(self, name: str) -> bool:
        """Return whether an expression around binds a name."""
        return any(name in each for each in self.bound)

    # -- values --------------------------------------------------------------------------------

    def _literal(self, node: Node) -> Code:
        value = node.value
        return lambda frame: value

    def _temporal(self, node: Node) -> Code:
        try:
            value = parse_temporal(str(node.value))
        except Refused:
            value = None
        return lambda frame: value

    def _name(self, node: Node) -> Code:
        name = str(node.value)
        if not (self.dynamic or name in self.known or self.is_bound(name)):
            self.unknown.append((node.position, name))
        if not self.bound and not self.dynamic:
            return lambda frame: frame.names[name]
        return lambda frame: frame.find(name)

    def _list(self, node: Node) -> Code:
        items = self.all(node.children)
        return lambda frame: [each(frame) for each in items]

    def _context(self, node: Node) -> Code:
        keys: tuple[str, ...] = node.value  # type: ignore[assignment]
        if len(set(keys)) < len(keys):
            return lambda frame: None
        self.bound.append(frozenset())
        entries: list[tuple[str, Code]] = []
        for name, each in zip(keys, node.children, strict=True):
            if each.op == "function":
                self.bound[-1] |= {name}  # It may call itself.
            entries.append((name, self.compile(each)))
            self.bound[-1] |= {name}
        self.bound.pop()

        def context(frame: Frame) -> dict[str, Any]:
            names: dict[str, Any] = {}
            inner = Frame(names, frame, frame.run)
            for name, each in entries:
                names[name] = each(inner)
            return names

        return context

    def _range(self, node: Node) -> Code:
        low, high = self.all(node.children)
        closed: tuple[bool, bool] = node.value  # type: ignore[assignment]

        def interval(frame: Frame) -> Range | None:
            return make_range(closed[0], low(frame), high(frame), closed[1])

        return interval

    def _half_range(self, node: Node) -> Code:
        (end,) = self.all(node.children)
        op = str(node.value)

        def interval(frame: Frame) -> Range | None:
            value = end(frame)
            if value is None:
                return None
            if op == "eq":
                return Range(True, value, value, True)
            below = op in ("lt", "le")
            included = op in ("le", "ge")
            if below:
                return Range(False, None, value, included)
            return Range(included, value, None, False)

        return interval

    def _function(self, node: Node) -> Code:
        signature: tuple[tuple[str, ...], tuple[Type | None, ...]] = node.value  # type: ignore[assignment]
        names, types = signature
        body = self.inside(names, node.children[0])
        levels, size = _depth(node), _size(node)

        def define(frame: Frame) -> Function:
            def call(*arguments: Any) -> Any:
                run = frame.run
                run.charge(size)
                run.enter(levels)
                try:
                    return body(Frame(dict(zip(names, arguments, strict=True)), frame, run))
                finally:
                    run.depth -= levels

            return Function(names, call, types=types)

        return define

    def _external(self, node: Node) -> Code:
        self.problems.append((node.position, "external functions are not run"))
        return lambda frame: None

    # -- operators -----------------------------------------------------------------------------

    def _binary(self, node: Node) -> Code:
        left, right = self.all(node.children)
        if node.op in comparison.ORDER:
            return _ordering(node.op, left, right)
        compute = arithmetic.operation(node.op)
        return lambda frame: compute(frame.run, left(frame), right(frame))

    def _eq(self, node: Node) -> Code:
        left, right = self.all(node.children)
        equal = comparison.equal
        return lambda frame: equal(frame.run, left(frame), right(frame))

    def _ne(self, node: Node) -> Code:
        same = self._eq(node)

        def differs(frame: Frame) -> bool | None:
            found = same(frame)
            return None if found is None else not found

        return differs

    def _and(self, node: Node) -> Code:
        return _logic(self.all(node.children), deciding=False)

    def _or(self, node: Node) -> Code:
        return _logic(self.all(node.children), deciding=True)

    def _neg(self, node: Node) -> Code:
        (operand,) = self.all(node.children)
        negative = arithmetic.negative
        return lambda frame: negative(operand(frame))

    def _between(self, node: Node) -> Code:
        value, low, high = self.all(node.children)
        ordered, both = comparison.compare, comparison.both

        def between(frame: Frame) -> bool | None:
            found = value(frame)
            return both(ordered("ge", found, low(frame)), ordered("le", found, high(frame)))

        return between

    def _if(self, node: Node) -> Code:
        condition, chosen, other = self.all(node.children)
        return lambda frame: chosen(frame) if condition(frame) is True else other(frame)

    def _instance(self, node: Node) -> Code:
        operand = calls.argument(self, node.children[0])
        wanted: Type = node.value  # type: ignore[assignment]
        return lambda frame: wanted.holds(operand(frame), frame.run)

    def _path(self, node: Node) -> Code:
        (base,) = self.all(node.children)
        name = str(node.value)

        def path(frame: Frame) -> Any:
            value = base(frame)
            return value.get(name) if type(value) is dict else member(frame.run, value, name)

        return path

    def _filter(self, node: Node) -> Code:
        base = self.compile(node.children[0])
        self.dynamic += 1
        inner = self.inside(("item",), node.children[1])
        self.dynamic -= 1
        return iteration.filtering(base, inner, node.children[1], _size(node.children[1]))

    # -- membership and unary tests ------------------------------------------------------------

    def _in(self, node: Node) -> Code:
        value = self.compile(node.children[0])
        whole = node.children[1]
        if whole.op == "compared":
            whole = Node("tests", whole.position, (whole,))
        if whole.op == "tests":
            tests = self._tests(whole)
            return lambda frame: tests(Frame({"?": value(frame)}, frame, frame.run))
        items = self.compile(whole)
        within = comparison.within
        return lambda frame: within(frame.run, value(frame), items(frame))

    def _tests(self, node: Node) -> Code:
        tests = [self._one_test(each) for each in node.children]
        if len(tests) == 1:
            return tests[0]

        def any_test(frame: Frame) -> bool | None:
            unknown = False
            for each in tests:
                found = each(frame)
                if found is True:
                    return True
                unknown = unknown or found is None
            return None if unknown else False

        return any_test

    def _one_test(self, node: Node) -> Code:
        self.bound.append(frozenset("?"))
        try:
            if node.op == "compared":
                return self._compile_comparison(node)
            code = self.compile(node)
        finally:
            self.bound.pop()
        if any(each.op == "name" and each.value == "?" for each in _nodes(node)):
            return code
        return _value_test(code, node.op != "literal")

    def _compile_comparison(self, node: Node) -> Code:
        asked = Node("name", node.position, value="?")
        return self.compile(Node(str(node.value), node.position, (asked, node.children[0])))

    def _not_tests(self, node: Node) -> Code:
        tests = self.compile(node.children[0])

        def negated(frame: Frame) -> bool | None:
            found = tests(frame)
            return not found if type(found) is bool else None

        return negated

    # -- iteration and calls -------------------------------------------------------------------

    def _steps(self, node: Node) -> Code:
        low, high = self.all(node.children)
        return lambda frame: iteration.Steps(low(frame), high(frame))

    def _loop(self, node: Node) -> iteration.Loop:
        names: tuple[str, ...] = node.value  # type: ignore[assignment]
        self.bound.append(frozenset())
        domains: list[Code] = []
        for name, each in zip(names, node.children, strict=False):
            domains.append(self.compile(each))
            self.bound[-1] |= {name}
        self.bound[-1] |= {"partial"} if node.op == "for" else frozenset()
        body = self.compile(node.children[-1])
        self.bound.pop()
        return iteration.Loop(names, domains, body, _size(node.children[-1]), node.position)

    def _for(self, node: Node) -> Code:
        return self._loop(node).collect

    def _some(self, node: Node) -> Code:
        return self._loop(node).some

    def _every(self, node: Node) -> Code:
        return self._loop(node).every

    def _call(self, node: Node) -> Code:
        return calls.compile_call(self, node)

    def _call_named(self, node: Node) -> Code:
        return calls.compile_named(self, node)


def make_range(start_included: bool, start: Any, end: Any, end_included: bool) -> Range | None:
    """Return a range; None unless its ends have an order and the first is no later."""
    if start is None or end is None or comparison.compare("le", start, end) is not True:
        return None
    return Range(start_included, start, end, end_included)


def _value_test(code: Code, may_be_condition: bool) -> Code:
    passes = comparison.test

    def test(frame: Frame) -> bool | None:
        wanted, asked = code(frame), frame.find("?")
        if may_be_condition and wanted is True and type(asked) is not bool:
            return True  # A condition that does not ask for the input.
        return passes(frame.run, asked, wanted)

    return test


def _ordering(op: str, left: Code, right: Code) -> Code:
    compute, ordered = comparison.ORDER[op], comparison.compare

    def order(frame: Frame) -> bool | None:
        one, other = left(frame), right(frame)
        if type(one) is Decimal and type(other) is Decimal:
            return compute(one, other)
        return ordered(op, one, other)

    return order


def _logic(operands: list[Code], deciding: bool) -> Code:
    """Combine conditions that may be unknown: `and` is decided by false, `or` by true."""
    left, right = operands

    def combined(frame: Frame) -> bool | None:
        one: bool | None = left(frame)
        if one is deciding:
            return deciding
        other: bool | None = right(frame)
        if other is deciding:
            return deciding
        known = type(one) is bool and type(other) is bool
        return (not deciding) if known else None

    return combined


def _nodes(tree: Node) -> Iterator[Node]:
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack += node.children


def _size(tree: Node) -> int:
    return sum(1 for _ in _nodes(tree))


def _depth(tree: Node) -> int:
    return 1 + max((_depth(each) for each in tree.children), default=0)
