"""Deployed definitions: versions of each process, and who deployed them."""

from __future__ import annotations

from typing import Any

import msgspec

from mlkit.bpmn.journal.records import Deployed, encode
from mlkit.bpmn.journal.sql.decoding import decode, find_damage
from mlkit.errors import InputMissing
from mlkit.storage.database import Database

TABLES = """
CREATE TABLE deployments (
  number {id}, process TEXT NOT NULL, version BIGINT NOT NULL, definition TEXT NOT NULL,
  name TEXT NOT NULL, file TEXT NOT NULL, options {blob} NOT NULL,
  at DOUBLE PRECISION NOT NULL, who TEXT NOT NULL
);
CREATE UNIQUE INDEX deployments_by_version ON deployments (process, version);
CREATE INDEX deployments_by_definition ON deployments (definition);
CREATE TABLE starts (
  key TEXT PRIMARY KEY, digest TEXT NOT NULL, instance BIGINT NOT NULL,
  at DOUBLE PRECISION NOT NULL
)
"""
_COLUMNS = "process, version, definition, name, file, options, at, who"


class SqlDeployments:
    """The deployed definitions of a journal; whoever writes is inside a transaction.

    Args:
        database: The journal's.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._newest: dict[str, Deployed] | None = None

    def keep_newest(self, keeps: bool) -> None:
        """Read the newest version of a process once, from now until this is called again."""
        self._newest = {} if keeps else None

    def add(self, deployed: Deployed) -> Deployed:
        """Add a version of a process, unless its newest one is the same; return the newest."""
        self.database.lock([f"deployment {deployed.process}"])
        newest = self._read_newest(deployed.process)
        if newest is not None and newest.definition == deployed.definition:
            return newest
        version = 1 if newest is None else newest.version + 1
        if self._newest is not None:
            self._newest.pop(deployed.process, None)
        self.database.execute(
            f"INSERT INTO deployments ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                deployed.process, version, deployed.definition, deployed.name, deployed.file,
                encode(deployed.options), deployed.at, deployed.by,
            ),
        )  # fmt: skip
        return msgspec.structs.replace(deployed, version=version, is_new=True)

    def newest(self, process: str) -> Deployed | None:
        """Return the newest version of a process."""
        known = None if self._newest is None else self._newest.get(process)
        if known is None:
            known = self._read_newest(process)
            if known is not None and self._newest is not None:
                self._newest[process] = known
        return known

    def _read_newest(self, process: str) -> Deployed | None:
        found = self._find("WHERE process = ? ORDER BY version DESC LIMIT 1", (process,))
        return found[0] if found else None

    def require(self, process: str, version: int | None = None) -> Deployed:
        """Return a version of a process, the newest if none is named.

        Raises:
            InputMissing: It is not deployed.
        """
        if version is None:
            newest = self.newest(process)
            found = [] if newest is None else [newest]
        else:
            found = self._find("WHERE process = ? AND version = ?", (process, version))
        if not found:
            which = process if version is None else f"{process} version {version}"
            raise InputMissing(
                f"there is no definition {which!r:.120}", hint="`mlkit bpmn deploy FILE` adds one"
            )
        return found[0]

    def all(self) -> list[Deployed]:
        """Return the newest version of each process, by its key."""
        return self._find(
            "WHERE version = (SELECT max(version) FROM deployments AS other"
            " WHERE other.process = deployments.process) ORDER BY process",
            (),
        )

    def versions(self, process: str) -> list[Deployed]:
        """Return all versions of a process, newest first."""
        return self._find("WHERE process = ? ORDER BY version DESC", (process,))

    def of_definition(self, process: str, definition: str) -> Deployed | None:
        """Return the version of a process that a stored definition is; None: not deployed."""
        newest = None if self._newest is None else self._newest.get(process)
        if newest is not None and newest.definition == definition:
            return newest
        found = self._find(
            "WHERE definition = ? AND process = ? ORDER BY version DESC LIMIT 1",
            (definition, process),
        )
        return found[0] if found else None

    def _find(self, clause: str, values: tuple[Any, ...]) -> list[Deployed]:
        rows = self.database.query(f"SELECT {_COLUMNS} FROM deployments {clause}", values)
        return [self._read(row) for row in rows]

    def damage(self) -> list[str]:
        """Return the versions that cannot be read."""
        return find_damage(self.database.query(f"SELECT {_COLUMNS} FROM deployments"), self._read)

    def _read(self, row: tuple[Any, ...]) -> Deployed:
        process, version, definition, name, file, options, at, who = row
        what = f"{self.database.place}: version {version} of {process!r}"
        kept = decode(options, dict[str, Any], what)
        return Deployed(process, definition, name, file, kept, at, who, version)

    def find_start(self, key: str) -> tuple[str, int] | None:
        """Return what was started by a key: the digest of the request, and the instance.

        Until the transaction ends nobody else starts something by it.
        """
        self.database.lock([f"start {key}"])
        rows = self.database.query("SELECT digest, instance FROM starts WHERE key = ?", (key,))
        return (str(rows[0][0]), int(rows[0][1])) if rows else None

    def remember(self, key: str, digest: str, instance: int, at: float) -> None:
        """Note what was started by a key."""
        self.database.execute("INSERT INTO starts VALUES (?, ?, ?, ?)", (key, digest, instance, at))
