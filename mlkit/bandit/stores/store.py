"""The interface of a posterior store: what the server reads, and what its writer changes.

A store knows the posterior of every arm, and of every (context, arm) that has been rewarded. Its
methods answer at once or with an awaitable, as suits it: the memory-mapped table answers at once,
a store behind a network does not. `tests/contract` holds the suite that every store passes.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, TypeAlias, TypeVar

from mlkit.bandit._posterior_table import Fetched

T = TypeVar("T")
Maybe: TypeAlias = T | Awaitable[T]
"""A value, or an awaitable that brings it."""

Parameters = tuple[float, float, float]
"""a, b and the number of pulls."""
NamedParameters = tuple[str, float, float, float]
"""An arm's id, a, b and the number of pulls."""
Size = tuple[int, int]
"""Arms that can be recommended, and (context, arm) posteriors."""


class PosteriorReader(Protocol):
    """What the server reads. Ids are 1 to 256 bytes of UTF-8."""

    @property
    def prior(self) -> tuple[float, float]:
        """Parameters (a, b) of an arm that nothing is known of."""

    def fetch(self, context: str | None, candidates: list[str] | None) -> Maybe[Fetched]:
        """Fetch the posteriors of many candidates for one context.

        A candidate's posterior is that of (context, arm), else the arm's, else the prior. One
        that appears twice is fetched twice.

        Args:
            context: The context; None for the arms' own posteriors.
            candidates: The arms; None for all arms.

        Raises:
            ValueError: An id is empty, too long or has no UTF-8; the message names its index.
        """

    def arm(self, arm: str) -> Maybe[Parameters | None]:
        """Return the posterior of an arm; None if it is not there."""

    def arms(self, after: str | None = None, limit: int = 1000) -> Maybe[list[NamedParameters]]:
        """List arms in the order of their ids' code points.

        Args:
            after: Start behind this id, whether it is there or not.
            limit: The most arms to list.
        """

    def size(self) -> Maybe[Size]:
        """Count the arms that are there, and the (context, arm) posteriors."""


class PosteriorStore(PosteriorReader, Protocol):
    """What the writer of a server changes beside what all read."""

    def knows(self, arm: str) -> Maybe[bool]:
        """Return whether an arm is there, or was there and has been removed."""

    def put_arm(self, arm: str, a: float, b: float, pulls: float = 0.0) -> Maybe[None]:
        """Add an arm, or set the posterior of one that is there.

        An arm that was removed starts again, without its (context, arm) posteriors.
        """

    def remove_arm(self, arm: str) -> Maybe[bool]:
        """Remove an arm and its (context, arm) posteriors; False if it is not there."""

    def add_reward(self, context: str | None, arm: str, reward: float) -> Maybe[bool]:
        """Update the arm's posterior, and the one for the context, by a reward from 0 to 1.

        An arm that was never there starts from the prior. A first reward for a context starts
        from `shrinkage` pseudo-counts of the arm's mean before this reward.

        Returns:
            False, and nothing was changed, if the arm was removed.
        """


async def settle(value: Maybe[T]) -> T:
    """Return a value of a store, after waiting for it if it has to come."""
    return await value if isinstance(value, Awaitable) else value
