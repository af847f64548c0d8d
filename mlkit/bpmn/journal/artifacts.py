"""Stored values: contents by their hash, in the state folder and where hosts share them.

Scripts read and write the folder. Where there is a shared store, what they left is published
before the commit that names it, and what they need is fetched before they begin. Nothing is used
whose content is not that of its hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mlkit.errors import BadData, ConfigurationError, InputMissing
from mlkit.files import remove_leftovers, replacing
from mlkit.storage.objects import Objects, Stored

FRESH = 1800.0
"""Seconds for which a value that is in the shared store already need not be written again.

Retention leaves what was written within the last hour, whether anything names it or not.
"""
_KNOWN = 600.0
_HASH = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20
_LABEL = "mlkit-journal"
# The object of a shared store, and the file of a folder, that states whose they are.


class ArtifactStore:
    """The stored values of a journal.

    A shared store belongs to one journal, since retention removes what that journal does not name.
    It holds the journal's identity, which also shows that it is the store it should be, and not
    the empty folder below which one is mounted at other times.

    Args:
        folder: Where this host has them.
        shared: Where all hosts have them; None: only here.
        journal: The identity of the journal.
    """

    def __init__(self, folder: Path, shared: Objects | None = None, journal: str = "") -> None:
        self.folder = folder
        self._shared = shared
        self._journal = journal
        self._is_ours = False
        self._sound: set[str] = set()
        self._published: dict[str, float] = {}

    @property
    def is_shared(self) -> bool:
        """Whether hosts share them."""
        return self._shared is not None

    @property
    def shared(self) -> Objects:
        """The shared store, once it is known to be that of the journal.

        Raises:
            ConfigurationError: It is another's, or refuses.
            ServiceUnavailable: It cannot be reached.
        """
        assert self._shared is not None
        if not self._is_ours:
            found = self._label()
            if found != self._journal:
                raise self._foreign(found)
            self._is_ours = True
        return self._shared

    def _label(self) -> str | None:
        assert self._shared is not None
        content = io.BytesIO()
        is_there = self._shared.get(_LABEL, content)
        return content.getvalue().decode("ascii", "replace") if is_there else None

    def _foreign(self, found: str | None) -> ConfigurationError:
        if found is None:
            return ConfigurationError(
                f"{self.place} is not the artifact store of this journal",
                hint="is its folder mounted here? A store that moves is copied as a whole first",
            )
        return ConfigurationError(
            f"{self.place} is the artifact store of another journal",
            hint="each journal needs a folder or prefix of its own",
        )

    def claim(self, is_new: bool) -> None:
        """Make the shared store that of the journal, and publish what this host has.

        Args:
            is_new: Whether the journal has had no store until now.

        Raises:
            ConfigurationError: It is another's, or refuses.
            ServiceUnavailable: It cannot be reached.
        """
        if self._shared is None:
            return
        if is_new and self._label() is None:
            self._shared.put(_LABEL, io.BytesIO(self._journal.encode()))
        shared, note = self.shared, self.folder / _LABEL
        with contextlib.suppress(OSError):
            if note.read_text("ascii", "replace") == self._journal:
                return
        there = {each.name for each in shared.all()}
        for each in self.here():
            if each.name not in there and self.is_here(each.name):
                self.publish(each.name)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(note, 0o600) as file:
            file.write(self._journal.encode())

    @property
    def place(self) -> str:
        """Where they are, for messages."""
        return str(self.folder) if self._shared is None else self._shared.place

    # -- reading ---------------------------------------------------------------------------

    def is_here(self, name: str) -> bool:
        """Return whether a value is in the folder and sound; each is read once for this."""
        if name not in self._sound:
            with contextlib.suppress(OSError), (self.folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == name:
                    self._sound.add(name)
        return name in self._sound and (self.folder / name).exists()

    def is_known_here(self, name: str) -> bool:
        """Return whether a value is here and was found sound before; this reads nothing."""
        return name in self._sound and (self.folder / name).exists()

    def fetch(self, name: str) -> Path:
        """Return the file of a value, which is fetched where it is missing here.

        Raises:
            InputMissing: It is nowhere.
            BadData: It is not what was stored.
            ConfigurationError, ServiceUnavailable: The shared store cannot be used.
        """
        if not is_hash(name):
            raise InputMissing(f"{name!r:.80} is not the hash of a stored value")
        path = self.folder / name
        if self.is_here(name):
            return path
        if not self.is_shared:
            self._refuse(path)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path, 0o600) as file:
            self._copy(name, file)
        self._sound.add(name)
        return path

    def _refuse(self, path: Path) -> None:
        """Raise what is wrong with a value that is only here."""
        if path.is_file() and os.access(path, os.R_OK):
            raise BadData(
                f"{path}: the stored value is not what was stored: its hash differs",
                hint="restore it from a copy; `mlkit bpmn check` finds all that are damaged",
            )
        raise InputMissing(f"the stored value {path.name} is not in {self.folder}")

    def _copy(self, name: str, file: IO[bytes] | None = None) -> None:
        target = _Digesting(file)
        if not self.shared.get(name, target):
            raise InputMissing(f"the stored value {name} is not in {self.place}")
        if target.digest.hexdigest() != name:
            raise BadData(
                f"{self.place}: the stored value {name} is not what was stored: its hash differs",
                hint="restore it from a copy",
            )

    def read(self, name: str) -> bytes:
        """Return a value; see `fetch` for what is raised."""
        content = self.fetch(name).read_bytes()
        if hashlib.sha256(content).hexdigest() != name:
            self._refuse(self.folder / name)
        return content

    def problem(self, name: str) -> str:
        """Return what is wrong with a value, here and in the shared store; empty: nothing."""
        self._sound.discard(name)
        try:
            if self.is_shared and is_hash(name):
                self._copy(name)
            else:
                self.fetch(name)
        except (InputMissing, BadData) as error:
            return error.message
        return ""

    # -- writing ---------------------------------------------------------------------------

    def publish(self, name: str) -> None:
        """Make a value of the folder durable in the shared store, if there is one.

        Raises:
            InputMissing: It is not in the folder.
            BadData: It is not what was stored.
            ConfigurationError, ServiceUnavailable: The shared store cannot be used.
        """
        if self.is_published(name):
            return
        found = self.shared.find(name)
        if found is None or time.time() - found.modified > FRESH:
            if not self.is_here(name):
                if found is not None:
                    return  # It was made elsewhere, and what names it has been committed.
                self._refuse(self.folder / name)
            with (self.folder / name).open("rb") as file:
                self.shared.put(name, file)
        self._published[name] = time.monotonic()

    def is_published(self, name: str) -> bool:
        """Return whether a value is known to be in the shared store, and safe there for a while."""
        at = self._published.get(name)
        return not self.is_shared or (at is not None and time.monotonic() - at < _KNOWN)

    def keep(self, name: str, content: IO[bytes]) -> None:
        """Keep a value that comes from elsewhere.

        Raises:
            BadData: It is not that of its hash.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(self.folder / name, 0o600) as file:
            target = _Digesting(file)
            while part := content.read(_CHUNK):
                target.write(part)
            if target.digest.hexdigest() != name:
                raise BadData(f"the stored value {name[:12]} is damaged in the file")
        self.publish(name)

    # -- all of them -----------------------------------------------------------------------

    def here(self) -> Iterator[Stored]:
        """Yield the values of the folder."""
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                known = path.stat()
                if _HASH.fullmatch(path.name) and path.is_file():
                    yield Stored(path.name, known.st_size, known.st_mtime)

    def all(self) -> Iterator[Stored]:
        """Yield all values, of the shared store where there is one."""
        if not self.is_shared:
            return self.here()
        return (each for each in self.shared.all() if _HASH.fullmatch(each.name))

    def remove_leftovers(self, before: float) -> list[int]:
        """Remove what writers left that died before a time, such as a script that was killed.

        Args:
            before: Seconds since 1970.

        Returns:
            Their sizes.
        """
        here = remove_leftovers(self.folder, before)
        return here + self.shared.remove_leftovers(before) if self.is_shared else here

    def remove(self, each: Stored, youngest: float) -> bool:
        """Remove a value that `all` or `here` has found, unless it was stored again since a time.

        Returns:
            Whether it has gone.
        """
        self._sound.discard(each.name)
        self._published.pop(each.name, None)
        path = self.folder / each.name
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < youngest:
                path.unlink()
        if not self.is_shared:
            return not path.exists()
        found = self.shared.find(each.name)
        if found is None or found.modified >= youngest:
            return False
        self.shared.remove(each.name)
        return True


class _Digesting:
    """A file that is written, with the digest of what was."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, part: bytes, /) -> int:
        self.digest.update(part)
        return len(part) if self.file is None else self.file.write(part)


def references(value: object) -> Iterator[dict[str, object]]:
    """Yield the references to stored values in a value, in order."""
    if isinstance(value, dict):
        if "$artifact" in value:
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def names(value: object) -> set[str]:
    """Return the hashes of the stored values in a value; what is no hash names none."""
    found = (str(each["$artifact"]) for each in references(value))
    return set(filter(is_hash, found))


def is_hash(name: str) -> bool:
    """Return whether a name may be that of a stored value."""
    return _HASH.fullmatch(name) is not None
