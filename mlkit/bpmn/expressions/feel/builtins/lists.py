"""Functions of lists (DMN 1.5, 10.3.4.4), with some of Camunda 8."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import cmp_to_key
from typing import Any

from mlkit.bpmn.expressions.feel.apply import apply
from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.builtins.arguments import entries, index, items, numeric, values
from mlkit.bpmn.expressions.feel.builtins.registry import Table, declare
from mlkit.bpmn.expressions.feel.comparison import compare, equal, key
from mlkit.bpmn.expressions.feel.numbers import CONTEXT, whole
from mlkit.bpmn.expressions.feel.values import Function, Refused

LISTS: Table = {}
_MAX_LEVELS = 200


@declare(LISTS, "list contains", "list, element")
def _contains(run: Run, whole_list: Any, element: Any) -> bool:
    return any(equal(run, each, element) is True for each in items(whole_list))


@declare(LISTS, "count", "list")
def _count(run: Run, whole_list: Any) -> Decimal:
    return Decimal(len(items(whole_list)))


def _extreme(name: str, op: str) -> None:
    @declare(LISTS, name, "list*")
    def _extreme_of(run: Run, *arguments: Any) -> Any:
        given = values(arguments)
        if not given:
            return None
        found = given[0]
        for each in given:
            first = compare(op, each, found)
            if first is None:
                raise Refused
            found = each if first else found
        return found


_extreme("min", "lt")
_extreme("max", "gt")


@declare(LISTS, "sum", "list*")
def _sum(run: Run, *arguments: Any) -> Decimal:
    return _total(_numbers(arguments))


def _numbers(arguments: tuple[Any, ...]) -> list[Decimal]:
    found = [numeric(each) for each in values(arguments)]
    if not found:
        raise Refused
    return found


def _total(numbers: list[Decimal]) -> Decimal:
    total = numbers[0]
    for each in numbers[1:]:
        total = CONTEXT.add(total, each)
    return total


def _mean_of(numbers: list[Decimal]) -> Decimal:
    return CONTEXT.divide(_total(numbers), Decimal(len(numbers)))


@declare(LISTS, "mean", "list*")
def _mean(run: Run, *arguments: Any) -> Decimal:
    return _mean_of(_numbers(arguments))


@declare(LISTS, "product", "list*")
def _product(run: Run, *arguments: Any) -> Decimal:
    found = Decimal(1)
    for each in _numbers(arguments):
        found = CONTEXT.multiply(found, each)
    return found


@declare(LISTS, "median", "list*")
def _median(run: Run, *arguments: Any) -> Decimal:
    numbers = sorted(_numbers(arguments))
    middle = len(numbers) // 2
    return numbers[middle] if len(numbers) % 2 else _mean_of(numbers[middle - 1 : middle + 1])


@declare(LISTS, "stddev", "list*")
def _stddev(run: Run, *arguments: Any) -> Decimal:
    """Return the standard deviation of a sample."""
    numbers = _numbers(arguments)
    if len(numbers) < 2:
        raise Refused
    mean = _mean_of(numbers)
    squares = [CONTEXT.power(CONTEXT.subtract(each, mean), 2) for each in numbers]
    return CONTEXT.sqrt(CONTEXT.divide(_total(squares), Decimal(len(numbers) - 1)))


@declare(LISTS, "mode", "list*")
def _mode(run: Run, *arguments: Any) -> list[Decimal]:
    counts = Counter(numeric(each) for each in values(arguments))
    most = max(counts.values(), default=0)
    return sorted(each for each, count in counts.items() if count == most)


def _declare_quantifier(name: str, deciding: bool) -> None:
    @declare(LISTS, name, "list*")
    def _quantified_of(run: Run, *arguments: Any) -> bool | None:
        given = values(arguments)
        if any(each is deciding for each in given):
            return deciding
        return (not deciding) if all(type(each) is bool for each in given) else None


_declare_quantifier("all", False)
_declare_quantifier("any", True)


@declare(LISTS, "sublist", "list, start position, length?")
def _sublist(run: Run, whole_list: Any, start: Any, length: Any = None) -> list[Any]:
    given = items(whole_list)
    at = index(start, len(given))
    if length is None:
        return given[at:]
    count = whole(length)
    if count < 0 or at + count > len(given):
        raise Refused
    return given[at : at + count]


@declare(LISTS, "append", "list, item*")
def _append(run: Run, whole_list: Any, *more: Any) -> list[Any]:
    return [*items(whole_list), *more]


@declare(LISTS, "concatenate", "list*")
def _concatenate(run: Run, *lists: Any) -> list[Any]:
    return [each for one in lists for each in items(one)]


@declare(LISTS, "insert before", "list, position, newItem")
def _insert(run: Run, whole_list: Any, position: Any, new: Any) -> list[Any]:
    given = items(whole_list)
    at = index(position, len(given))
    return [*given[:at], new, *given[at:]]


@declare(LISTS, "remove", "list, position")
def _remove(run: Run, whole_list: Any, position: Any) -> list[Any]:
    given = items(whole_list)
    at = index(position, len(given))
    return [*given[:at], *given[at + 1 :]]


@declare(LISTS, "list replace", "list, position, newItem", "list, match, newItem")
def _replace(run: Run, whole_list: Any, position: Any, new: Any) -> list[Any]:
    given = items(whole_list)
    if type(position) is not Function:
        at = index(position, len(given))
        return [*given[:at], new, *given[at + 1 :]]
    chosen = [_is_match(run, position, each, new) for each in given]
    return [new if found else each for found, each in zip(chosen, given, strict=True)]


def _is_match(run: Run, match: Function, item: Any, new: Any) -> bool:
    found = apply(run, match, [item, new])
    if type(found) is not bool:
        raise Refused
    return found


@declare(LISTS, "reverse", "list")
def _reverse(run: Run, whole_list: Any) -> list[Any]:
    return items(whole_list)[::-1]


@declare(LISTS, "index of", "list, match")
def _index_of(run: Run, whole_list: Any, match: Any) -> list[Decimal]:
    given = enumerate(items(whole_list), start=1)
    return [Decimal(at) for at, each in given if equal(run, each, match) is True]


@declare(LISTS, "distinct values", "list")
def _distinct(run: Run, whole_list: Any) -> list[Any]:
    first: dict[Any, Any] = {}
    for each in items(whole_list):
        first.setdefault(key(run, each), each)
    return list(first.values())


@declare(LISTS, "union", "list*")
def _union(run: Run, *lists: Any) -> list[Any]:
    return _distinct(
        run, [each for one in lists for each in ([None] if one is None else items(one))]
    )


@declare(LISTS, "duplicate values", "list")
def _duplicates(run: Run, whole_list: Any) -> list[Any]:
    given = [(key(run, each), each) for each in items(whole_list)]
    counts = Counter(each for each, _ in given)
    return list({each: value for each, value in reversed(given) if counts[each] > 1}.values())[::-1]


@declare(LISTS, "flatten", "list")
def _flatten(run: Run, whole_list: Any) -> list[Any]:
    flat: list[Any] = []
    _flatten_into(run, flat, items(whole_list), 0)
    return flat


def _flatten_into(run: Run, flat: list[Any], given: list[Any], level: int) -> None:
    if level > _MAX_LEVELS:
        raise LimitReached("lists nest too deeply")
    run.charge(len(given))
    for each in given:
        if type(each) is list:
            _flatten_into(run, flat, each, level + 1)
        else:
            flat.append(each)


@declare(LISTS, "sort", "list, precedes?")
def _sort(run: Run, whole_list: Any, precedes: Any = None) -> list[Any]:
    given = items(whole_list)
    before = _natural(run) if precedes is None else _by_function(run, precedes)

    def compare(one: Any, other: Any) -> int:
        return -1 if before(one, other) else int(before(other, one))

    return sorted(given, key=cmp_to_key(compare))


def _natural(run: Run) -> Callable[[Any, Any], bool]:
    def before(one: Any, other: Any) -> bool:
        run.charge(1)
        found = compare("lt", one, other)
        if found is None:
            raise Refused
        return found

    return before


def _by_function(run: Run, precedes: Any) -> Callable[[Any, Any], bool]:
    if type(precedes) is not Function or (not precedes.name and len(precedes.parameters) != 2):
        raise Refused

    def before(one: Any, other: Any) -> bool:
        found = apply(run, precedes, [one, other])
        if type(found) is not bool:  # null, where what is compared has no order
            raise Refused
        return found

    return before


@declare(LISTS, "is empty", "list")
def _is_empty(run: Run, whole_list: Any) -> bool:
    return not items(whole_list)


@declare(LISTS, "partition", "list, size")
def _partition(run: Run, whole_list: Any, size: Any) -> list[list[Any]]:
    given, count = items(whole_list), whole(size)
    if count < 1:
        raise Refused
    return [given[at : at + count] for at in range(0, len(given), count)]


# -- contexts (10.3.4.8) -----------------------------------------------------------------------


@declare(LISTS, "get value", "m, key", "context, key", "context, keys")
def _get(run: Run, context: Any, name: Any) -> Any:
    if type(name) is not list:
        return entries(context).get(_key(name))
    found = context
    for each in name:
        found = entries(found)[_key(each)]
    return found


def _key(name: Any) -> str:
    if type(name) is not str:
        raise Refused
    return name


@declare(LISTS, "get entries", "m", "context")
def _entries(run: Run, context: Any) -> list[dict[str, Any]]:
    return [{"key": name, "value": value} for name, value in entries(context).items()]


@declare(LISTS, "context", "entries")
def _context(run: Run, given: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for each in items(given):
        name = _key(entries(each)["key"])
        if name in made:
            raise Refused
        made[name] = each["value"]
    return made


@declare(LISTS, "context put", "context, key, value", "context, keys, value")
def _put(run: Run, context: Any, name: Any, value: Any) -> dict[str, Any]:
    if type(name) is not list:
        return {**entries(context), _key(name): value}
    if not name:
        raise Refused
    return _put_deep(run, entries(context), name, value)


def _put_deep(run: Run, context: Any, names: list[Any], value: Any) -> dict[str, Any]:
    if len(names) > _MAX_LEVELS:
        raise LimitReached("contexts nest too deeply")
    run.charge(len(context) + len(names))
    first, *rest = names
    if not rest:
        return {**entries(context), _key(first): value}
    inner = context.get(_key(first))
    inner = {} if inner is None else entries(inner)
    return {**entries(context), first: _put_deep(run, inner, rest, value)}


@declare(LISTS, "context merge", "contexts")
def _merge(run: Run, contexts: Any) -> dict[str, Any]:
    given = [entries(each) for each in items(contexts)]
    run.charge(sum(map(len, given)))
    return {name: value for each in given for name, value in each.items()}
