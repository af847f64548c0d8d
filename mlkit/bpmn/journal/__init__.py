"""The journal: the events of every instance, durable before anything follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlkit.errors import ConfigurationError
from mlkit.files import make_folder

if TYPE_CHECKING:  # A look at its functions costs no import of the events.
    from mlkit.bpmn.journal.protocol import Journal


def open_journal(
    folder: Path,
    create: bool = False,
    url: str | None = None,
    lease: float | None = None,
    artifacts: str | None = None,
) -> Journal:
    """Open the journal of a state folder, or one that several hosts share.

    Args:
        folder: The state folder.
        create: Whether to make what is missing.
        url: The PostgreSQL database of the journal; None for a file in the state folder.
        lease: Seconds after which other hosts take over from one that has died; on
            PostgreSQL only, since a file is locked for as long as a process lives.
        artifacts: The URL of the shared store of stored values; None: the one recorded in the
            journal, or the state folder.

    Raises:
        UsageError: It is not a URL of PostgreSQL.
        InputMissing: There is none, and none is to be made.
        ConfigurationError: It is damaged, no journal, or one of a newer mlkit.
        ServiceUnavailable: It cannot be reached, read, written or locked.
    """
    from mlkit.bpmn.journal.sql.journal import SqlJournal
    from mlkit.storage.database import open_database

    if url is None:
        from mlkit.bpmn.journal.sql.locks import LockOwner
        from mlkit.bpmn.journal.sql.schema import FILE_NAME

        return SqlJournal(
            open_database(folder / FILE_NAME, "journal", create),
            LockOwner(folder / "locks"),
            folder,
            artifacts=artifacts,
        )
    from mlkit.bpmn.journal.sql.leases import TIME_TO_LIVE
    from mlkit.bpmn.journal.sql.renewal import RenewedOwner

    database = open_database(url, "journal", create)
    if create:
        try:
            make_folder(folder, 0o700)
        except OSError as error:
            database.close()
            problem = f"{folder}: cannot be made the state folder: {error.strerror}"
            raise ConfigurationError(problem, hint="--state names another one") from error
    owner = RenewedOwner(database, url, lease or TIME_TO_LIVE)
    return SqlJournal(database, owner, folder, database.place, artifacts)


def archive_versions() -> dict[str, int]:
    """Return the version of each component that an archive of this program reads and writes."""
    from mlkit.bpmn.journal.sql.archive import versions

    return versions()
