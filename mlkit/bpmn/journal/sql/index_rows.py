"""What the state of an instance shows in the tables of the index."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from mlkit.bpmn.engine.state import Activation, State
from mlkit.bpmn.engine.waits import (
    ForCondition,
    ForMessage,
    ForPerson,
    ForRetry,
    ForSignal,
    ForStart,
    ForTimer,
    ForWorker,
)
from mlkit.bpmn.people.masking import Mask

Rows = tuple[tuple[Any, ...], ...]
LONGEST_VALUE = 200
"""Characters of a value that can be searched for; longer ones are not found."""
LONGEST_ALIKE = 500
"""Characters of an assignment by which tasks are grouped; an index entry has a limited size."""
BESIDE = ("guard", "branch", "trigger", "part")
"""Roles of activations that hold no token of their own."""
_MOST_VARIABLES = 200
_AS_JSON = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` makes one for each value.
_WAITS = (
    (ForTimer, "timer"), (ForMessage, "message"), (ForSignal, "signal"),
    (ForCondition, "condition"), (ForStart, "start"),
)  # fmt: skip
_HAVE_TABLES = (ForPerson, ForWorker, ForRetry)


def list_variables(number: int, state: State) -> Iterator[tuple[int, str, str]]:
    """Yield the rows of an instance's variables that can be searched for."""
    for root in state.roots()[:1]:
        for name, value in list(root.variables.items())[:_MOST_VARIABLES]:
            text = searchable(value)
            if text is not None:
                yield number, name, text


def searchable(value: Any) -> str | None:
    """Return a value as it is searched for: JSON of a short scalar; None for all others."""
    if isinstance(value, dict | list):
        return None
    text = str(value) if type(value) is int else _AS_JSON(value)
    return text if len(text) <= LONGEST_VALUE else None


def list_tasks(number: int, state: State) -> Rows:
    """Return the rows of the user tasks of an instance that wait."""
    return tuple(
        (
            each.id, each.node, wait.name, wait.assignee, users, groups, wait.since, wait.due,
            wait.priority, alike(wait.assignee, users, groups) or f"{number} {each.id}",
        )
        for each in _open(state)
        if not state.suspended
        and each.status == "waiting"
        and isinstance(wait := each.wait, ForPerson)
        for users, groups in [(names_text(wait.users), names_text(wait.groups))]
    )  # fmt: skip


def alike(assignee: str | None, users: str, groups: str) -> str:
    """Return the same text for tasks that wait for the same people; empty where it is too long.

    The migration of the index computes it in SQL.
    """
    found = f"{'-' if assignee is None else '=' + assignee} {users}{groups}"
    return found if len(found) <= LONGEST_ALIKE else ""


def names_text(names: list[str]) -> str:
    """Return names as a column has them."""
    return json.dumps(names, ensure_ascii=False)


def list_incidents(state: State) -> Rows:
    """Return the rows of incidents."""
    found = [
        (each.id, each.node, each.attempt, _open_text(state, each.incident.message))
        for each in _open(state)
        if each.status == "incident" and each.incident is not None
    ]
    if state.status == "running":
        found += [
            (number, state.process, 0, _open_text(state, each.message))
            for number, each in state.defects.items()
            if number not in state.activations
        ]
    return tuple(found)


def list_retries(state: State) -> Rows:
    """Return the rows of tasks that wait for another attempt."""
    return tuple(
        (each.id, each.node, each.attempt, _open_text(state, wait.failure), wait.due)
        for each in _open(state)
        if not state.suspended
        and each.status == "pausing"
        and isinstance(wait := each.wait, ForRetry)
    )


def count_tokens(state: State) -> Rows:
    """Return how many tokens wait where, by what for; those in other tables are left out.

    Returns:
        The id of an element, or of the flow by which a token has come to a join; the kind of the
        wait; the number.
    """
    if state.status != "running":
        return ()
    found = Counter(
        (each.node, kind)
        for each in state.activations.values()
        if each.role not in BESIDE and (kind := _kind(state, each))
    )
    for scope in state.scopes.values():
        for flow, number in scope.arrived.items():
            found[flow, "join"] += number
    return tuple((*place, number) for place, number in sorted(found.items()))


def _kind(state: State, each: Activation) -> str:
    """Return what a token waits for, empty where another table has it or it holds others."""
    if any(
        state.activations[child].role in ("branch", "part")
        for child in each.children
        if child in state.activations
    ):
        return "suspended" if state.suspended else "event"
    if state.suspended:
        return "suspended" if each.status in ("waiting", "pausing", "working", "fetching") else ""
    if each.status != "waiting" or isinstance(each.wait, _HAVE_TABLES):
        return ""
    return next((name for kind, name in _WAITS if isinstance(each.wait, kind)), "event")


def _open_text(state: State, message: str) -> str:
    """Return the beginning of a message, without what variables with names of secrets hold."""
    mask = Mask.of(each.variables for each in state.scopes.values())
    return mask.text(message)[:1000]


def _open(state: State) -> list[Activation]:
    return list(state.activations.values()) if state.status == "running" else []
