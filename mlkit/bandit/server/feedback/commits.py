"""From events that were read to what the writer has committed of them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from mlkit.bandit.server.learning.records import Change, Event, Shown
from mlkit.bandit.server.processes.protocol import (
    Accepted,
    Conflict,
    Failed,
    Reply,
    UnknownArm,
    UnknownEvent,
)
from mlkit.bandit.server.processes.writer_client import WriterUnavailable
from mlkit.web.errors import RequestError, unavailable

_FROM_FEEDBACK_HINT = (
    "PUT /arms/ID adds an arm; a server with --new-arms from-feedback learns them from feedback"
)


class Writing(Protocol):
    """What makes changes durable: the client of the writer."""

    async def feedback(self, events: list[Event]) -> Reply:
        """Commit events together or not at all, so that all workers see them."""

    async def change_arm(self, change: Change) -> Reply:
        """Commit a change of an arm."""

    async def switch(self, *, promote: bool) -> Reply:
        """Promote the candidate, or roll it back."""

    async def commit_decisions(self, decisions: list[Shown]) -> Reply:
        """Commit decisions that wait for rewards."""


async def commit(writing: Writing, events: list[Event], places: Sequence[str]) -> Accepted:
    """Commit events together or not at all.

    Raises:
        RequestError: 409: an id was used with another body; 422: an arm or an event is not known;
            503: the journal cannot be written.
    """
    reply = await answer(writing.feedback(events))
    if isinstance(reply, Conflict):
        error = f"{places[reply.index]}event_id: it was used with another body"
        hint = "nothing was accepted; send a new event with an event_id of its own"
        raise RequestError(409, error, hint)
    if isinstance(reply, UnknownArm):
        error = f"{places[reply.index]}arm: no arm {events[reply.index].arm!r:.80}"
        raise RequestError(422, error, f"nothing was accepted; {_FROM_FEEDBACK_HINT}")
    if isinstance(reply, UnknownEvent):
        error = f"{places[reply.index]}amends: no such event, or none of the dedupe window"
        hint = "nothing was accepted; send the event first, or a longer --dedupe-window"
        raise RequestError(422, error, hint)
    assert isinstance(reply, Accepted)
    return reply


async def answer(asked: Awaitable[Reply]) -> Reply:
    """Return the writer's answer.

    Raises:
        RequestError: 503: there is none, or the journal cannot be written.
    """
    try:
        reply = await asked
    except WriterUnavailable:
        raise unavailable("the writer does not answer; nothing is acknowledged") from None
    if isinstance(reply, Failed):
        raise unavailable(f"the journal cannot be written: {reply.error}")
    return reply
