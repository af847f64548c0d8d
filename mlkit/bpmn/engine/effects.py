"""What the engine asks for in return for an event, to be done once the event is on disk."""

from __future__ import annotations

from typing import Any

import msgspec


class Effect(msgspec.Struct, tag_field="type", gc=False):
    """Something for the runner to do; `id` names the activation that it is for."""


class Run(Effect, tag="run"):
    """Start the script or callable of an activity."""

    id: int


class Stop(Effect, tag="stop"):
    """Stop the work of an activity that ended before its time."""

    id: int


class Fetch(Effect, tag="fetch"):
    """Read the data stores that an activity needs."""

    id: int


class Store(Effect, tag="store", gc=True):
    """Set the data store `name`."""

    name: str
    value: Any


class Wake(Effect, tag="wake"):
    """Fire a timer at `due`, in seconds since 1970."""

    id: int
    due: float


class Ask(Effect, tag="ask"):
    """Let a person know of a user task."""

    id: int


class Offer(Effect, tag="offer"):
    """Offer a task to external workers."""

    id: int


class Withdraw(Effect, tag="withdraw"):
    """Offer a task to external workers no longer."""

    id: int


class Subscribe(Effect, tag="subscribe"):
    """Wait for a message with a correlation key."""

    id: int
    name: str
    key: str


class Listen(Effect, tag="listen"):
    """Wait for a signal."""

    id: int
    name: str


class Unsubscribe(Effect, tag="unsubscribe"):
    """Wait for a message or a signal no longer."""

    id: int


class Send(Effect, tag="send", gc=True):
    """Send a message to another instance."""

    name: str
    key: str
    variables: dict[str, Any]


class Broadcast(Effect, tag="broadcast", gc=True):
    """Broadcast a signal to the other instances."""

    name: str
    variables: dict[str, Any]


AnyEffect = (
    Run | Stop | Fetch | Store | Wake | Ask | Offer | Withdraw | Subscribe | Listen | Unsubscribe
    | Send | Broadcast
)  # fmt: skip
