"""User tasks that words find: all are read at once where they are few, else lists ask the index."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlkit.bpmn.journal.listings import Alike, OpenTask, Word
from mlkit.bpmn.journal.sql.index_rows import names_text
from mlkit.bpmn.journal.sql.task_search import keys_of

if TYPE_CHECKING:
    from mlkit.bpmn.journal.sql.index import SqlIndex

MOST = 10_000
"""Tasks that are read at once."""
_COLUMNS = "o.instance, o.activation, o.since, o.process, o.assignee, o.users, o.teams"


class SqlFoundTasks:
    """User tasks that have all of some words; of none, all tasks.

    Args:
        index: Where they are searched.
        words: The words.
    """

    def __init__(self, index: SqlIndex, words: Sequence[Word]) -> None:
        self._index = index
        self._words = words
        self._rows = self._read() if words else None

    def _read(self) -> list[Any] | None:
        """Return the tasks; None where they are many."""
        keys, values = keys_of(self._words, MOST + 1, self._index.database.matches)
        # The order of this join is that of its tables.
        rows = self._index.database.query(
            f"SELECT {_COLUMNS} FROM ({keys}) found CROSS JOIN open_tasks o"
            " WHERE o.instance = found.instance AND o.activation = found.activation LIMIT ?",
            (*values, MOST + 1),
        )
        if len(rows) > MOST:
            return None
        return [each for each in rows if self._index.reads(each[3])]

    def assignments(self) -> list[Alike]:
        """Return for whom they wait: those of a process that wait for the same people."""
        if self._rows is None:
            return self._index.assignments(self._words)
        counts = Counter(tuple(each[3:]) for each in self._rows)
        return [
            Alike(
                OpenTask(
                    0, "", process, "", 0, "", None, assignee, json.loads(users),
                    json.loads(teams), 0.0, None, None,
                ),
                number,
            )
            for (process, assignee, users, teams), number in counts.items()
        ]  # fmt: skip

    def oldest(self, assigned: Sequence[OpenTask], limit: int) -> list[OpenTask]:
        """Return the oldest of those that are assigned as one of some others is."""
        if self._rows is None:
            return self._index.oldest_tasks(assigned, limit, self._words)
        wanted = {
            (each.process, each.assignee, names_text(each.users), names_text(each.groups))
            for each in assigned
        }
        chosen = [each for each in self._rows if tuple(each[3:]) in wanted]
        chosen.sort(key=lambda each: each[2])
        return self._index.tasks_of([each[:2] for each in chosen[:limit]])
