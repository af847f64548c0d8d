"""What the Docker Engine, or its client, reports of a failure, and what may be tried again."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import requests
from docker.errors import APIError, DockerException

from mlkit.errors import ServiceUnavailable

RACE = re.compile(
    "unable to find image|no such image|unknown parent image|layer does not exist"
    "|failed to get digest|failed to get destination image"
    "|failed to export image: failed to set parent",
    re.IGNORECASE,
)
"""What a build or a load reports when another client removes an image that it shares or looks at.

Images of the same content are one image: who removes its last name removes it under the others.
"""
BUSY = re.compile(
    "is already in progress|has active endpoints|is in use|is being used|device or resource busy",
    re.IGNORECASE,
)
"""What a removal reports while another client removes the same, or something still leaves it."""


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Distinguish what goes wrong in the engine from bugs of ours while the block runs.

    Raises:
        ServiceUnavailable: The engine refused, or was gone.
    """
    try:
        yield
    except (DockerException, requests.RequestException) as error:
        hint = "see the engine's log and its disk; `mlkit image clean` removes what was left"
        raise ServiceUnavailable(
            f"the Docker Engine fails: {first_line(error)}", hint=hint
        ) from error


def is_race(error: Exception) -> bool:
    """Return whether an image has vanished that another client removed."""
    return isinstance(error, DockerException) and RACE.match(first_line(error)) is not None


def is_busy(error: Exception) -> bool:
    """Return whether something cannot be removed yet: others remove it, or still leave it."""
    return isinstance(error, APIError) and BUSY.search(first_line(error)) is not None


def system_reason(error: Exception) -> str:
    """Return the system's reason why no engine was reached, without what the client wraps it in."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.errno is not None and inner.strerror:
            return str(inner.strerror)
        inner = inner.__cause__ or inner.__context__
    return first_line(error)


def first_line(error: Exception) -> str:
    """Return the first line of what the engine, or its client, reports of a failure."""
    explanation = getattr(error, "explanation", None) or str(error) or type(error).__name__
    return str(explanation).strip().splitlines()[0]
