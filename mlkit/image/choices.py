"""Choices and defaults of a slimming, which options show without an import of what they set."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

Profile = Literal["safe", "balanced", "tight"]
"""How much is kept besides what was traced."""
Init = Literal["auto", "always", "never"]
"""Whether an init goes in front."""
User = Literal["keep", "nonroot"]
"""Who the result runs as."""
Tracer = Literal["auto", "ptrace", "fanotify", "none"]
"""How runs are traced."""
Compression = Literal["gzip", "zstd", "none"]
"""How layers are compressed."""


class FailOn(StrEnum):
    """What fails besides a broken result; several may be named."""

    NEW_FINDING = "new-finding"
    WARNING = "warning"


BASE: Final = "auto"
PROFILE: Final[Profile] = "balanced"
INIT: Final[Init] = "auto"
USER: Final[User] = "keep"
TRACER: Final[Tracer] = "auto"
COMPRESSION: Final[Compression] = "gzip"
PATIENCE: Final = 20.0
"""Seconds that an app may take to become ready."""
WATCH: Final = 3.0
"""Seconds that it has to survive after that."""
