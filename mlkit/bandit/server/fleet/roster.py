"""The hosts of a fleet as this one sees them, for its dashboard."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from hashlib import blake2b

import msgspec

from mlkit.bandit.server.dashboard.documents import FleetHost, FleetOverview
from mlkit.bandit.server.fleet.health import fleet_health
from mlkit.bandit.server.fleet.joining import Membership
from mlkit.bandit.stores.redis.hosts import Hosts
from mlkit.errors import MlkitError
from mlkit.web.metrics import Counters
from mlkit.web.shared_document import SharedDocument

EVERY = 1.0
"""Seconds between two reports."""
logger = logging.getLogger("mlkit.bandit.server")


class Roster:
    """Reports how current this host is, and publishes what all hosts report.

    Args:
        membership: The fleet.
        counters: The counters of the writer, which show how current this host is.
        document: Where to publish.
    """

    def __init__(
        self, membership: Membership, counters: Counters, document: SharedDocument
    ) -> None:
        settings = membership.settings
        self._name, self._counters, self._document = settings.name, counters, document
        place = str(membership.state.path.resolve()).encode()
        # Two servers of a machine have two state directories.
        self.host = f"{socket.gethostname()}-{blake2b(place, digest_size=2).hexdigest()}"
        self._hosts = Hosts(settings.address, settings.name)

    async def keep(self) -> None:
        """Report often, until cancelled; while the store is away, the last reports stand."""
        try:
            while True:
                try:
                    self._document.publish(await asyncio.to_thread(self._build))
                except MlkitError as error:
                    logger.debug("no report about this host: %s", error.message)
                await asyncio.sleep(EVERY)
        finally:
            self._hosts.close()

    def _build(self) -> bytes:
        own = fleet_health(self._name, self._counters)
        reports = self._hosts.report(self.host, own.entries, own.stale, own.queued)
        hosts = [
            FleetHost(
                each.host,
                each.host == self.host,
                each.age,
                each.entries,
                each.behind,
                each.stale,
                each.queued,
            )
            for each in reports
        ]
        return msgspec.json.encode(FleetOverview(self._name, time.time(), hosts))
