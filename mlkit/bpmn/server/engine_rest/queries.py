"""Filters, orders and pages of lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mlkit.bpmn.journal.external import Condition
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.engine_rest import typed
from mlkit.bpmn.server.engine_rest.errors import RestError, invalid
from mlkit.bpmn.server.engine_rest.fields import Fields
from mlkit.workers.child.values import unpack

_NONE = Condition("number", "<", (0,))
_TASK_SORTS = {
    "id": "number", "lockExpirationTime": "expires", "processInstanceId": "name",
    "processDefinitionId": "definition", "processDefinitionKey": "process",
    "tenantId": "number", "taskPriority": "priority", "createTime": "number",
}  # fmt: skip
_EQUAL = {
    "externalTaskId": "id", "topicName": "topic", "workerId": "worker", "activityId": "element",
    "processInstanceId": "name", "executionId": "id",
}  # fmt: skip
_AMONG = {
    "externalTaskIdIn": "id", "activityIdIn": "element", "processInstanceIdIn": "name",
}  # fmt: skip
_PRIORITIES = {"priorityHigherThanOrEquals": ">=", "priorityLowerThanOrEquals": "<="}
_MOMENTS = {"lockExpirationAfter": ">", "lockExpirationBefore": "<"}


def page(given: Fields) -> tuple[int | None, int]:
    """Return the size of a page, None for everything, and where it begins."""
    for name in ("maxResults", "firstResult"):
        if name in given.values:
            try:
                int(given.values[name])
            except ValueError:
                raise RestError(404, "QueryParamException", "HTTP 404 Not Found") from None
    limit, offset = given.number("maxResults"), given.number("firstResult") or 0
    if (limit is not None and limit < 0) or offset < 0:
        raise RestError(500, "ProcessEngineException", "maxResults is not greater than 0", 0)
    return limit, offset


# -- external tasks ------------------------------------------------------------------------


def task_conditions(given: Fields, now: float) -> list[Condition]:
    """Return the conditions of a list of external tasks."""
    found = []
    for name, column in _EQUAL.items():
        if (value := given.text(name)) is not None:
            found.append(Condition(column, "=", (value,)))
    for name, column in _AMONG.items():
        if (values := given.texts(name)) is not None:
            found.append(Condition(column, "IN", values))
    for name, operator in _PRIORITIES.items():
        if (number := given.number(name)) is not None:
            found.append(Condition("priority", operator, (number,)))
    for name, operator in _MOMENTS.items():
        if (moment := given.moment(name)) is not None:
            found.append(Condition("expires", operator, (moment.timestamp(),)))
    if (definition := given.text("processDefinitionId")) is not None:
        found += definition_conditions([definition])
    return [*found, *_flags(given, now)]


def _flags(given: Fields, now: float) -> list[Condition]:
    """Return the conditions that a flag asks for; no task has a tenant."""
    asked = {
        "locked": Condition("expires", ">", (now,)),
        "notLocked": Condition("expires", "NULL OR <=", (now,)),
        "withRetriesLeft": Condition("retries", "NULL OR >", (0,)),
        "noRetriesLeft": Condition("retries", "=", (0,)),
        "suspended": Condition("instance", "SUSPENDED", ()),
        "active": Condition("instance", "ACTIVE", ()),
    }
    found = [condition for name, condition in asked.items() if given.flag(name)]
    return [*found, *([_NONE] if given.texts("tenantIdIn") else [])]


def definition_conditions(identifiers: list[str]) -> list[Condition]:
    """Return the conditions for tasks of process definitions."""
    pairs = [definition_of(each) for each in identifiers]
    return [
        Condition("process", "IN", tuple(process for process, _ in pairs)),
        Condition("definition", "IN", tuple(sha256 for _, sha256 in pairs)),
    ]


def task_order(given: Fields) -> list[tuple[str, str]]:
    """Return by which columns a list of external tasks is sorted."""
    return [(_TASK_SORTS[name], direction) for name, direction in order(given, _TASK_SORTS)]


def order(given: Fields, known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return by what a list is sorted: `sortBy` and `sortOrder`, or the `sorting` of a body."""
    parts = [given] if given.is_query else given.items("sorting")
    found = []
    for part in parts:
        by, direction = part.text("sortBy"), part.text("sortOrder")
        if by is None and direction is None:
            continue
        if by is None or direction is None:
            raise invalid(
                "Only a single sorting parameter specified. sortBy and sortOrder required"
            )
        for name, value, among in (("sortBy", by, known), ("sortOrder", direction, _DIRECTIONS)):
            if value not in among:
                raise invalid(f"Cannot set query parameter '{name}' to value '{value}'")
        found.append((by, direction))
    return found


_DIRECTIONS = ("asc", "desc")


# -- variables -----------------------------------------------------------------------------


class Comparison(NamedTuple):
    """A condition on a variable."""

    name: str
    operator: str
    value: Any


def variables_of(given: Fields, name: str) -> list[Comparison]:
    """Return conditions on variables: `name_eq_value` in a query, objects in a body.

    Values of a query are texts, and hold for variables that are texts.
    """
    if given.is_query:
        return [_parse_comparison(given, name, each) for each in given.texts(name) or () if each]
    found = []
    for each in given.items(name):
        key, operator = each.text("name"), each.text("operator") or "eq"
        if key is None or operator not in _COMPARE:
            raise given.wrong(name, "each has a name, an operator and a value")
        found.append(Comparison(key, operator, each.values.get("value")))
    return found


def _parse_comparison(given: Fields, name: str, text: str) -> Comparison:
    key, _, rest = text.partition("_")
    operator, separator, value = rest.partition("_")
    if not separator or operator not in _COMPARE:
        raise given.wrong(name, "variable query parameter has to have format KEY_OPERATOR_VALUE")
    return Comparison(key, operator, value)


def holds_openly(service: Service, row: Row, wanted: list[Comparison]) -> bool:
    """Return whether all conditions hold for an instance; none does for a secret of it."""
    if not wanted:
        return True
    if any(service.session.hides(row, each.name) for each in wanted):
        return False
    return holds(service, row.number, wanted)


def holds(service: Service, instance: int, wanted: list[Comparison]) -> bool:
    """Return whether all conditions hold for the variables of an instance."""
    state = service.session.state(service.journal.get(instance))
    known = next((each.variables for each in state.roots()), {})
    return all(_compare(known, each) for each in wanted)


def _compare(known: Mapping[str, Any], wanted: Comparison) -> bool:
    if wanted.name not in known:
        return False
    value = unpack(known[wanted.name])
    shown = typed.encode(known[wanted.name]).value
    try:
        compare = _COMPARE[wanted.operator]
        return compare(value, wanted.value) or compare(shown, wanted.value)
    except TypeError:
        return False


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def like(one: Any, other: Any) -> bool:
    """Return whether a text fits a pattern in which `%` stands for anything."""
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    parts = other.split("%")
    if len(parts) == 1:
        return one == other
    if not one.startswith(parts[0]) or not one.endswith(parts[-1]):
        return False
    at = len(parts[0])
    for part in parts[1:-1]:
        at = one.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return at <= len(one) - len(parts[-1])


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": _same,
    "neq": lambda one, other: not _same(one, other),
    "gt": lambda one, other: bool(one > other),
    "gteq": lambda one, other: bool(one >= other),
    "lt": lambda one, other: bool(one < other),
    "lteq": lambda one, other: bool(one <= other),
    "like": like,
}


def definition_of(identifier: str) -> tuple[str, str]:
    """Return the process and the hash that the id of a process definition names."""
    process, _, rest = identifier.partition(":")
    return process, rest.rpartition(":")[2]
