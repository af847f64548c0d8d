"""The journal: the events of every instance, durable before anything follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlkit.bpmn.journal.sql.journal import SqlJournal


def open_journal(folder: Path, create: bool = False) -> SqlJournal:
    """Open the journal of a state folder.

    Args:
        folder: The state folder.
        create: Whether to make what is missing.

    Raises:
        InputMissing: There is none, and none is to be made.
        ConfigurationError: It is damaged, no journal, or one of a newer mlkit.
        ServiceUnavailable: It cannot be read, written or locked.
    """
    from mlkit.bpmn.journal.sql.journal import SqlJournal
    from mlkit.bpmn.journal.sql.locks import LockOwner
    from mlkit.bpmn.journal.sql.schema import FILE_NAME
    from mlkit.storage.sqlite import SqliteDatabase

    database = SqliteDatabase(folder / FILE_NAME, "journal", create)
    return SqlJournal(database, LockOwner(folder / "locks"), folder)
