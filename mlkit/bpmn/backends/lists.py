"""What a journal lists without an engine, whose import takes longer than the list."""

from __future__ import annotations

from mlkit.bpmn.backends.protocol import Document
from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Damaged, Row
from mlkit.errors import MlkitError


class JournalLists:
    """Lists what a journal has; see `Lists`.

    Args:
        journal: The journal.
        errors: Where damage is kept.
    """

    def __init__(self, journal: Journal, errors: list[MlkitError]) -> None:
        self.journal = journal
        self.errors = errors

    def instances(self) -> list[Document]:
        """Return all instances, oldest first."""
        rows = self.journal.rows()
        for each in rows:
            try:
                each.require_readable(self.journal.folder)
            except Damaged as error:
                self.errors.append(error)
        return [listed(each) for each in rows]

    def stores(self) -> list[Document]:
        """Return the data stores."""
        found = self.journal.stores.all()
        return [{**each._asdict(), "updated": instant(each.updated)} for each in found]


def listed(row: Row) -> Document:
    """Describe an instance, as lists have it."""
    return {
        "instance": row.id,
        "process": row.process,
        "state": row.phase,
        "business_key": row.key,
        "created": instant(row.created),
        "updated": instant(row.updated),
    }
