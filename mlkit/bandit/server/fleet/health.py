"""How current a host of a fleet is, from what its writer has noted."""

from __future__ import annotations

import time

from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import FleetHealth
from mlkit.web.metrics import Counters, Gauge


def fleet_health(name: str, writer: Counters) -> FleetHealth:
    """Return how current a host is.

    Args:
        name: The fleet's name.
        writer: The counters of the host's writer.
    """
    values, places = writer.values, writer.layout.counters
    current = values[places[metrics.FLEET_CURRENT]]
    return FleetHealth(
        name,
        connected=not values[places[metrics.FLEET_AWAY]],
        stale=max(time.monotonic() - current, 0.0) if current else None,
        entries=int(values[places[metrics.FLEET_POSITION]]),
        queued=int(values[places[metrics.FLEET_QUEUED]]),
    )


def fleet_gauges(health: FleetHealth) -> dict[str, Gauge]:
    """Return the gauges of `GET /metrics`."""
    stale = float("inf") if health.stale is None else health.stale
    return {
        "fleet_connected": Gauge("Whether the fleet's store answers.", health.connected),
        "fleet_stale_seconds": Gauge("Since this host had all that the fleet had.", stale),
        "fleet_entries": Gauge("Entries of the fleet's stream that were applied.", health.entries),
        "fleet_queued": Gauge("Messages that wait on disk for the store.", health.queued),
    }
