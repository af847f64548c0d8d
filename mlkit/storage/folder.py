"""Objects as the files of a folder, which may be one that several hosts share."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mlkit.errors import InputMissing, ServiceUnavailable
from mlkit.files import make_folder, remove_leftovers, replacing
from mlkit.storage.objects import Sink, Stored


class FolderObjects:
    """Objects in a folder, which is made for the first one.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder.as_uri()

    def put(self, name: str, content: IO[bytes]) -> None:
        """Write an object, in the place of one of this name."""
        with self._failures():
            make_folder(self.folder, 0o700)
            with replacing(self.folder / name, 0o600) as output:
                shutil.copyfileobj(content, output)

    def get(self, name: str, target: Sink) -> bool:
        """Copy an object into a file; return whether there is one."""
        with self._failures():
            try:
                content = (self.folder / name).open("rb")
            except FileNotFoundError:
                return False
            with content:
                shutil.copyfileobj(content, target)
        return True

    def find(self, name: str) -> Stored | None:
        """Return what is known of an object; None where there is none."""
        with self._failures():
            try:
                known = (self.folder / name).stat()
            except FileNotFoundError:
                return None
        return Stored(name, known.st_size, known.st_mtime)

    def all(self) -> Iterator[Stored]:
        """Yield all objects, in no order."""
        names: list[str] = []
        with self._failures(), contextlib.suppress(FileNotFoundError):
            names = [each.name for each in self.folder.iterdir()]
        for name in names:
            found = self.find(name)
            if found is not None:
                yield found

    def remove(self, name: str) -> None:
        """Remove an object, if there is one."""
        with self._failures(), contextlib.suppress(FileNotFoundError):
            (self.folder / name).unlink()

    def remove_leftovers(self, before: float) -> list[int]:
        """Remove what writers left that died before a time; return the sizes."""
        with self._failures():
            return remove_leftovers(self.folder, before)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (OSError, InputMissing) as error:
            said = error.message if isinstance(error, InputMissing) else error.strerror
            raise ServiceUnavailable(
                f"{self.place}: {said}",
                hint="is the shared folder mounted, and may this user write to it?",
            ) from error
