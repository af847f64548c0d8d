"""What a journal lists without an engine, whose import takes longer than the list."""

from __future__ import annotations

from mlkit.bpmn.backends.protocol import Document
from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.journal.listings import Retried
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Damaged, Row
from mlkit.errors import MlkitError

_PAGE = 500


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
        return [summarize(each) for each in rows]

    def retries(self, process: str | None, element: str | None) -> list[Document]:
        """Return the tasks, of a process and at an element, that wait for another attempt."""
        found: list[Document] = []
        after = (0, 0)
        while rows := self.journal.index.list_retries(process, element, after, _PAGE):
            found += map(_retry, rows)
            after = rows[-1].number, rows[-1].activation
        return found

    def stores(self) -> list[Document]:
        """Return the data stores."""
        found = self.journal.stores.all()
        return [{**each._asdict(), "updated": instant(each.updated)} for each in found]


def _retry(retried: Retried) -> Document:
    return {
        "incident": retried.activation,
        "instance": retried.instance,
        "process": retried.process,
        "element": retried.element,
        "attempt": retried.attempt,
        "message": retried.message,
        "due": instant(retried.due),
    }


def summarize(row: Row) -> Document:
    """Describe an instance, as lists have it."""
    return {
        "instance": row.id,
        "process": row.process,
        "state": row.status,
        "business_key": row.key,
        "created": instant(row.created),
        "updated": instant(row.updated),
    }
