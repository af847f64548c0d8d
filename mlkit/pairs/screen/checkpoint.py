"""A screen's finished portions on disk, so that one that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import UsageError
from mlkit.files import make_folder, replacing

Arrays = dict[str, NDArray[Any]]
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A directory of portions; without a directory nothing is kept."""

    directory: Path | None = None

    @classmethod
    def open(cls, directory: Path | None, identity: dict[str, Any]) -> Checkpoint:
        """Open a directory for the screen of this identity, and make it if it is missing.

        Raises:
            UsageError: It belongs to a screen of other prices or options.
        """
        if directory is None:
            return cls()
        text = json.dumps({"version": VERSION, **identity}, sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()
        make_folder(directory, 0o700)
        label = directory / "screen.json"
        if label.exists():
            if label.read_text(encoding="utf-8").strip() != key:
                raise UsageError(
                    f"{directory}: belongs to a screen of other prices or options",
                    hint="use another --checkpoint, or remove the directory",
                )
        else:
            with replacing(label) as file:
                file.write(key.encode())
        return cls(directory)

    def load(self, portion: int) -> Arrays | None:
        """Return a finished portion; None if it is not there or damaged."""
        if self.directory is None:
            return None
        try:
            with np.load(self._path(portion), allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, portion: int, arrays: Arrays) -> None:
        """Keep a finished portion."""
        if self.directory is not None:
            with replacing(self._path(portion)) as file:
                np.savez(file, allow_pickle=False, **arrays)

    def _path(self, portion: int) -> Path:
        assert self.directory is not None
        return self.directory / f"portion-{portion:06d}.npz"
