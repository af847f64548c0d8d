"""Features of contexts and arms as vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike

from mlkit.bandit.policies.policy import Array, numbers, whole
from mlkit.errors import BadData, UsageError

Value = str | bool | int | float | None | Sequence[str]
"""A category, a number, nothing, or several categories at once."""


@dataclass(frozen=True)
class HashingEncoder:
    """Encodes named features as a vector of fixed length.

    The signed hashing trick (Weinberger et al., "Feature Hashing for Large Scale Multitask
    Learning", 2009): each category gets a place and a sign by its hash, so that inner products of
    encoded vectors are those of one-hot vectors on average, and new categories need no new
    dimension. A number is the coefficient at the place of its name. The hash is BLAKE2b: the same
    on every machine and in every version.

    Attributes:
        dimension: Length of the vectors, in [1, 2**24].
        seed: Chooses the hash, in [0, 2**64).

    Raises:
        UsageError: A parameter is out of range.
    """

    dimension: int
    seed: int = 0

    def __post_init__(self) -> None:
        whole(2**24, dimension=self.dimension)
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"seed: {self.seed} is outside [0, 2**64)")

    def encode(self, named: Mapping[str, Value]) -> Array:
        """Return the vector of features by name, shape (dimension,).

        Text and booleans are categories, a list of texts is several at once, None is left out.

        Raises:
            BadData: A value is none of these, or a number is not finite.
        """
        vector = np.zeros(self.dimension)
        for name, value in named.items():
            for category, amount in _parts(name, value):
                place, sign = self._hash(name, category)
                vector[place] += sign * amount
        return vector

    def part(self, name: str, category: str | None) -> tuple[int, int]:
        """Return the place and the sign of a category, or of a number (None)."""
        return self._hash(name, category)

    def encode_all(self, rows: Iterable[Mapping[str, Value]]) -> Array:
        """Return the vectors of rows, shape (rows, dimension)."""
        vectors = [self.encode(row) for row in rows]
        return np.array(vectors).reshape(len(vectors), self.dimension)

    def _hash(self, name: str, category: str | None) -> tuple[int, int]:
        key = self.seed.to_bytes(8, "little")
        # The length keeps ("ab", "c") apart from ("a", "bc").
        text = _bytes(name)
        rest = b"" if category is None else b"=" + _bytes(category)
        message = len(text).to_bytes(8, "little") + text + rest
        number = int.from_bytes(blake2b(message, digest_size=16, key=key).digest(), "little")
        return (number >> 1) % self.dimension, 1 - 2 * (number & 1)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _parts(name: str, value: Value) -> Iterator[tuple[str | None, float]]:
    """Yield the categories of a value, or None for its number, with their amounts."""
    if isinstance(value, bool | np.bool_):
        yield str(bool(value)).lower(), 1.0
    elif isinstance(value, str):
        yield value, 1.0
    elif isinstance(value, int | float | np.integer | np.floating):
        yield None, _finite(name, value)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            if not isinstance(each, str):
                raise BadData(f"feature {name!r}: {each!r} in a list is not text")
            yield each, 1.0
    elif value is not None:
        kind = type(value).__name__
        raise BadData(f"feature {name!r}: is a {kind}, expected text, a number or a list of texts")


def _finite(name: str, value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    if not np.isfinite(number):
        raise BadData(f"feature {name!r}: {value} is not a finite number")
    return number


def with_interactions(context: ArrayLike, arms: ArrayLike) -> Array:
    """Join a context's features with those of arms, for a shared model.

    The products let the model learn which context likes which arm; without them a context would
    move the scores of all arms alike (the hybrid features of Li et al. 2010, section 3.2).

    Args:
        context: Shape (c,), or (arms, c) for a context per row.
        arms: Shape (arms, d).

    Returns:
        Features of the arms, of the context, and their products, shape (arms, d + c + d c).

    Raises:
        BadData: A shape is wrong.
    """
    x, z = numbers("context", context), numbers("arms", arms)
    if z.ndim != 2 or (x.ndim != 1 and x.shape[:-1] != z.shape[:1]):
        raise BadData(
            f"context, arms: shapes are {x.shape} and {z.shape}, expected (c,) or (arms, c), "
            "and (arms, d)"
        )
    repeated = np.broadcast_to(x, (len(z), x.shape[-1]))
    products = (z[:, :, None] * x[..., None, :]).reshape(len(z), z.shape[1] * x.shape[-1])
    return np.concatenate([z, repeated, products], axis=1)
