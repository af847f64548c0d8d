"""The diagrams that instances run, with the files that they use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import msgspec

from mlkit.errors import InputMissing
from mlkit.storage.database import Database


class SqlDefinitions:
    """The stored definitions of a journal, named by their hashes.

    Args:
        database: The journal's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def store(self, file: str, content: bytes, resources: Mapping[str, str]) -> str:
        """Keep, inside a transaction, a diagram with the files that it uses.

        Returns:
            The hash of all of them, which names them.
        """
        extra = json.dumps(dict(resources), sort_keys=True).encode()
        sha256 = hashlib.sha256(b"%d\n%s%s" % (len(content), content, extra)).hexdigest()
        self._database.defer(
            "INSERT INTO definitions (sha256, file, content, resources) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (sha256) DO NOTHING",
            (sha256, file, content, extra),
        )
        return sha256

    def get(self, sha256: str) -> tuple[str, bytes, dict[str, str]]:
        """Return the file name, content and resources of a stored diagram.

        Raises:
            InputMissing: It is gone.
            msgspec.DecodeError: Its resources are damaged.
        """
        found = self._database.query(
            "SELECT file, content, resources FROM definitions WHERE sha256 = ?", (sha256,)
        )
        if not found:
            raise InputMissing(f"{self._database.place}: the definition {sha256[:12]} is gone")
        file, content, resources = found[0]
        return file, content, msgspec.json.decode(resources, type=dict[str, str])
