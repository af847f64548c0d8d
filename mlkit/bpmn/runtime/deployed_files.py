"""The files of deployed definitions, in the state folder of each host that runs them."""

from __future__ import annotations

import logging
from pathlib import Path

from mlkit.bpmn.definition.parser.library import file_of
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Row
from mlkit.files import replacing_folder

_FOLDER = "deployed"
logger = logging.getLogger("mlkit.bpmn")


def folder_of(journal: Journal, row: Row) -> str:
    """Return the folder of the files that an instance uses.

    That of a deployed definition is made where it is missing: another host, or another state folder
    from which the journal was moved, may have started the instance.
    """
    kept = str(row.options.get("folder", ""))
    if not _is_deployed(kept, row):
        return kept
    return str(materialise(journal.folder, journal, row.definition))


def explain_missing(folder: str, row: Row) -> str:
    """Return that the folder of a diagram is missing, and how its instance goes on.

    Empty where it is there.
    """
    if not folder or Path(folder).is_dir():
        return ""
    hint = "put it back and retry, or deploy the diagram and migrate the instance"
    if _is_deployed(folder, row):  # The next attempt makes it.
        hint = "retry"
    return f"the folder of the diagram is missing: {folder} ({hint})"


def _is_deployed(folder: str, row: Row) -> bool:
    return Path(folder).parts[-2:] == (_FOLDER, row.definition)


def materialise(state: Path, journal: Journal, definition: str) -> Path:
    """Return the folder of a deployed definition's files, which is made where it is missing."""
    folder = (state / _FOLDER / definition).resolve()
    if folder.is_dir():
        return folder
    file, content, resources = journal.definition(definition)
    parts = {file: content, **{name: text.encode() for name, text in resources.items()}}
    try:
        with replacing_folder(folder) as made:
            for name, part in parts.items():
                place = made / file_of(name)
                if place.resolve().is_relative_to(made.resolve()):
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(part)
    except OSError as error:
        # Another process may have made it meanwhile: it is the same. Else scripts that need no file
        # go on, and for the others the log records why they fail.
        if not folder.is_dir():
            logger.warning("%s: files of a deployed definition are missing: %s", folder, error)
    return folder
