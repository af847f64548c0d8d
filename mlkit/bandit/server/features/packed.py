"""Features as a decision id, the journal and the logs carry them: JSON.

    {"age": 0.3}                                    of the context
    [{"age": 0.3}, {"c1": {"price": 9.5}}]          and of arms, or null for the context

Arms are there if a store had their features: a reward is learned with those that the decision was
made with, not with those that the store has by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mlkit.bandit.models.features import Named
from mlkit.bandit.server.decisions.decision import MOST_FEATURES
from mlkit.web.errors import RequestError

MOST_WITH_ARMS = 32_768
"""The most bytes with features of arms."""
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


def pack(context: Named | None, arms: Mapping[str, Named], place: str) -> bytes | None:
    """Return features as JSON that a decision id can carry; None: there are none.

    Args:
        context: Those of the context.
        arms: Those of the shown arms that a store had.
        place: Where the request is in the body.

    Raises:
        RequestError: 422: they are too long.
    """
    if context is None and not arms:
        return None
    found = _encode(context)
    if len(found) > MOST_FEATURES:
        error = f"{place}features: {len(found)} bytes of JSON, at most {MOST_FEATURES}"
        raise RequestError(422, error, "send fewer, or shorter, features")
    if not arms:
        return found
    found = _encode([context, arms])
    if len(found) > MOST_WITH_ARMS:
        error = f"{place}k: the features of these arms do not fit into a decision id"
        raise RequestError(422, error, "ask for fewer arms")
    return found


def unpack(packed: bytes | None) -> tuple[Named | None, Mapping[str, Named]]:
    """Return the features of the context, and those of arms that a store had."""
    if packed is None:
        return None, {}
    found: Any = _decode(packed)
    if isinstance(found, list):
        return found[0], found[1]
    return found, {}


def for_arm(packed: bytes | None, arm: str) -> bytes | None:
    """Return what is learned with a reward of one arm: the journal need not have the others'."""
    if packed is None or not packed.startswith(b"["):
        return packed
    context, arms = unpack(packed)
    return _encode([context, {arm: arms[arm]}]) if arm in arms else of_context(packed)


def of_arm(packed: bytes | None, arm: str) -> bytes | None:
    """Return the features of one arm that a store had, as JSON."""
    found = unpack(packed)[1].get(arm)
    return None if found is None else _encode(found)


def of_context(packed: bytes | None) -> bytes | None:
    """Return the features of the context alone, as JSON."""
    if packed is None or not packed.startswith(b"["):
        return packed
    context = unpack(packed)[0]
    return None if context is None else _encode(context)
