"""Find out whether scripts in R can run here."""

from __future__ import annotations

import subprocess
from functools import lru_cache


@lru_cache
def lacking(program: str) -> str | None:
    """Return what scripts in R lack; None where they can run."""
    try:
        done = subprocess.run(
            [program, "--vanilla", "-e", "library(jsonlite)"],
            capture_output=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return f"{program} is not there"
    return "R has no package jsonlite" if done.returncode else None
