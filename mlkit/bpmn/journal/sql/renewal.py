"""What renews a host's lease while the host works: a thread with a connection of its own."""

from __future__ import annotations

import threading

from mlkit.bpmn.journal.sql.leases import LeaseOwner
from mlkit.errors import MlkitError
from mlkit.storage.database import Database, open_database

_RENEWALS = 4
# How often a lease is renewed within its time, so that one lost answer costs nothing.


class RenewedOwner(LeaseOwner):
    """A host whose lease is renewed for as long as its process runs.

    Args:
        database: The journal's.
        url: Where the thread connects to.
        lifetime: Seconds that the lease lasts beyond its last renewal.
    """

    def __init__(self, database: Database, url: str, lifetime: float) -> None:
        super().__init__(database, lifetime)
        self.url = url
        self.closing = threading.Event()
        self.thread: threading.Thread | None = None

    def register(self) -> str:
        """Return this host's name, whose lease holds."""
        name = super().register()
        if self.thread is None:
            self.thread = threading.Thread(target=self._keep, name="lease", daemon=True)
            self.thread.start()
        return name

    def close(self) -> None:
        """Give up the lease, and with it all that this host owns."""
        self.closing.set()
        if self.thread is not None:
            self.thread.join(self.lifetime)
        super().close()

    def _keep(self) -> None:
        """Renew until the end; a database that is away is asked again."""
        database: Database | None = None
        while not self.closing.wait(self.lifetime / _RENEWALS):
            try:
                database = database or open_database(self.url, "journal")
                self.renew(database)
            except MlkitError:
                continue  # The lease ends by itself, and whoever acts looks at it first.
        if database is not None:
            database.close()
