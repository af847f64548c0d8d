"""How a host becomes one of a fleet: it founds it, or starts from the fleet's snapshot."""

from __future__ import annotations

import json
import logging
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlkit.bandit.server.decisions.decision import KEY_BYTES
from mlkit.bandit.server.fleet.offering import offer
from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.model import Model
from mlkit.bandit.server.learning.state import StateDirectory
from mlkit.bandit.server.settings import FleetSettings, Settings
from mlkit.errors import ConfigurationError, ServiceUnavailable, UsageError
from mlkit.files import enough_space

if TYPE_CHECKING:  # They need the optional package redis.
    from mlkit.bandit.stores.redis.snapshots import Snapshots
    from mlkit.bandit.stores.redis.stream import Head, Position, SharedStream

CLOCKS_APART = 3600.0
"""Seconds that the clocks of hosts and Redis may differ without an event counting twice."""
logger = logging.getLogger("mlkit.bandit.server")


class SharedClock:
    """The time of the entry that is applied, in seconds since 1970."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self._now

    def set(self, now: float) -> None:
        """Set the time."""
        self._now = now


@dataclass(frozen=True)
class Membership:
    """A host's place in a fleet.

    Attributes:
        settings: The fleet's settings.
        state: The state directory.
        fleet: The fleet's id.
        position: Up to where the state knows the fleet's stream.
        clock: The time of the journal.
    """

    settings: FleetSettings
    state: StateDirectory
    fleet: str
    position: Position
    clock: SharedClock


class Known(NamedTuple):
    """What a state knows of a fleet.

    Attributes:
        fleet: The fleet's id; None: it is of none.
        position: Up to where it knows the fleet's stream.
        has_learned: Whether there is anything in it beside its posteriors file.
        posteriors: Where in the state its posteriors file is; None: it has none yet.
        digest: The hash of that file.
    """

    fleet: str | None
    position: Position
    has_learned: bool
    posteriors: str | None
    digest: str | None


def position_facts(position: Position, time: float) -> dict[str, Any]:
    """Return how a journal notes up to where it knows the stream."""
    return {"fleet_number": position.number, "fleet_tag": position.tag, "fleet_time": time}


def key_of(fleet: FleetSettings, state: StateDirectory) -> bytes:
    """Return the key that signs the decision ids of all hosts.

    Raises:
        ConfigurationError: The state has the key of another server.
        ServiceUnavailable: Redis is away, and the state is new.
    """
    own = state.find_key()
    stream = _stream(fleet)
    try:
        found = stream.secret(own or secrets.token_bytes(KEY_BYTES))
    except ServiceUnavailable as error:
        if own is None:
            raise
        logger.error("this host starts without its fleet: %s", error.message)
        return own
    finally:
        stream.close()
    if own not in (None, found) or len(found) != KEY_BYTES:
        raise _foreign(state, fleet)
    return found


def leave(state: StateDirectory, *, adopt: bool) -> None:
    """Make sure that a state is of no fleet.

    Raises:
        ConfigurationError: It is of one, and may not leave it.
    """
    journal = Journal(state.journal)
    try:
        if journal.meta("fleet") is None:
            return
        if not adopt:
            hint = "start with --store, or with --adopt to continue alone with what it has learned"
            raise ConfigurationError(f"{state.path}: the state belongs to a fleet", hint=hint)
        journal.set_meta({"fleet": None})
    finally:
        journal.close()


def join(
    settings: Settings,
    state: StateDirectory,
    load: Callable[[SharedClock], Model],
    *,
    starts: bool = True,
) -> tuple[Model, Membership]:
    """Return the model of a host, and its place in the fleet, which is founded if it is not there.

    Args:
        settings: The server's settings.
        state: The state directory.
        load: Loads the state's model.
        starts: Whether the host starts, and with it perhaps a candidate; False: only its writer
            does again.

    Raises:
        ConfigurationError: The state is of another fleet, or alone has learned something, or the
            options or the candidate are not those of the fleet.
        UsageError: `--adopt` beside a fleet that already exists.
        ServiceUnavailable: Redis is away, and the state is of no fleet.
    """
    fleet = settings.fleet
    assert fleet is not None
    while True:
        founds = _catch_up(fleet, state, adopt=settings.adopt)
        clock = SharedClock()
        model = load(clock)
        _check_options(model.journal, settings)
        if not founds or _found(model, settings, state):
            membership = _membership(model, fleet, state, clock)
            if starts:
                _offer(model, settings, membership)
            return model, membership
        model.journal.close()  # Another host was first.


def _offer(model: Model, settings: Settings, membership: Membership) -> None:
    stream = _stream(membership.settings)
    try:
        offer(model, settings, stream, membership.fleet, membership.position)
    except BaseException:
        model.journal.close()
        raise
    finally:
        stream.close()


def publish(state: StateDirectory, snapshots: Snapshots, *, founds: bool = False) -> int:
    """Publish the present state as a snapshot.

    Returns:
        Bytes of the snapshot; 0: another host was first, or the stream has another history.
    """
    with tempfile.TemporaryDirectory(prefix="snapshot-", dir=state.path) as scratch:
        copy = Path(scratch) / "journal.sqlite"
        journal = Journal(state.journal, read_only=True)
        try:
            journal.copy_to(copy)
        finally:
            journal.close()
        copied = Journal(copy, read_only=True, unchanging=True)
        try:
            fleet, position = copied.meta("fleet"), _position(copied)
        finally:
            copied.close()
        published = snapshots.publish(copy, fleet, position, founds=founds)
        return copy.stat().st_size if published else 0


# A state and the stream


def _catch_up(fleet: FleetSettings, state: StateDirectory, *, adopt: bool) -> bool:
    """Load the fleet's snapshot into a state that needs it; return whether there is no fleet."""
    known = _read_known(state)
    stream = _stream(fleet)
    try:
        head = _head(fleet, stream, known)
        if head is None:
            return known.fleet is None or adopt
        if adopt:
            hint = "--adopt is for a Redis that has lost its fleet; omit it here"
            raise UsageError(f"--adopt: the fleet {fleet.name!r} already exists", hint=hint)
        if known.fleet is None:
            if known.has_learned:
                raise _foreign(state, fleet)
        elif known.fleet != head.fleet:
            raise _foreign(state, fleet)
        elif _continues(stream, known):
            return False
        _load_snapshot(fleet, state, known)
        return False
    finally:
        stream.close()


