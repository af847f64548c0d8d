"""Decision ids: what feedback needs to know about a decision, signed, in one piece of text.

Nothing about a decision is stored: its id carries the time and the context, and a keyed BLAKE2b
(RFC 7693) proves that a server with the same key made it. So any worker resolves it, after
restarts too.

    id = base64url( version:1 | milliseconds since 1970:6 | nonce:8 | context | MAC:16 )
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

KEY_BYTES = 32
_VERSION = 1
_NO_CONTEXT = 0
_WITH_CONTEXT = 128
_HEAD = 15
_MAC = 16


class Decision(NamedTuple):
    """What a decision id says: the context, and when it was decided (seconds since 1970)."""

    context: str | None
    at: float


class InvalidDecision(ValueError):
    """A text that is no decision id of this key."""


class DecisionIds:
    """Makes and resolves decision ids.

    Args:
        key: The secret, `KEY_BYTES` long; ids of another key do not resolve.
        clock: Gives the seconds since 1970.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._keyed = blake2b(key=key, digest_size=_MAC)
        self._clock = clock
        # A counter from a random start: no two ids agree, in whatever process they are made.
        self._nonce = int.from_bytes(os.urandom(8))

    def make(self, context: str | None) -> str:
        """Make the id of a new decision."""
        self._nonce = (self._nonce + 1) & 0xFFFF_FFFF_FFFF_FFFF
        kind = _VERSION | (_NO_CONTEXT if context is None else _WITH_CONTEXT)
        head = (kind << 112) | (int(self._clock() * 1000) << 64) | self._nonce
        body = head.to_bytes(_HEAD) + (b"" if context is None else context.encode())
        text = base64.urlsafe_b64encode(body + self._mac(body))
        return text.rstrip(b"=").decode("ascii")

    def resolve(self, text: str) -> Decision:
        """Give what an id says.

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
        if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != text:
            raise InvalidDecision
        context = body[_HEAD:].decode() if body[0] & _WITH_CONTEXT else None
        return Decision(context, int.from_bytes(body[1:7]) / 1000)

    def _mac(self, body: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(body)
        return keyed.digest()
