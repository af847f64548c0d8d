"""Words that user tasks are searched by, as SQL on the table `open_tasks o`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mlkit.bpmn.journal.listings import OpenTask, Word
from mlkit.bpmn.journal.sql.criteria import HEX, anywhere, like
from mlkit.bpmn.journal.sql.index_rows import alike, names_text

Condition = tuple[str, list[Any]]
_COLUMNS = ("o.due", "o.name")
# A pass over an index of the instances is faster than a look-up of the instance of each task.
_INSTANCES = "o.instance IN (SELECT number FROM instances WHERE {})"


def conditions_of(words: Sequence[Word]) -> list[Condition]:
    """Return the condition of each word, with its values."""
    return [_join(_parts(each)) for each in words]


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


def _parts(word: Word) -> Iterator[Condition]:
    for text in _cases(word.text):
        for condition in (_INSTANCES.format(like("key")), *map(like, _COLUMNS)):
            yield condition, [anywhere(text)]
    if HEX.issuperset(word.text):
        yield _INSTANCES.format("id LIKE ?"), [anywhere(word.text)]
    yield from _among(word.elements, "")
    yield from _among(word.unnamed, " AND coalesce(o.name, '') = ''")
    for each in word.people:
        yield condition_of_people(each)


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