def _head(fleet: FleetSettings, stream: SharedStream, known: Known) -> Head | None:
    """Return the fleet in Redis; of a host that is in it, it may be away."""
    from mlkit.bandit.stores.redis.stream import Head, check_durable

    try:
        warning = check_durable(fleet.address, stream.durability())
        if warning:
            logger.warning("%s", warning)
        return stream.head()
    except ServiceUnavailable:
        if known.fleet is None:
            raise
        return Head(known.fleet, known.position)


def _continues(stream: SharedStream, known: Known) -> bool:
    """Return whether what a state knows is the beginning of the stream, as far as can be known."""
    from mlkit.bandit.stores.redis.stream import Diverged

    assert known.fleet is not None
    try:
        stream.read(known.fleet, known.position, block=False)
    except Diverged:
        return False
    except ServiceUnavailable as error:
        logger.error("this host starts without its fleet: %s", error.message)
    return True


def _load_snapshot(fleet: FleetSettings, state: StateDirectory, known: Known) -> None:
    from mlkit.bandit.stores.redis.snapshots import Snapshots

    snapshots = Snapshots(fleet.address, fleet.name)
    try:
        prefix = "snapshot-"
        with enough_space(), tempfile.TemporaryDirectory(prefix=prefix, dir=state.path) as scratch:
            copy = Path(scratch) / "journal.sqlite"
            snapshots.fetch(copy)
            _keep_name(copy, known)
            state.replace_journal(copy)
    finally:
        snapshots.close()
    logger.info("this host starts from the snapshot of the fleet %r", fleet.name)


def _keep_name(path: Path, known: Known) -> None:
    """Keep this host's own name of the posteriors file, unless another one is promoted."""
    journal = Journal(path)
    if known.posteriors is not None and known.digest == journal.meta("posteriors_hash"):
        journal.set_meta({"posteriors": known.posteriors})
    journal.close()


def _read_known(state: StateDirectory) -> Known:
    journal = Journal(state.journal)
    try:
        has_learned = journal.seq > 0
        about = journal.meta("fleet"), _position(journal), has_learned
        return Known(*about, journal.meta("posteriors"), journal.meta("posteriors_hash"))
    finally:
        journal.close()


def _position(journal: Journal) -> Position:
    from mlkit.bandit.stores.redis.stream import Position

    return Position(journal.meta("fleet_number") or 0, journal.meta("fleet_tag") or b"")


def _membership(
    model: Model, fleet: FleetSettings, state: StateDirectory, clock: SharedClock
) -> Membership:
    journal = model.journal
    clock.set(journal.meta("fleet_time") or 0.0)
    return Membership(fleet, state, journal.meta("fleet"), _position(journal), clock)


def _found(model: Model, settings: Settings, state: StateDirectory) -> bool:
    """Found the fleet from what a model knows; False if another host was first."""
    from mlkit.bandit.stores.redis.snapshots import Snapshots
    from mlkit.bandit.stores.redis.stream import new_fleet

    fleet, journal = settings.fleet, model.journal
    assert fleet is not None
    before = journal.meta("fleet")
    options = json.dumps(_options(settings), sort_keys=True)
    journal.set_meta({"fleet": before or new_fleet(), "fleet_options": options})
    model.share_files(None if settings.candidate is None else settings.share)
    snapshots, is_first = Snapshots(fleet.address, fleet.name), False
    try:
        is_first = bool(publish(state, snapshots, founds=True))
    finally:
        snapshots.close()
        if not is_first:
            journal.set_meta({"fleet": before})
    if is_first:
        logger.info("this host has created the fleet %r", fleet.name)
    return is_first


# Options


def _options(settings: Settings) -> dict[str, Any]:
    """Return the options on which the hosts of a fleet must agree."""
    return {
        "--dedupe-window": settings.dedupe_window,
        "--attribution": settings.attribution,
        "--new-arms": str(settings.new_arms),
        "--new-arm-prior": settings.new_arm_prior and list(settings.new_arm_prior),
        "--position-model": list(settings.examination),
    }


def _check_options(journal: Journal, settings: Settings) -> None:
    theirs = json.loads(journal.meta("fleet_options") or "{}")
    for name, value in _options(settings).items():
        if name in theirs and theirs[name] != value:
            text = f"{name}: the fleet has {theirs[name]}, and this host {value}"
            raise ConfigurationError(text, hint="start all hosts of a fleet with the same options")


def _stream(fleet: FleetSettings) -> SharedStream:
    from mlkit.bandit.stores.redis.stream import SharedStream

    return SharedStream(fleet.address, fleet.name)


def _foreign(state: StateDirectory, fleet: FleetSettings) -> ConfigurationError:
    text = f"{state.path}: the state of another server, not of the fleet {fleet.name!r}"
    return ConfigurationError(
        text, hint="use a new --state; it is filled from the fleet's snapshot"
    )
