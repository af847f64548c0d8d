"""Passwords: hashed by Argon2id, compared in a time that reveals no account."""

from __future__ import annotations

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mlkit.errors import BadData

SHORTEST = 8
"""Characters of a password, at least."""
LONGEST = 1024
"""Bytes of a password: what is longer is not a password, and is not hashed."""
_HASHER = PasswordHasher()
PREFIX = "$argon2id$"


def hash_password(password: str) -> str:
    """Return a password as files keep it: its Argon2id hash with salt and parameters (RFC 9106).

    Raises:
        BadData: It is too short or too long.
    """
    encoded = _encode(password)
    if encoded is None or len(password) < SHORTEST:
        hint = f"{SHORTEST} characters to {LONGEST} bytes"
        raise BadData("the password is too short or too long", hint=hint)
    return _HASHER.hash(encoded)


def matches(stored: str | None, password: str) -> bool:
    """Return whether a password is the one whose hash was stored.

    Args:
        stored: The hash; None: there is no such account, and as much work is done.
        password: What somebody has typed.
    """
    encoded = _encode(password)
    if encoded is None:
        return False
    try:
        _HASHER.verify(_nobody() if stored is None else stored, encoded)
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


def _encode(password: str) -> bytes | None:
    """Return the bytes of a password; None where they are too many.

    Keyboards write one character in several ways: the composed form (RFC 8265) stands for all.
    """
    if len(password) > LONGEST:
        return None
    encoded = unicodedata.normalize("NFC", password).encode("utf-8", "replace")
    return encoded if len(encoded) <= LONGEST else None


@cache
def _nobody() -> str:
    """Return a hash that no password has been stored for."""
    return _HASHER.hash("nobody")
