"""Which names are known at a place of an expression: they may hold spaces and operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from mlkit.bpmn.expressions.feel.lexer import tokenize
from mlkit.bpmn.expressions.feel.types import Type
from mlkit.bpmn.expressions.tokens import Token
from mlkit.bpmn.expressions.tree import ExpressionError

KEYWORDS = frozenset(
    ("if", "then", "else", "for", "in", "return", "some", "every", "satisfies", "between", "and",
     "or", "instance", "of", "function", "external", "true", "false", "null")
)  # fmt: skip

_Table = dict[str, list[tuple[tuple[str, ...], str]]]


class Names:
    """Known names, in scopes that open and close.

    Args:
        known: The names of variables that are known from the beginning.
        functions: The names of functions; one that holds keywords is meant before `(` only.
        members: The names that entries of values may have.
        types: Types that a decision model defines, by name.
    """

    def __init__(
        self,
        known: Iterable[str] = (),
        functions: Iterable[str] = (),
        members: Iterable[str] = (),
        types: Mapping[str, Type] | None = None,
    ) -> None:
        self.types = types or {}
        self._types = _table(tuple(self.types))
        self._functions = _table(tuple(functions))
        self._scopes: list[_Table] = [_table(tuple(known))]
        self._dynamic = [False]
        self._seen: _Table = dict(self._scopes[0])
        for name in members:
            self.see(name)

    def open(self, names: Iterable[str] = (), dynamic: bool = False) -> None:
        """Open a scope; in a dynamic one the entries of a context are known too."""
        self._scopes.append({})
        self._dynamic.append(dynamic)
        for name in names:
            self.add(name)

    def close(self) -> None:
        """Close the scope that was opened last."""
        self._scopes.pop()
        self._dynamic.pop()

    def add(self, name: str) -> None:
        """Add a name to the innermost scope."""
        _insert(self._scopes[-1], name)

    def see(self, name: str) -> None:
        """Remember a name that values may have as an entry."""
        _insert(self._seen, name)

    def match(self, tokens: Sequence[Token], index: int) -> tuple[int, str]:
        """Return the longest known name that starts at a token, as its token count and name."""
        tables = [*self._scopes, *([self._seen] if any(self._dynamic) else [])]
        found = max((_longest(each, tokens, index) for each in tables), key=lambda one: one[0])
        count, name = _longest(self._functions, tokens, index)
        called = tokens[min(index + count, len(tokens) - 1)].text == "("
        return (count, name) if called and count > found[0] else found

    def match_seen(self, tokens: Sequence[Token], index: int) -> tuple[int, str]:
        """Return the longest name of an entry that starts at a token."""
        found = (_longest(each, tokens, index) for each in (self._seen, *self._scopes))
        return max(found, key=lambda one: one[0])

    def match_type(self, tokens: Sequence[Token], index: int) -> tuple[int, str]:
        """Return the longest name of a defined type that starts at a token."""
        return _longest(self._types, tokens, index)


def _longest(table: _Table, tokens: Sequence[Token], index: int) -> tuple[int, str]:
    for words, name in table.get(tokens[index].text, ()):
        ahead = tokens[index : index + len(words)]
        if tuple(token.text for token in ahead) == words:
            return len(words), name
    return 0, ""


@lru_cache(maxsize=1024)
def _words(name: str) -> tuple[str, ...]:
    try:
        return tuple(each.text for each in tokenize(name)[:-1])
    except ExpressionError:
        return ()


def _insert(table: _Table, name: str) -> None:
    words = _words(name)
    if words and (words, name) not in table.get(words[0], ()):
        rows = [*table.get(words[0], ()), (words, name)]
        table[words[0]] = sorted(rows, key=lambda row: -len(row[0]))


@lru_cache(maxsize=256)
def _table(names: tuple[str, ...]) -> _Table:
    table: _Table = {}
    for name in names:
        _insert(table, name)
    return table
