"""How a host makes its candidate the fleet's: the first that comes, and no other beside it."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from mlkit.bandit.server.candidates.course import Course
from mlkit.bandit.server.learning.model import Model
from mlkit.bandit.server.processes.protocol import StartCandidate, Switch, frame
from mlkit.bandit.server.settings import Settings
from mlkit.errors import ConfigurationError, ServiceUnavailable

if TYPE_CHECKING:  # They need the optional package redis.
    from mlkit.bandit.stores.redis.stream import Position, SharedStream

_HINT = (
    "POST /promote or /rollback on any host first; or start this host with that file, or without "
    "--candidate: it serves the fleet's in any case"
)
logger = logging.getLogger("mlkit.bandit.server")


def offer(
    model: Model, settings: Settings, stream: SharedStream, fleet: str, position: Position
) -> None:
    """Start the host's candidate in the fleet, or give it another share.

    Args:
        model: The model, which may be behind the stream.
        settings: The server's settings.
        stream: The fleet's stream.
        fleet: The fleet.
        position: Up to where the model knows the stream.

    Raises:
        ConfigurationError: The fleet has another candidate.
        MlkitError: The file cannot be a candidate.
    """
    if settings.candidate is None:
        return
    request = model.start_of(settings.candidate, settings.share)
    try:
        course = _read_course(model.course, stream, fleet, position)
        if request.digest in course.ended:
            logger.warning("%s: this candidate of the fleet has ended", settings.candidate)
            return
        if course.after(request) != course:
            stream.append(fleet, os.urandom(16), frame(request))
            course = _read_course(model.course, stream, fleet, position)
    except ServiceUnavailable as error:
        if model.course.candidate != request.digest:
            logger.error("the candidate is not started: %s", error.message)
        return
    if course.candidate not in (None, request.digest):
        text = f"--candidate {settings.candidate}: the fleet has another one, {course.candidate}"
        raise ConfigurationError(text, hint=_HINT)


def _read_course(course: Course, stream: SharedStream, fleet: str, position: Position) -> Course:
    """Return what has become of candidates up to the stream's end."""
    from mlkit.bandit.server.fleet.entries import decode
    from mlkit.bandit.stores.redis.stream import Diverged

    try:
        while entries := stream.read(fleet, position, block=False):
            for _, requests in decode(entries):
                for request in requests:
                    if isinstance(request, (StartCandidate, Switch)):
                        course = course.after(request)
            position = entries[-1].position
    except Diverged:  # The writer will notice, and start from the fleet's snapshot.
        logger.debug("this host and the stream differ")
    return course
