"""What the search tables of a journal hold of an instance otherwise than its events say."""

from __future__ import annotations

from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.journal.sql.index_rows import list_retries, list_tasks
from mlkit.storage.database import Database


def find_damage(database: Database, row: Row, state: State) -> list[str]:
    """Compare the times of an instance's row, and of its rows in the tables, with its state."""
    if row.due == 0:  # An older version wrote it, and nothing has taken it up since.
        return []
    found = []
    if row.due != state.due:
        found.append(f"its row is due at {row.due}, and its first timer at {state.due}")
    rows = database.query("SELECT ended FROM instances WHERE number = ?", (row.number,))
    expected_end = None if row.is_open else row.updated
    found += [
        f"its end is at {end}, and should be at {expected_end}"
        for (end,) in rows
        if end != expected_end
    ]
    tasks = {(each[0], each[6], each[7]) for each in list_tasks(row.number, state)}
    retries = {(each[0], each[4]) for each in list_retries(state)}
    for table, columns, expected in (
        ("open_tasks", "activation, since, due", tasks),
        ("retries", "activation, due", retries),
    ):
        rows = database.query(f"SELECT {columns} FROM {table} WHERE instance = ?", (row.number,))
        if set(rows) != expected:
            found.append(f"its rows of {table} ({columns}) are not what its events record")
    return found
