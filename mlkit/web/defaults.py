"""Defaults of all servers, which their options show without an import of a server."""

from __future__ import annotations

from typing import Final

HOST: Final = "127.0.0.1"
DRAIN_TIMEOUT: Final = 8.0
"""Seconds to finish what has begun, after SIGTERM."""
CONNECTIONS: Final = 2048
"""Open connections of one process."""
SESSION_HOURS: Final = 12.0
"""Hours for which a login is good."""
