"""Python expressions, reduced to the tree: data, operators and listed functions only."""

from __future__ import annotations

import ast

from mlkit.bpmn.expressions.tree import MAX_DEPTH, ExpressionError, Node

_BINARY = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div",
    ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.Pow: "pow",
}  # fmt: skip
_COMPARE = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge",
    ast.In: "in", ast.NotIn: "not_in", ast.Is: "is", ast.IsNot: "is_not",
}  # fmt: skip
_UNARY = {ast.Not: "not", ast.USub: "neg"}


def parse(text: str) -> Node:
    """Parse a Python expression.

    Raises:
        ExpressionError: It is not an expression, or uses what is not allowed.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        offset = getattr(error, "offset", None) or 1
        raise ExpressionError(text, offset - 1, "is not a Python expression") from error
    return _Converter(text).convert(tree.body, 0)


class _Converter:
    def __init__(self, text: str) -> None:
        self.text = text

    def convert(self, node: ast.expr, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise ExpressionError(self.text, node.col_offset, "nests too deeply")
        method = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise self._refuse(node, type(node).__name__)
        converted: Node = method(node, depth + 1)
        return converted

    def _refuse(self, node: ast.expr, what: str) -> ExpressionError:
        return ExpressionError(self.text, node.col_offset, f"{what} is not allowed")

    def _all(self, nodes: list[ast.expr], depth: int) -> tuple[Node, ...]:
        return tuple(self.convert(each, depth) for each in nodes)

    def _constant(self, node: ast.Constant, depth: int) -> Node:
        if not isinstance(node.value, str | int | float | None):
            raise self._refuse(node, type(node.value).__name__)
        return Node("literal", node.col_offset, value=node.value)

    def _name(self, node: ast.Name, depth: int) -> Node:
        if node.id.startswith("_"):
            raise self._refuse(node, "a name that starts with '_'")
        return Node("name", node.col_offset, value=node.id)

    def _attribute(self, node: ast.Attribute, depth: int) -> Node:
        if node.attr.startswith("_"):
            raise self._refuse(node, "an attribute that starts with '_'")
        key = Node("literal", node.col_offset, value=node.attr)
        return Node("item", node.col_offset, (self.convert(node.value, depth), key))

    def _subscript(self, node: ast.Subscript, depth: int) -> Node:
        children = self._all([node.value, node.slice], depth)
        return Node("item", node.col_offset, children)

    def _list(self, node: ast.List, depth: int) -> Node:
        return Node("list", node.col_offset, self._all(node.elts, depth))

    def _tuple(self, node: ast.Tuple, depth: int) -> Node:
        return Node("list", node.col_offset, self._all(node.elts, depth))

    def _dict(self, node: ast.Dict, depth: int) -> Node:
        entries: list[ast.expr] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise self._refuse(value, "'**'")
            entries += [key, value]
        return Node("map", node.col_offset, self._all(entries, depth))

    def _unaryop(self, node: ast.UnaryOp, depth: int) -> Node:
        op = _UNARY.get(type(node.op))
        if op is None:
            raise self._refuse(node, type(node.op).__name__)
        return Node(op, node.col_offset, (self.convert(node.operand, depth),))

    def _binop(self, node: ast.BinOp, depth: int) -> Node:
        op = _BINARY.get(type(node.op))
        if op is None:
            raise self._refuse(node, type(node.op).__name__)
        return Node(op, node.col_offset, self._all([node.left, node.right], depth))

    def _boolop(self, node: ast.BoolOp, depth: int) -> Node:
        op = "and" if isinstance(node.op, ast.And) else "or"
        parts = self._all(node.values, depth)
        result = parts[0]
        for part in parts[1:]:
            result = Node(op, node.col_offset, (result, part))
        return result

    def _compare(self, node: ast.Compare, depth: int) -> Node:
        operands = self._all([node.left, *node.comparators], depth)
        result: Node | None = None
        for op, left, right in zip(node.ops, operands, operands[1:], strict=False):
            link = Node(_COMPARE[type(op)], node.col_offset, (left, right))
            result = link if result is None else Node("and", node.col_offset, (result, link))
        assert result is not None
        return result

    def _ifexp(self, node: ast.IfExp, depth: int) -> Node:
        return Node("if", node.col_offset, self._all([node.test, node.body, node.orelse], depth))

    def _call(self, node: ast.Call, depth: int) -> Node:
        if node.keywords:
            raise self._refuse(node, "a keyword argument")
        if isinstance(node.func, ast.Name):
            children = self._all(node.args, depth)
            return Node("call", node.col_offset, children, node.func.id)
        if isinstance(node.func, ast.Attribute):
            children = self._all([node.func.value, *node.args], depth)
            return Node("call", node.col_offset, children, node.func.attr)
        raise self._refuse(node, "calling the result of an expression")
