"""Decision ids: what feedback needs to know about a decision, signed, in one piece of text.

Nothing about a decision is stored: its id carries the time, the context and a fingerprint of each
arm that was shown, and a keyed BLAKE2b (RFC 7693) proves that a server with the same key made it.
So any worker resolves it, after restarts too.

    id = base64url( kind:1 | milliseconds since 1970:6 | nonce:8
                    | number of arms:2 | fingerprint:4 of each
                    | length of features:2 and features, if the kind has them | context | MAC:16 )

A fingerprint is the CRC-32 of the arm's id: it finds mistakes, one of which in 4e9 would pass for
each arm shown. It is not a secret and need not resist an attacker: who may send feedback may also
send it for the arms that were shown. Ids of version 1 had no arms.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from mlkit.bandit._posterior_table import DecisionSigner

KEY_BYTES = 32
_FIRST_VERSION = 1
_VERSIONS = 31
_BY_CANDIDATE = 32
_WITH_FEATURES = 64
_WITH_CONTEXT = 128
_HEAD = 15
_COUNT = 2
_FINGERPRINT = 4
_MAC = 16
_FOR_URLS = bytes.maketrans(b"+/", b"-_")
MOST_ARMS = 1 << 16
"""More arms than an id can carry."""
MOST_FEATURES = 4096
"""The most bytes of features in an id."""


class Decision(NamedTuple):
    """What a decision id carries.

    Attributes:
        context: The context.
        at: When it was decided, in seconds since 1970.
        shown: Fingerprints of the arms that were shown; None: the id does not know.
        features: Features of the context, as JSON.
        by_candidate: Whether a candidate version of the model made it.
    """

    context: str | None
    at: float
    shown: bytes | None = None
    features: bytes | None = None
    by_candidate: bool = False

    def has_shown(self, arm: str) -> bool:
        """Return whether an arm was shown, or may have been if the id does not know."""
        return self.shown is None or self.position(arm) is not None

    def position(self, arm: str) -> int | None:
        """Return where an arm was shown, from 0; None: nowhere, or the id does not know."""
        wanted, shown = crc32(arm.encode()).to_bytes(_FINGERPRINT), self.shown or b""
        starts = range(0, len(shown), _FINGERPRINT)
        found = (at for at in starts if shown[at : at + _FINGERPRINT] == wanted)
        first = next(found, None)
        return None if first is None else first // _FINGERPRINT


class InvalidDecision(ValueError):
    """A text that is not a decision id of this key."""


class DecisionIds:
    """Makes and resolves decision ids.

    Attributes:
        clock: The clock.
        signer: Makes ids of their parts.

    Args:
        key: The secret, `KEY_BYTES` long; ids of another key do not resolve.
        clock: Returns the seconds since 1970.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._keyed = blake2b(key=key, digest_size=_MAC)
        self.clock = clock
        # A counter from a random start: no two ids agree, in whatever process they are made.
        self.signer = DecisionSigner(key, int.from_bytes(os.urandom(8)))

    def make(
        self,
        context: str | None,
        arms: Sequence[str],
        features: bytes | None = None,
        *,
        by_candidate: bool = False,
    ) -> str:
        """Make the id of a new decision that shows these arms, fewer than `MOST_ARMS`.

        Args:
            context: The context.
            arms: The arms.
            features: Features of the context, as JSON of at most `MOST_FEATURES` bytes.
            by_candidate: Whether a candidate version of the model has made it.
        """
        count = len(arms)
        shown = count.to_bytes(_COUNT) + _packer(count)(*map(crc32, map(str.encode, arms)))
        kind = 0
        if features is not None:
            kind = _WITH_FEATURES
            shown += len(features).to_bytes(_COUNT) + features
        if by_candidate:
            kind |= _BY_CANDIDATE
        named = None if context is None else context.encode()
        return self.signer.sign(shown, named, self.clock(), kind).decode("ascii")

    def resolve(self, text: str) -> Decision:
        """Return what an id carries.

        Raises:
            InvalidDecision: It was not made with this key, or was changed.
        """
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidDecision from error
        body, mac = raw[:-_MAC], raw[-_MAC:]
        if len(body) < _HEAD or not hmac.compare_digest(mac, self._mac(body)):
            raise InvalidDecision
        # One id, one text: base64 has spare bits that would otherwise make many.
        if _as_text(raw).decode("ascii") != text:
            raise InvalidDecision
        return _parse(body)

    def _mac(self, body: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(body)
        return keyed.digest()


@lru_cache(maxsize=64)
def _packer(count: int) -> Callable[..., bytes]:
    return Struct(f">{count}I").pack


def _as_text(raw: bytes) -> bytes:
    """Encode bytes as base64 for URLs, without padding; this takes a quarter of `base64`'s time."""
    return binascii.b2a_base64(raw, newline=False).translate(_FOR_URLS, b"=")


def _parse(body: bytes) -> Decision:
    """Read the body of an id whose MAC is right."""
    at = int.from_bytes(body[1:7]) / 1000
    if body[0] & _VERSIONS == _FIRST_VERSION:
        shown, rest = None, body[_HEAD:]
    else:
        start = _HEAD + _COUNT
        end = start + _FINGERPRINT * int.from_bytes(body[_HEAD:start])
        shown, rest = body[start:end], body[end:]
    features = None
    if body[0] & _WITH_FEATURES:
        size = int.from_bytes(rest[:_COUNT])
        features, rest = rest[_COUNT : _COUNT + size], rest[_COUNT + size :]
    context = rest.decode() if body[0] & _WITH_CONTEXT else None
    return Decision(context, at, shown, features, bool(body[0] & _BY_CANDIDATE))
