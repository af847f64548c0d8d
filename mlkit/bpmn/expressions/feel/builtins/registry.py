"""How built-in functions are declared: by their signatures, as the standard's tables have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar


class Overload(NamedTuple):
    """One way to call a function.

    Attributes:
        parameters: Their names, for calls by name.
        required: How many of them must be there.
        variadic: Whether more arguments may follow, each like the last.
        function: Takes the evaluation and the arguments.
    """

    parameters: tuple[str, ...]
    required: int
    variadic: bool
    function: Callable[..., Any]


Table = dict[str, list[Overload]]
F = TypeVar("F", bound=Callable[..., Any])


def declare(table: Table, name: str, *signatures: str) -> Callable[[F], F]:
    """Return a decorator that enters a function in a table.

    Args:
        table: Where to.
        name: What the function is called.
        signatures: Its parameters, between commas: `?` after one that may be left out, `*` after
            one that takes any number of arguments.
    """

    def enter(function: F) -> F:
        rows = table.setdefault(name, [])
        rows += [_overload(each, function) for each in signatures]
        return function

    return enter


def _overload(signature: str, function: Callable[..., Any]) -> Overload:
    written = [each.strip() for each in signature.split(",") if each.strip()]
    names = tuple(each.rstrip("?*") for each in written)
    required = sum(not each.endswith("?") for each in written)
    return Overload(names, required, signature.endswith("*"), function)


def by_count(rows: list[Overload], count: int) -> Overload | None:
    """Return the overload that takes a number of arguments."""
    for each in rows:
        if each.required <= count and (count <= len(each.parameters) or each.variadic):
            return each
    return None


def by_names(rows: list[Overload], names: tuple[str, ...]) -> Overload | None:
    """Return the overload that takes arguments of these names."""
    given = set(names)
    for each in rows:
        required = set(each.parameters[: each.required])
        if len(given) == len(names) and required <= given <= set(each.parameters):
            return each
    return None
