"""Where hosts share the stored values of a journal: the journal names it to all who open it."""

from __future__ import annotations

import uuid
from pathlib import Path

from mlkit.bpmn.journal.artifacts import ArtifactStore
from mlkit.storage.database import Database
from mlkit.storage.objects import open_objects


class SharedArtifacts:
    """The store of a journal's values, and where it is, as recorded in the journal.

    Args:
        database: The journal's.
        folder: The state folder, which has the values, or copies of shared ones.
        url: The shared store that this process names; None: the one recorded in the journal.
    """

    def __init__(self, database: Database, folder: Path, url: str | None) -> None:
        self._database = database
        self._folder = folder
        self._url = url

    def open(self) -> ArtifactStore:
        """The stored values.

        Raises:
            UsageError, ConfigurationError, ServiceUnavailable: The shared store cannot be used.
        """
        identity, recorded = self._recorded()
        return self._store_at(self._url or recorded, identity)

    def _store_at(self, url: str | None, identity: str) -> ArtifactStore:
        shared = None if url is None else open_objects(url)
        return ArtifactStore(self._folder / "artifacts", shared, identity)

    def _recorded(self) -> tuple[str, str | None]:
        """Return the identity of the journal at its shared store, and the URL of the store."""
        found = self._database.query("SELECT journal, url FROM artifact_store")
        return (str(found[0][0]), str(found[0][1])) if found else ("", None)

    def share(self) -> None:
        """Use the shared store of this process, which others that open the journal find then.

        Raises:
            UsageError, ConfigurationError, ServiceUnavailable: The store cannot be used.
        """
        url = self._url
        if url is None:
            return
        identity, recorded = self._recorded()
        if recorded is not None:
            self._store_at(url, identity).claim(is_new=False)
        if recorded == url:
            return
        with self._database.transaction():
            self._database.lock(["artifact_store"])
            identity, recorded = self._recorded()
            identity = identity or uuid.uuid4().hex
            self._store_at(url, identity).claim(is_new=recorded is None)
            self._database.execute(
                "INSERT INTO artifact_store (one, journal, url) VALUES (1, ?, ?)"
                " ON CONFLICT (one) DO UPDATE SET url = excluded.url",
                (identity, url),
            )
