"""What is damaged in a state folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

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
        session.state(row)
        session.journal.logs(row)
        references = documents.artifacts(session.journal, row)
    except MlkitError as error:
        yield error.message
        return
    for each in references:
        problem = _of_artifact(session.journal.folder / "artifacts", each["artifact"])
        if problem:
            yield f"{session.journal.folder}: instance {row.id}: {each['name']}: {problem}"


def _of_artifact(folder: Path, name: str) -> str:
    try:
        with (folder / name).open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == name
    except OSError as error:
        return f"the stored value {name[:12]} cannot be read: {error.strerror}"
    return "" if same else f"the stored value {name[:12]} is not what was stored"
