"""The posterior table in shared memory, and the predict stages on it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Buffers = tuple[NDArray[np.int32] | NDArray[np.int64], NDArray[np.uint8]]
_Column = NDArray[np.float64]
_Ids = tuple[NDArray[np.int64], NDArray[np.uint8]]

class TableFull(RuntimeError):
    """A capacity of the table is used up; nothing was changed."""

class PosteriorTable:
    """Posteriors of arms and of (context, arm) pairs in a file that processes share.

    The process that creates it writes, others open it and read meanwhile. Ids are UTF-8 of 1 to
    256 bytes.
    """

    @staticmethod
    def create(
        path: str,
        *,
        arms: int,
        contexts: int,
        posteriors: int,
        id_bytes: int,
        prior: tuple[float, float],
        shrinkage: float,
        half_life: float = 0.0,
        base: float = 0.0,
    ) -> PosteriorTable:
        """Make a new table and be its only writer.

        A file at the path is unlinked first: who has it open keeps it.

        Args:
            path: The file; its blocks are reserved at once.
            arms: Room for arms; one that is removed and put again takes two.
            contexts: Room for contexts.
            posteriors: Room for (context, arm) posteriors.
            id_bytes: Room for the UTF-8 of the ids of arms and contexts.
            prior: Parameters (a, b) of an arm that nothing is known of.
            shrinkage: Pseudo-counts of the arm's mean that a (context, arm) posterior starts
                from; above 0.
            half_life: Seconds in which evidence loses half of its weight; infinity: it keeps it,
                and can be replaced; 0: the table does not forget.
            base: When stored evidence has the weight 1, in seconds since 1970.

        Raises:
            ValueError: A size, the prior or the shrinkage is out of range.
            OSError: The file cannot be made, or the disk has no room for it.
        """

    @staticmethod
    def open(path: str) -> PosteriorTable:
        """Open a table for reading.

        Changes of the writer show at once; of a reward, a, b and pulls show one after another.
        The file must not be truncated while it is open.

        Raises:
            ValueError: The file is not a whole table of this version.
            OSError: The file cannot be opened.
        """

    def load_arms(self, ids: _Buffers, a: ArrayLike, b: ArrayLike, pulls: ArrayLike) -> None:
        """Add many new arms.

        Args:
            ids: Offsets (int32 or int64) and bytes of an Arrow string array of n ids.
            a: Shape (n,), from 1e-300 to 1e15.
            b: Shape (n,), from 1e-300 to 1e15.
            pulls: Shape (n,), from 0 to 1e15.

        Raises:
            ValueError: A value is out of range, or a row's arm is there already; the message
                names the row, and the rows before it stay.
            TableFull: There is no room; the rows that fitted stay.
        """

    def load_contexts(
        self,
        contexts: _Buffers,
        arms: _Buffers,
        a: ArrayLike,
        b: ArrayLike,
        pulls: ArrayLike,
    ) -> None:
        """Add many new (context, arm) posteriors of arms that are there.

        Args:
            contexts: Offsets and bytes of an Arrow string array of n ids.
            arms: The same of the arms' ids.
            a: Shape (n,), from 1e-300 to 1e15.
            b: Shape (n,), from 1e-300 to 1e15.
            pulls: Shape (n,), rounded to whole numbers, kept up to 2**32 - 1.

        Raises:
            ValueError: A value is out of range, a row is there already, or its arm is not; the
                message names the row, and the rows before it stay.
            TableFull: There is no room; the rows that fitted stay.
        """

    def copy(self, source: PosteriorTable) -> None:
        """Take over all arms and posteriors of another table, to grow.

        What removed arms left behind stays there; that they are removed is copied.

        Raises:
            TableFull: There is no room; what fitted stays.
        """

    def put_arm(self, arm: str, a: float, b: float, pulls: float = 0.0, at: float = 0.0) -> None:
        """Add an arm, or set the posterior of one that is there.

        An arm that was removed starts again, without its (context, arm) posteriors. What differs
        from the prior is evidence of the time `at`, if the table forgets.

        Raises:
            ValueError: The id is too long or has no UTF-8, or a number is out of range.
            TableFull: There is no room; nothing was changed.
        """

    def put_pair(self, context: str, arm: str, a: float, b: float, pulls: float = 0.0) -> None:
        """Add or set the posterior of (context, arm) for an arm that is there.

        Raises:
            ValueError: The arm is not there, an id is bad, or a number is out of range.
            TableFull: There is no room; nothing was changed.
        """

    def put_evidence(
        self, context: str | None, arm: str, a: float, b: float, pulls: float = 0.0
    ) -> None:
        """Set what `stored` returns, for an arm (context None), or a pair whose arm is there.

        Raises:
            ValueError: The table does not forget, or a value is bad.
            TableFull: There is no room; nothing was changed.
        """

    def remove_arm(self, arm: str) -> bool:
        """Remove an arm and its (context, arm) posteriors; False if it is not there."""

    def add_reward(
        self,
        context: str | None,
        arm: str,
        reward: float,
        examined: float = 1.0,
        at: float = 0.0,
        withdrawn: bool = False,
    ) -> bool:
        """Update the arm's posterior, and the one for the context, by a reward.

        An arm that was never there starts from the prior. A first reward for a context starts
        from `shrinkage` pseudo-counts of the arm's mean before this reward. Parameters stay
        from 1e-300 to 1e15.

        Args:
            context: The context, or None.
            arm: The arm.
            reward: From 0 to 1.
            examined: Probability that the arm was looked at where it was shown, above 0: a
                missing reward counts by the probability that it was looked at and not taken.
            at: When it was earned, in seconds since 1970; of a table that forgets.
            withdrawn: Take back a reward that was added.

        Returns:
            False, and nothing was changed, if the arm was removed.

        Raises:
            ValueError: The reward is not from 0 to 1, or an id is bad.
            TableFull: There is no room; nothing was changed.
        """

    def fetch(
        self, context: str | None, candidates: list[str] | None, at: float | None = None
    ) -> Fetched:
        """Fetch the posteriors of many candidates (None: of all arms) for one context.

        A candidate's posterior is that of (context, arm), else the arm's, else the prior. One
        that appears twice is fetched twice. A table that forgets answers as of `at`, in seconds
        since 1970 (None: now), here and below.

        Raises:
            ValueError: An id is empty, too long or has no UTF-8; the message names its index.
            TypeError: An id is not a str.
        """

    def arm(self, arm: str, at: float | None = None) -> tuple[float, float, float] | None:
        """Read a, b and pulls of an arm; None if it is not there."""

    def knows(self, arm: str) -> bool:
        """Return whether an arm is there, or was there and has been removed."""

    def pair(
        self, context: str, arm: str, at: float | None = None
    ) -> tuple[float, float, float] | None:
        """Read a, b and pulls of (context, arm); None if it has no posterior of its own."""

    def stored(self, context: str | None, arm: str) -> tuple[float, float, float] | None:
        """Read what is stored of an arm (context None) or a pair.

        Of a table that forgets it is the evidence, in the weight of the base. None if it is not
        there.
        """

    def arms(
        self, after: str | None = None, limit: int = 1000, at: float | None = None
    ) -> list[tuple[str, float, float, float]]:
        """List arms with a, b and pulls, in the order of their ids' code points.

        Args:
            after: Start behind this id, whether it is there or not.
            limit: The most arms to list.
            at: The time of posteriors that age, in seconds since 1970; None: now.
        """

    def removed_arms(self) -> list[str]:
        """List the ids of the arms that are removed."""

    def export_arms(self, at: float | None = None) -> tuple[_Ids, _Column, _Column, _Column]:
        """Copy all arms: ids as Arrow offsets and bytes, a, b and pulls."""

    def export_contexts(
        self, start: int, stop: int, at: float | None = None
    ) -> tuple[_Ids, _Ids, _Column, _Column, _Column]:
        """Copy the (context, arm) posteriors of a range of records.

        Args:
            start: The first record.
            stop: Behind the last one; `used()["posteriors"]` records are there. Those of
                removed arms are left out.
            at: The time of posteriors that age, in seconds since 1970; None: now.

        Returns:
            Contexts and arms as Arrow offsets and bytes, a, b and pulls.
        """

    def __len__(self) -> int:
        """Count the arms that are there."""

    def size(self) -> tuple[int, int]:
        """Count the arms that are there, and the (context, arm) posteriors."""

    def capacity(self) -> dict[str, int]:
        """Return the capacity for arms, contexts, posteriors and id_bytes."""

    def used(self) -> dict[str, int]:
        """Return how much of the capacity is used, removed arms included."""

    @property
    def prior(self) -> tuple[float, float]:
        """Parameters (a, b) of an arm that nothing is known of."""

    @property
    def half_life(self) -> float:
        """Seconds in which evidence loses half of its weight; 0: the table does not forget."""

    @property
    def base(self) -> float:
        """When stored evidence has the weight 1, in seconds since 1970."""

    @property
    def shrinkage(self) -> float:
        """Pseudo-counts that a (context, arm) posterior starts from."""

class Fetched:
    """The posteriors of the candidates of one request."""

    def __init__(
        self,
        candidates: Sequence[str],
        a: ArrayLike,
        b: ArrayLike,
        unknown_contexts: int = 0,
        unknown_arms: int = 0,
    ) -> None:
        """Take the posteriors that a store has fetched.

        Args:
            candidates: Ids of n arms; one that appears twice is two candidates.
            a: Shape (n,), from 1e-300 to 1e15.
            b: Shape (n,), from 1e-300 to 1e15.
            unknown_contexts: Candidates without a posterior for the context.
            unknown_arms: Candidates without a posterior of the arm: theirs is the prior.

        Raises:
            ValueError: A parameter is out of range, or the lengths differ.
        """

    def __len__(self) -> int: ...
    @property
    def candidates(self) -> tuple[str, ...]:
        """The ids of the candidates, in their order."""

    @property
    def a(self) -> NDArray[np.float64]:
        """First parameters, shape (n,), read-only."""

    @property
    def b(self) -> NDArray[np.float64]:
        """Second parameters, shape (n,), read-only."""

    @property
    def unknown_contexts(self) -> int:
        """Candidates that have no posterior for the context; 0 without a context."""

    @property
    def unknown_arms(self) -> int:
        """Candidates that have no posterior of the arm either: theirs is the prior."""

class ThompsonSampler:
    """Thompson sampling from a stream of its own.

    A copy in a forked process repeats the stream: make it after forking.
    """

    def __init__(self, seed: int | None = None) -> None:
        """Start a stream, from the system's entropy without a seed (0 to 2**64 - 1)."""

    def top_k(
        self, fetched: Fetched, k: int, seed: int | None = None
    ) -> tuple[list[str], list[float]]:
        """Draw from each candidate's posterior and select the k largest draws.

        Args:
            fetched: The candidates; one that appears twice is drawn twice.
            k: At least 1; above the number of candidates it selects all.
            seed: 0 to 2**64 - 1: the answer then depends on it and on the candidates only, and
                the sampler's own stream does not move.

        Returns:
            Ids and draws, best first; equal draws in the order of the candidates.

        Raises:
            ValueError: k is below 1, or the seed is out of range.
        """

