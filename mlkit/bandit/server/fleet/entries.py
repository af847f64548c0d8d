"""The contents of the entries of a fleet's stream: the messages of a host's workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from mlkit.bandit.server.processes.protocol import (
    ArmChange,
    Frames,
    Message,
    Request,
    StartCandidate,
    Switch,
    Tick,
    message_decoder,
)
from mlkit.bandit.stores.redis.stream import Entry
from mlkit.errors import BadData

Decoded = tuple[Entry, list[Request]]


def decode(entries: Sequence[Entry]) -> list[Decoded]:
    """Return entries with their messages.

    Raises:
        BadData: They cannot be read; going on would make this host differ from others.
    """
    return [(entry, _requests(entry)) for entry in entries]


def _requests(entry: Entry) -> list[Request]:
    try:
        found: list[Message] = [message_decoder.decode(each) for each in Frames().feed(entry.body)]
    except msgspec.MsgspecError as error:
        text = f"entry {entry.position.number} of the fleet's stream: {error}"
        raise BadData(text, hint="is there a newer mlkit on another host?") from None
    return [each for each in found if isinstance(each, Request)]


def runs(entries: Sequence[Decoded]) -> Iterator[list[Decoded]]:
    """Yield entries that may be committed together, whatever has arrived together.

    What is accepted depends on which arms are known by then, so that entries that change them are
    committed alone: else hosts that read other groups would differ.
    """
    run: list[Decoded] = []
    for each in entries:
        if any(
            isinstance(request, (ArmChange, Tick, Switch, StartCandidate)) for request in each[1]
        ):
            yield from ([run] if run else [])
            run = []
            yield [each]
        else:
            run.append(each)
    if run:
        yield run
