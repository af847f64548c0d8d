"""The hosts of a fleet, as the writer of this one has published them."""

from __future__ import annotations

import time

import msgspec

from mlkit.bandit.server.dashboard.documents import FleetOverview
from mlkit.web.shared_document import SharedDocument

ROOM = 1 << 20
"""Bytes for what is published: some thousand hosts."""
_decode = msgspec.json.Decoder(FleetOverview).decode


def read(document: SharedDocument) -> FleetOverview | None:
    """Return the hosts of the fleet as of now; None: there is no fleet."""
    content = document.read()
    if not content:
        return None
    found = _decode(content)
    passed = max(time.time() - found.at, 0.0)
    for each in found.hosts:
        each.age += passed
    return found
