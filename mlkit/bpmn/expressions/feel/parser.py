"""The parser of FEEL expressions and unary tests: the grammar of DMN 1.5, 10.3.1.2."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from mlkit.bpmn.expressions.feel.lexer import unquote
from mlkit.bpmn.expressions.feel.numbers import number
from mlkit.bpmn.expressions.feel.scope import KEYWORDS
from mlkit.bpmn.expressions.feel.token_reader import FeelReader
from mlkit.bpmn.expressions.feel.type_parser import parse_type
from mlkit.bpmn.expressions.feel.types import Type
from mlkit.bpmn.expressions.tokens import Token
from mlkit.bpmn.expressions.tree import ExpressionError, Node

_COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "=": "eq", "!=": "ne"}
_INFIX: dict[str, tuple[int, str]] = {
    "or": (1, "or"), "and": (2, "and"),
    **{text: (3, op) for text, op in _COMPARISONS.items()},
    "+": (4, "add"), "-": (4, "sub"), "*": (5, "mul"), "/": (5, "div"), "**": (6, "pow"),
}  # fmt: skip
_COMPARISON = 3
_SUM = 4
# Words that begin what has dots of its own, or needs brackets as the end of a range.
_OUT_OF_RANGES = frozenset(("for", "some", "every", "return", "satisfies", "if", "function"))
_CONSTANTS = {"true": True, "false": False, "null": None}


class Parser(FeelReader):
    """Parse one text; see `FeelReader` for what it takes."""

    # -- entry points --------------------------------------------------------------------------

    def parse(self) -> Node:
        """Parse an expression.

        Raises:
            ExpressionError: The text is none, or nests too deeply.
        """
        node = self.expression()
        self._end()
        return node

    def parse_tests(self) -> Node:
        """Parse unary tests: a cell of a decision table.

        Raises:
            ExpressionError: The text is none, or nests too deeply.
        """
        position = self.token.position
        if self.token.text == "-" and self.tokens[self.index + 1].kind == "end":
            return Node("literal", position, value=True)
        if self.words("not", "("):
            saved = self.index
            self.index += 2
            tests = self._tests(")")
            if self.token.kind == "end":
                return Node("not_tests", position, (tests,))
            self.index = saved  # `not(...)` began a longer expression.
        tests = self._tests("")
        self._end()
        return tests

    def _end(self) -> None:
        if self.token.kind != "end":
            raise self.unexpected()

    # -- operators -----------------------------------------------------------------------------

    def expression(self, floor: int = 0) -> Node:
        """Parse operators that bind at least as tightly as `floor`."""
        self.deeper()
        node = self._continue(self._operand(), floor)
        self.depth -= 1
        return node

    def _continue(self, left: Node, floor: int) -> Node:
        while True:
            token = self.token
            entry = _INFIX.get(token.text) if token.kind in ("symbol", "name") else None
            if entry is not None and entry[0] >= floor:
                self.next()
                left = Node(entry[1], token.position, (left, self.expression(entry[0] + 1)))
            elif floor <= _COMPARISON and token.kind == "name" and token.text in self._special:
                left = self._special[token.text](self, left, self.next().position)
            else:
                return left

    def _between(self, left: Node, position: int) -> Node:
        low = self.expression(_SUM)
        self.expect("and")
        return Node("between", position, (left, low, self.expression(_SUM)))

    def _instance(self, left: Node, position: int) -> Node:
        self.expect("of")
        return Node("instance", position, (left,), parse_type(self))

    def _in(self, left: Node, position: int) -> Node:
        """Parse what `in` looks into: `< 5`, `(1, > 5)`, a range, or an expression."""
        opening = self.token
        if opening.kind != "symbol" or opening.text not in (*_COMPARISONS, "("):
            return Node("in", position, (left, self.expression(_SUM)))
        if opening.text != "(":
            return Node("in", position, (left, self._test(_SUM)))
        self.next()
        self.deeper()
        inside = self._parse_opened_range(opening) or self._tests(")")
        self.depth -= 1
        if inside.op == "tests" and len(inside.children) == 1:
            single = inside.children[0]
            if single.op not in ("compared", "in_list"):
                inside = self._continue(self._suffixes(single), _SUM)
        return Node("in", position, (left, inside))

    _special: ClassVar[dict[str, Callable[[Parser, Node, int], Node]]] = {
        "between": _between, "instance": _instance, "in": _in,
    }  # fmt: skip

    def _operand(self) -> Node:
        token = self.token
        if token.text == "-" and token.kind == "symbol":
            self.next()
            self.deeper()
            operand = self._operand()
            self.depth -= 1
            return Node("neg", token.position, (operand,))
        return self._suffixes(self._primary())

    def _suffixes(self, node: Node) -> Node:
        while self.token.kind == "symbol" and self.token.text in (".", "[", "("):
            if self.token.text == "[" and self._closes_range():
                break
            token = self.next()
            if token.text == ".":
                node = Node("path", token.position, (node,), self._member())
            elif token.text == "(":
                node = self._call(node, token.position)
            else:
                self.names.open(dynamic=True)
                node = Node("filter", token.position, (node, self.expression()))
                self.names.close()
                self.expect("]")
        return node

    def _closes_range(self) -> bool:
        """Return whether `[` ends a range (`]1..3[`): no expression follows it."""
        following = self.tokens[self.index + 1]
        if following.kind == "symbol":
            return following.text not in ("(", "[", "]", "{", "@", "-", "<", "<=", ">", ">=", "=")
        starts = (*_CONSTANTS, "if", "for", "some", "every", "function")
        is_word = following.text in KEYWORDS and following.text not in starts
        return following.kind == "end" or (following.kind == "name" and is_word)

    # -- unary tests ---------------------------------------------------------------------------

    def _tests(self, closing: str) -> Node:
        position = self.token.position
        tests = [self._test()]
        while self.accept(","):
            tests.append(self._test())
        if closing:
            self.expect(closing)
        return Node("tests", position, tuple(tests))

    def _test(self, floor: int = 0) -> Node:
        token = self.token
        if token.kind == "symbol" and token.text in _COMPARISONS:
            self.next()
            return Node(
                "compared", token.position, (self.expression(_SUM),), _COMPARISONS[token.text]
            )
        return self.expression(floor)

    # -- primaries -----------------------------------------------------------------------------

    def _primary(self) -> Node:
        token = self.next()
        if token.kind == "number":
            return Node("literal", token.position, value=number(token.text))
        if token.kind == "string":
            return Node("literal", token.position, value=unquote(token))
        if token.kind == "name":
            return self._parse_named(token)
        parse = self._symbols.get(token.text)
        if token.kind == "end" or parse is None:
            self.index -= token.kind != "end"
            raise self.unexpected()
        return parse(self, token)

    def _parenthesis(self, token: Token) -> Node:
        found = self._parse_opened_range(token)
        if found is not None:
            return found
        if self.token.kind == "symbol" and self.token.text in _COMPARISONS:
            node = self._half_range()
        else:
            node = self.expression()
        self.expect(")")
        return node

    def _half_range(self) -> Node:
        """Parse the range that `(> 5)` is."""
        token = self.next()
        if token.text == "!=":
            raise ExpressionError(self.text, token.position, "no range")
        return Node(
            "half_range", token.position, (self.expression(_SUM),), _COMPARISONS[token.text]
        )

    def _parse_opened_range(self, opening: Token) -> Node | None:
        """Parse a range behind its opening bracket, if there is one."""
        saved = self.index
        if not self._may_be_range(opening):
            return None
        low = self.expression(_SUM)
        if not self.accept(".."):
            self.index = saved
            return None
        high = self.expression(_SUM)
        closing = self.next()
        if closing.text not in (")", "]", "["):
            raise ExpressionError(self.text, closing.position, "expected the end of the range")
        ends = (opening.text == "[", closing.text == "]")
        return Node("range", opening.position, (low, high), ends)

    def _may_be_range(self, opening: Token) -> bool:
        """Look ahead for the `..` of this bracket, so that nothing is parsed twice for nothing."""
        depth = 0
        for token in self.tokens[self.index :]:
            if token.kind != "symbol":
                if token.text in _OUT_OF_RANGES and token.kind == "name" and not depth:
                    return False  # A loop has dots of its own.
                continue
            if token.text == ".." and not depth:
                return True
            depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
            if depth < 0 or (token.text == "," and not depth):
                return False
        return False

    def _bracket(self, token: Token) -> Node:
        found = self._parse_opened_range(token)
        if found is not None:
            return found
        return Node("list", token.position, self._sequence("]", self._item))

    def _item(self) -> Node:
        """Parse an item of a list: an expression, or a unary comparison as a range."""
        if self.token.kind == "symbol" and self.token.text in _COMPARISONS:
            return self._half_range()
        return self.expression()

    def _open_range(self, token: Token) -> Node:
        found = self._parse_opened_range(token)
        if found is None:
            raise ExpressionError(self.text, token.position, "expected '..'")
        return found

    def _sequence(self, closing: str, parse: Callable[[], Node]) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self.accept(closing):
            if items:
                self.expect(",")
            items.append(parse())
        return tuple(items)

    def _temporal(self, token: Token) -> Node:
        text = self.next()
        if text.kind != "string":
            raise ExpressionError(self.text, text.position, "expected a text after '@'")
        return Node("temporal", token.position, value=unquote(text))

    def _context(self, token: Token) -> Node:
        entries: list[Node] = []
        keys: list[str] = []
        self.names.open()
        while not self.accept("}"):
            if entries:
                self.expect(",")
            keys.append(self._key())
            self.expect(":")
            entries.append(self.expression())
            self.names.add(keys[-1])
        self.names.close()
        return Node("context", token.position, tuple(entries), tuple(keys))

    _symbols: ClassVar[dict[str, Callable[[Parser, Token], Node]]] = {
        "(": _parenthesis, "[": _bracket, "]": _open_range, "{": _context, "@": _temporal,
    }  # fmt: skip

    def _key(self) -> str:
        if self.token.kind == "string":
            return unquote(self.next())
        return self.name_until((":",))

    # -- names and calls -----------------------------------------------------------------------

    def _parse_named(self, token: Token) -> Node:
        word = token.text
        if word in _CONSTANTS:
            return Node("literal", token.position, value=_CONSTANTS[word])
        if word == "if":
            return self._if(token.position)
        if word in ("for", "some", "every") and self.token.kind == "name":
            return self._loop(token)
        if word == "function" and self.token.text == "(":
            return self._function(token.position)
        self.index -= 1
        return self._reference()

    def _reference(self) -> Node:
        """Parse a variable: the longest known name, else all words up to an operator."""
        token = self.token
        if token.text in KEYWORDS and not self.names.match(self.tokens, self.index)[0]:
            raise self.unexpected()
        count, name = self.names.match(self.tokens, self.index)
        run = self._run_of_words(self.index)
        if run > count:
            count, name = run, " ".join(each.text for each in self.tokens[self.index :][:run])
        self.index += count
        return Node("name", token.position, value=name)

    def _run_of_words(self, index: int) -> int:
        count = 1
        while (following := self.tokens[index + count]).kind == "name":
            if following.text in KEYWORDS:
                break
            count += 1
        return count

    def _member(self) -> str:
        """Parse the name behind a dot."""
        token = self.token
        if token.kind != "name":
            raise ExpressionError(self.text, token.position, "expected a name after '.'")
        count, name = self.names.match_seen(self.tokens, self.index)
        run = self._run_of_words(self.index)
        if run > count:
            count, name = run, " ".join(each.text for each in self.tokens[self.index :][:run])
        self.index += count
        return name

    def _call(self, callee: Node, position: int) -> Node:
        """Parse arguments, by position or by name."""
        if self.tokens[self.index].kind == "name" and (names := self._parse_named_arguments()):
            values, keys = names
            return Node("call_named", position, (callee, *values), keys)
        return Node("call", position, (callee, *self._sequence(")", self._item)))

    def _parse_named_arguments(self) -> tuple[tuple[Node, ...], tuple[str, ...]] | None:
        count = self._run_of_words(self.index)
        if self.tokens[self.index + count].text != ":":
            return None
        keys: list[str] = []
        values: list[Node] = []
        while not self.accept(")"):
            if keys:
                self.expect(",")
            keys.append(self.name_until((":",)))
            self.expect(":")
            values.append(self._item())
        return tuple(values), tuple(keys)

    # -- if, loops, functions ------------------------------------------------------------------

    def _if(self, position: int) -> Node:
        condition = self.expression()
        self.expect("then")
        chosen = self.expression()
        self.expect("else")
        return Node("if", position, (condition, chosen, self.expression()))

    def _loop(self, kind: Token) -> Node:
        """Parse `for x in xs, y in ys return ...`, `some ... satisfies ...`, `every ...`."""
        names: list[str] = []
        domains: list[Node] = []
        self.names.open()
        while not names or self.accept(","):
            name = self.name_until(("in",))
            self.expect("in")
            domains.append(self._domain())
            names.append(name)
            self.names.add(name)
        if kind.text == "for":
            self.names.add("partial")
        self.expect("return" if kind.text == "for" else "satisfies")
        node = Node(kind.text, kind.position, (*domains, self.expression()), tuple(names))
        self.names.close()
        return node

    def _domain(self) -> Node:
        domain = self.expression()
        if self.accept(".."):
            return Node("steps", domain.position, (domain, self.expression()))
        return domain

    def _function(self, position: int) -> Node:
        self.expect("(")
        names: list[str] = []
        types: list[Type | None] = []
        while not self.accept(")"):
            if names:
                self.expect(",")
            names.append(self.name_until((":", ",", ")")) if not types else self._parameter())
            types.append(parse_type(self) if self.accept(":") else None)
        if self.accept("external"):
            return Node("external", position, (self.expression(),), tuple(names))
        self.names.open(names)
        body = self.expression()
        self.names.close()
        return Node("function", position, (body,), (tuple(names), tuple(types)))

    def _parameter(self) -> str:
        return self.name_until((":", ",", ")"))


def find_references(tree: Node) -> Iterable[str]:
    """Yield the names that a tree reads, its own local ones among them."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if node.op == "name":
            yield str(node.value)
        stack += node.children
