"""Words that user tasks are searched by, as SQL on the table `open_tasks o`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mlkit.bpmn.journal.listings import OpenTask, Word
from mlkit.bpmn.journal.sql.criteria import HEX, anywhere
from mlkit.bpmn.journal.sql.index_rows import alike, names_text

Condition = tuple[str, list[Any]]
_COLUMNS = ("o.due", "o.name")
# A pass over an index of the instances is faster than a look-up of the instance of each task.
_INSTANCES = "o.instance IN (SELECT number FROM instances WHERE {})"

# Each element with tasks once, by look-ups in an index instead of a pass over all tasks.
ELEMENTS = (
    "WITH RECURSIVE d (definition) AS (SELECT min(definition) FROM open_tasks UNION ALL"
    " SELECT (SELECT min(definition) FROM open_tasks o WHERE o.definition > d.definition)"
    " FROM d WHERE definition IS NOT NULL),"
    " p (definition, process) AS (SELECT definition, (SELECT min(process) FROM open_tasks o"
    " WHERE o.definition = d.definition) FROM d WHERE definition IS NOT NULL UNION ALL"
    " SELECT definition, (SELECT min(process) FROM open_tasks o"
    " WHERE o.definition = p.definition AND o.process > p.process) FROM p"
    " WHERE process IS NOT NULL),"
    " e (definition, process, element) AS (SELECT definition, process,"
    " (SELECT min(element) FROM open_tasks o WHERE o.definition = p.definition"
    " AND o.process = p.process) FROM p WHERE process IS NOT NULL UNION ALL"
    " SELECT definition, process, (SELECT min(element) FROM open_tasks o"
    " WHERE o.definition = e.definition AND o.process = e.process AND o.element > e.element)"
    " FROM e WHERE element IS NOT NULL)"
    " SELECT definition, process, element, (SELECT o.instance FROM open_tasks o"
    " WHERE o.definition = e.definition AND o.process = e.process AND o.element = e.element"
    " LIMIT 1) FROM (SELECT * FROM e WHERE element IS NOT NULL) e"
)
"""A query for the places of tasks, each with an instance; a condition may follow."""


def conditions_of(words: Sequence[Word], matches: str) -> list[Condition]:
    """Return the condition of each word, with its values; `matches` is the database's."""
    return [_join(_parts(each, matches)) for each in words]


def keys_of(words: Sequence[Word], most: int, matches: str) -> Condition:
    """Return a query for the instances and activations of the tasks that have all of some words.

    Each part of it finds its tasks by an index, or in one pass over a narrow one, where a condition
    on each task would be a look-up for each. Of more than `most` it finds no less than that.

    Args:
        words: The words; at least one.
        most: How many are of use.
        matches: The database's.
    """
    # What is cut off here could have the other words.
    limit = f" LIMIT {most}" if len(words) == 1 else ""
    sets: list[str] = []
    values: list[Any] = []
    for word in words:
        parts = list(_parts(word, matches))
        selects = (
            f"SELECT * FROM (SELECT o.instance, o.activation FROM open_tasks o WHERE {text}{limit})"
            f" part{number}"
            for number, (text, _) in enumerate(parts)
        )
        sets.append(f"SELECT * FROM ({' UNION '.join(selects)}) word{len(sets)}")
        values += [value for _, more in parts for value in more]
    return " INTERSECT ".join(sets), values


def condition_of_people(task: OpenTask) -> Condition:
    """Return the condition for tasks that are assigned as one is, with its values."""
    users, groups = names_text(task.users), names_text(task.groups)
    if text := alike(task.assignee, users, groups):
        return "o.process = ? AND o.alike = ?", [task.process, text]
    values = [task.process, users, groups]
    text = "o.process = ? AND o.users = ? AND o.teams = ? AND o.assignee"
    if task.assignee is None:
        return f"{text} IS NULL", values
    return f"{text} = ?", [*values, task.assignee]


def _parts(word: Word, matches: str) -> Iterator[Condition]:
    # What costs least comes first: where it holds, the others are not evaluated.
    for each in word.people:
        yield condition_of_people(each)
    yield from _among(word.elements, "")
    yield from _among(word.unnamed, " AND coalesce(o.name, '') = ''")
    for text in _cases(word.text):
        pattern = anywhere(text)
        yield " OR ".join(map(matches.format, _COLUMNS)), [pattern] * len(_COLUMNS)
        yield _INSTANCES.format(matches.format("key")), [pattern]
    if HEX.issuperset(word.text):
        yield _INSTANCES.format("id LIKE ?"), [anywhere(word.text)]


def _cases(text: str) -> Iterable[str]:
    """Return how a text may be written: SQLite knows the cases of ASCII alone."""
    return [text] if text.isascii() else dict.fromkeys((text, text.upper(), text.capitalize()))


def _among(places: Sequence[tuple[str, str]], more: str) -> Iterator[Condition]:
    if places:
        rows = ", ".join(["(?, ?)"] * len(places))
        values = [value for place in places for value in place]
        yield f"(o.definition, o.element) IN (VALUES {rows}){more}", values


def _join(parts: Iterator[Condition]) -> Condition:
    found = list(parts)
    text = " OR ".join(f"({each})" for each, _ in found)
    return f"({text})", [value for _, values in found for value in values]
