"""Conditions of searches for instances, as SQL."""

from __future__ import annotations

import json
from typing import Any

from mlkit.bpmn.journal.listings import Criteria
from mlkit.bpmn.journal.sql.index_rows import searchable
from mlkit.errors import UsageError

HAVE_ENDED = "ended IS NOT NULL"
"""The condition of the partial index on the instances that have ended."""
_RUNNING = ("running", "interrupted")
HEX = frozenset("0123456789abcdef")
"""What the ids of instances consist of."""
# Each process once, by look-ups in an index instead of a pass over all instances.
_PROCESSES = (
    "WITH RECURSIVE names (name) AS (SELECT min(process) FROM instances UNION ALL"
    " SELECT (SELECT min(process) FROM instances WHERE process > name) FROM names"
    " WHERE name IS NOT NULL) SELECT name FROM names"
)
Conditions = tuple[list[str], list[Any]]


def conditions(criteria: Criteria, where: list[str], values: list[Any], matches: str) -> Conditions:
    """Return some conditions on instances with those of a search, and their values.

    `matches` is the database's.

    Raises:
        UsageError: A value cannot be searched for.
    """
    for column, value in (
        ("process = ?", criteria.process),
        ("definition = ?", criteria.definition),
        ("key = ?", criteria.key),
        ("created >= ?", criteria.started_after),
        ("created < ?", criteria.started_before),
        ("ended >= ?", criteria.ended_after),
        ("ended < ?", criteria.ended_before),
    ):
        if value is not None:
            where.append(column)
            values.append(value)
    if criteria.ended_after is not None or criteria.ended_before is not None:
        where.append(HAVE_ENDED)
    if criteria.state is not None:
        where.append("phase = ?")
        values.append("running" if criteria.state in _RUNNING else criteria.state)
    if criteria.text is not None:
        _add_text(criteria.text, where, values, matches)
    for name, value in criteria.variables.items():
        text = searchable(value)
        if text is None:
            raise UsageError(f"variable {name!r:.80}: only short scalars can be searched for")
        where.append(
            "number IN (SELECT instance FROM instance_variables WHERE name = ? AND value = ?)"
        )
        values += [name, text]
    return where, values


def _add_text(text: str, where: list[str], values: list[Any], matches: str) -> None:
    """Add that the key, the process or the id holds a text; most texts are a part of no id."""
    pattern = anywhere(text)
    parts = [matches.format("key"), f"process IN ({_PROCESSES} WHERE {matches.format('name')})"]
    values += [pattern, pattern]
    if HEX.issuperset(text.lower()):
        parts.append("id LIKE ?")
        values.append(pattern.lower())
    where.append(f"({' OR '.join(parts)})")


def containing(name: str) -> str:
    """Return the pattern of a list of names that holds one."""
    return anywhere(json.dumps(name, ensure_ascii=False))


def anywhere(text: str) -> str:
    """Return the pattern of what holds a text; `!` escapes."""
    for each in "!%_":
        text = text.replace(each, f"!{each}")
    return f"%{text}%"
