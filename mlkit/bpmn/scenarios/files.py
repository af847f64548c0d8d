"""The files that a scenario of a server needs, written beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlkit.bpmn.definition.parser.library import file_of
from mlkit.bpmn.runtime.deployment import plain
from mlkit.errors import UsageError
from mlkit.files import replacing


def write_files(files: Mapping[str, bytes], folder: Path) -> list[str]:
    """Write the files of a definition into a folder, where the same are not there already.

    Nothing is written unless all can be.

    Args:
        files: A diagram, and the scripts, forms, decisions and called diagrams that it uses.
        folder: Where they are to be.

    Returns:
        The names of those that were written.

    Raises:
        UsageError: A name leads out of the folder, or another file has it.
    """
    places = {_place(folder, file_of(name)): content for name, content in files.items()}
    missing = {place: content for place, content in places.items() if _lacks(place, content)}
    for place, content in missing.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as file:
            file.write(content)
    return [str(place.relative_to(folder)) for place in missing]


def _place(folder: Path, name: str) -> Path:
    place = folder / plain(name)
    if not place.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{name!r:.120} leads out of {folder}", hint="is it a link?")
    return place


def _lacks(place: Path, content: bytes) -> bool:
    if not place.exists():
        return True
    if not place.is_file() or place.read_bytes() != content:
        raise UsageError(
            f"{place}: another file has the name of one that the scenario needs",
            hint="write the scenario into another folder, or --no-files plays what is there",
        )
    return False
