"""Which host owns what, by the clock of the database they share: a lease that is renewed.

A host is a row with a time of expiry, and the instances' rows hold its name. One renewal serves
all that it owns. An expired row cannot be renewed, and whoever takes over from it removes it
first: no clock that is set back brings a dead host to life. The host itself counts from before it
asked for the lease, on a clock that runs on while it is stopped, and so is the first to know that
the lease has ended.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from mlkit.errors import MlkitError, ServiceUnavailable
from mlkit.storage.database import Database

TIME_TO_LIVE = 8.0
"""Seconds that a host's lease lasts beyond its last renewal."""
_SAFETY = 0.1
# The part of a lease at its end in which its host does nothing more: clocks differ in their pace.


def running_time() -> float:
    """Return seconds that also pass while the process, or the machine, is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseOwner:
    """This host as an owner; its row is made when it first owns something.

    Args:
        database: The journal's.
        lifetime: Seconds that the lease lasts beyond its last renewal.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        database: Database,
        lifetime: float = TIME_TO_LIVE,
        clock: Callable[[], float] = running_time,
    ) -> None:
        self.database = database
        self.lifetime = lifetime
        self.clock = clock
        self.name = ""
        self.expires = 0.0

    def register(self) -> str:
        """Return this host's name, whose lease holds.

        Raises:
            ServiceUnavailable: The lease has ended; `disown` makes a new one possible.
        """
        if self.name and not self.holds():
            raise ServiceUnavailable(
                f"{self.database.place}: this process has lost its lease and owns nothing any more",
                hint="what it ran goes on elsewhere, or when somebody resumes it",
            )
        if not self.name:
            asked, name = self.clock(), os.urandom(8).hex()
            with self.database.transaction():
                self.database.execute(
                    f"INSERT INTO hosts (name, expires) VALUES (?, {self.database.clock} + ?)",
                    (name, self.lifetime),
                )
            self.name, self.expires = name, asked + self.lifetime
        return self.name

    def holds(self) -> bool:
        """Return whether the lease is certain to hold now; where it does not, nothing is owned."""
        return bool(self.name) and self.clock() < self.expires - self.lifetime * _SAFETY

    def renew(self, database: Database | None = None) -> bool:
        """Extend the lease, and with it all that this host owns; return whether it still holds.

        Args:
            database: Another connection, for a thread of its own.
        """
        database = database or self.database
        asked, name = self.clock(), self.name
        with database.transaction():
            renewed = database.execute(
                f"UPDATE hosts SET expires = {database.clock} + ?"
                f" WHERE name = ? AND expires > {database.clock}",
                (self.lifetime, name),
            )
        if name == self.name:
            self.expires = asked + self.lifetime if renewed else 0.0
        return self.holds()

    def disown(self) -> None:
        """Own nothing any more, after the lease has ended."""
        self.name, self.expires = "", 0.0

    def is_alive(self, name: str) -> bool:
        """Return whether the host with this name has a lease that holds."""
        query = f"SELECT 1 FROM hosts WHERE name = ? AND expires > {self.database.clock}"
        return bool(self.database.query(query, (name,)))

    def living(self) -> set[str]:
        """Return the names of all hosts whose leases hold."""
        query = f"SELECT name FROM hosts WHERE expires > {self.database.clock}"
        return {name for (name,) in self.database.query(query)}

    def bury(self, name: str) -> None:
        """Remove, inside a transaction, a host whose lease has ended."""
        self.database.execute(
            f"DELETE FROM hosts WHERE name = ? AND expires <= {self.database.clock}", (name,)
        )

    def close(self) -> None:
        """Give up the lease, and with it all that this host owns."""
        name, self.name = self.name, ""
        if name:
            # Where the database is away, the lease ends by itself.
            with contextlib.suppress(MlkitError), self.database.transaction():
                self.database.execute("DELETE FROM hosts WHERE name = ?", (name,))