class DecisionSigner:
    """Makes signed decision ids."""

    def __init__(self, key: bytes, nonce: int) -> None:
        """Make ids.

        Args:
            key: The secret, 1 to 64 bytes.
            nonce: What nonces count from.
        """

    def sign(self, shown: bytes, context: bytes | None, at: float, kind: int = 0) -> bytes:
        """Make the id of a new decision, as base64 for URLs.

        Args:
            shown: The number of arms, their fingerprints, and the features if any.
            context: The context (UTF-8), or None.
            at: When it was decided, in seconds since 1970.
            kind: Flags of the id, beside those of the version and of a context.
        """

class DirectPredictor:
    """Thompson sampling from the bytes of usual requests to those of their answers.

    It is used by one thread.
    """

    def __init__(
        self,
        table: PosteriorTable,
        sampler: ThompsonSampler,
        signer: DecisionSigner,
        counters: memoryview[float],
        places: Sequence[int],
        *,
        max_candidates: int,
        max_k: int,
        default_k: int,
    ) -> None:
        """Answer from a table.

        Args:
            table: The posteriors.
            sampler: Draws from them.
            signer: Makes the decision ids.
            counters: Doubles that `count` adds to.
            places: Where in them it counts candidates, those without a posterior for the
                context, those without one of the arm, and decisions.
            max_candidates: Candidates that a request may name.
            max_k: Arms that a request may ask for.
            default_k: Arms that are returned if it does not set it.
        """

    def count(self) -> None:
        """Count the last request, which was answered."""

    def last(self) -> tuple[bytes, bytes | None, bytes, int, int | None, bytes]:
        """Return what is logged of the last request, which was answered.

        Returns:
            The decision id, the context (UTF-8, or None), the answer's JSON from "arms" on, k,
            the seed and the candidates (JSON).
        """

    def predict(self, body: bytes, at: float, seed: int | None = None) -> bytes | None:
        """Answer a request.

        Args:
            body: The JSON of the request.
            at: The time, in seconds since 1970.
            seed: Decides what is random in a request without a seed of its own; None: chance.

        Returns:
            The answer's JSON; None if the request is not a usual one, or wrong: the general
            decoder finds out.
        """
