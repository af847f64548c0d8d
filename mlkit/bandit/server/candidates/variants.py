"""The versions of a model that answer beside one another, and which one answers a request.

A request with a context, or with features, always goes to the same version: a hash of them, salted
with the candidate, is a number in [0, 1), and the candidate answers below its share. So the
probability of what is shown to that user is the answering version's own. A request with neither has
nothing to be told apart by: chance decides, and the probabilities are those of the mixture.
"""

from __future__ import annotations

import random
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from mlkit.bandit.server.api.messages import PredictRequest
from mlkit.bandit.server.decisions.policy_reader import PolicyReader
from mlkit.bandit.server.decisions.recorder import Recorder
from mlkit.bandit.stores.store import PosteriorReader

STABLE, CANDIDATE = "stable", "candidate"
_encode = msgspec.json.Encoder(order="sorted").encode


class Variant(NamedTuple):
    """A version that answers.

    Attributes:
        name: `stable` or `candidate`.
        model: The model's name.
        store: Its posteriors.
        recorder: Logs its decisions.
        base: The begin of its file's hash.
        is_plain: Whether nothing but Thompson sampling with Beta posteriors is done.
    """

    name: str
    model: str
    store: PosteriorReader | PolicyReader
    recorder: Recorder
    base: str
    is_plain: bool

    @property
    def policy(self) -> str:
        """The policy."""
        return str(self.store.spec) if isinstance(self.store, PolicyReader) else "thompson"


class Variants:
    """The stable version, and a candidate with a share of the traffic.

    Args:
        stable: The stable version.
        candidate: The candidate; None: there is none.
        share: Its share, from 0 to 1.
    """

    def __init__(self, stable: Variant, candidate: Variant | None = None, share: float = 0) -> None:
        self.stable, self.candidate = stable, candidate
        self.share = share if candidate is not None else 0.0
        self._salt = b"" if candidate is None else candidate.base.encode()[:16]

    def of(self, request: PredictRequest) -> Variant:
        """Return the version that answers a request."""
        if self.candidate is None:
            return self.stable
        name = _user(request)
        place = random.random() if name is None else self._place(name)
        return self.candidate if place < self.share else self.stable

    def _place(self, name: bytes) -> float:
        digest = blake2b(name, digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest) / 2**64

    def find_alternative(
        self, request: PredictRequest, variant: Variant
    ) -> tuple[Variant, float] | None:
        """Return the other version that might have answered, and how probably; None: none."""
        if self.candidate is None or _user(request) is not None:
            return None
        if variant is self.candidate:
            return self.stable, 1 - self.share
        return self.candidate, self.share


def _user(request: PredictRequest) -> bytes | None:
    if request.context is not None:
        return request.context.encode()
    return None if request.features is None else _encode(request.features)
