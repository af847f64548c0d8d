"""Users out of a fitted log: who comes how often, and what each arm is worth to whom."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.bandit.posteriors import file
from mlkit.bandit.posteriors.posterior import Posteriors
from mlkit.errors import BadData

MOST_MEANS = 200_000
"""Users times arms: each run may count every pair."""


class Users(NamedTuple):
    """The users of a world.

    Attributes:
        names: Their contexts, most frequent first.
        arms: The ids of the arms, sorted.
        pulls: How often each came in the log, shape (users,).
        means: What each arm is worth to each: the posterior mean, shape (users, arms).
        apart: Whether policies learn of each user apart.
    """

    names: tuple[str, ...]
    arms: tuple[str, ...]
    pulls: NDArray[np.float64]
    means: NDArray[np.float64]
    apart: bool


def read(path: Path, most: int, *, apart: bool) -> Users:
    """Read the users of a file of Beta posteriors that were fitted with contexts.

    An arm that a user has not seen is worth to them what it is worth to all.

    Args:
        path: The posteriors.
        most: How many users to take, those with the most pulls.
        apart: Whether policies learn of each user apart.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is damaged, has no contexts, or the users times the arms are too many.
    """
    found = file.read(path)
    if not len(found.contexts):
        hint = "`mlkit bandit fit --context COL` fits posteriors of users"
        raise BadData(f"{path}: posteriors without contexts", hint=hint)
    arms = tuple(sorted({*found.arms["arm"].to_pylist(), *found.contexts["arm"].to_pylist()}))
    names, pulls = _most_frequent(found, most)
    if len(names) * len(arms) > MOST_MEANS:
        text = f"{path}: {len(names)} users and {len(arms)} arms, above {MOST_MEANS:,} pairs"
        raise BadData(text, hint="`most` in [users] limits their number")
    return Users(names, arms, pulls, _means(found, names, arms), apart)


def _most_frequent(found: Posteriors, most: int) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    totals = found.contexts.group_by("context").aggregate([("pulls", "sum")])
    totals = totals.sort_by([("pulls_sum", "descending"), ("context", "ascending")])[:most]
    # Posteriors that were made by hand may have no pulls: then all come alike.
    pulls = totals["pulls_sum"].to_numpy().astype(float)
    return tuple(totals["context"].to_pylist()), pulls if pulls.all() else np.ones(len(pulls))


def _means(found: Posteriors, names: tuple[str, ...], arms: tuple[str, ...]) -> NDArray[np.float64]:
    place = {name: number for number, name in enumerate(names)}
    column = {arm: number for number, arm in enumerate(arms)}
    means = np.full((len(names), len(arms)), found.prior.a / (found.prior.a + found.prior.b))
    for arm, a, b in zip(
        *(found.arms[each].to_pylist() for each in ("arm", "a", "b")), strict=True
    ):
        means[:, column[arm]] = a / (a + b)
    kept = found.contexts.filter(pc.is_in(found.contexts["context"], pa.array(names)))
    rows = (kept[each].to_pylist() for each in ("context", "arm", "a", "b"))
    for context, arm, a, b in zip(*rows, strict=True):
        means[place[context], column[arm]] = a / (a + b)
    return means
