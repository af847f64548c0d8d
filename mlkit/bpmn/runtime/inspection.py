"""What is damaged in a state folder."""

from __future__ import annotations

from collections.abc import Iterator

from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime import documents
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import MlkitError


def damage(session: Session) -> list[str]:
    """Return all that is wrong with a journal and its stored values, a line each."""
    found = session.journal.damage()
    for row in session.journal.rows():
        found += _of_instance(session, row)
    return list(dict.fromkeys(found))


def _of_instance(session: Session, row: Row) -> Iterator[str]:
    if row.damage:
        yield f"{session.journal.folder}: instance {row.id}: its row is damaged: {row.damage}"
        return
    try:
        state, last = session.journal.replay(row, session.engine(row))
        session.journal.logs(row)
        session.journal.running_attempts.of(row)
        references = documents.artifacts(session.journal, row)
    except MlkitError as error:
        yield error.message
        return
    wrong = session.journal.index.damage(row, state)
    if last != row.sequence:
        wrong = [f"its row counts {row.sequence} events, and there are {last}"]
    # A row that is another one now has been moved on by its owner meanwhile.
    if wrong and row in session.journal.rows_of([row.number]):
        yield from (f"{session.journal.folder}: instance {row.id}: {each}" for each in wrong)
    named = [(str(each["artifact"]), each["name"]) for each in references]
    named += [(each.hash, path) for path, each in state.files.items() if each.hash]
    for stored, name in named:
        problem = session.journal.artifacts.problem(stored)
        if problem:
            yield f"{session.journal.folder}: instance {row.id}: {name}: {problem}"
