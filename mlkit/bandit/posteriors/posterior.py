"""Beta posteriors: their arithmetic, and what a set of them is.

The reward of arm `i` is Bernoulli (or any value in [0, 1], taken as a fractional success) and
its unknown mean has a Beta prior, which is conjugate: after rewards `r_1 .. r_n` the posterior
is `Beta(a + sum r, b + n - sum r)` (Russo et al., "A Tutorial on Thompson Sampling", 2018,
section 3). The posteriors of one arm in many contexts share a prior of their own: the arm's
mean, worth `shrinkage` pulls. So one click of one user does not discard what is known of the
arm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.bandit.posteriors.forgetting import Forgetting
from mlkit.bandit.posteriors.window import Window
from mlkit.errors import BadData, UsageError

LOWEST, HIGHEST = 1e-300, 1e15
"""The parameters that the sampler accepts."""
RANGE = "a number in [1e-300, 1e15]"
ID_BYTES = 256
"""The longest arm or context id, in bytes of UTF-8."""
DEFAULT_SHRINKAGE = 100.0

SCHEMA = pa.schema(
    [
        pa.field("context", pa.string()),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("a", pa.float64(), nullable=False),
        pa.field("b", pa.float64(), nullable=False),
        pa.field("pulls", pa.int64(), nullable=False),
    ]
)
"""The columns of posteriors; a row without a context is the arm's own."""

Number = TypeVar("Number", float, NDArray[np.float64])


class Prior(NamedTuple):
    """The Beta distribution of an arm of which nothing is known."""

    a: float = 1.0
    b: float = 1.0


def update(
    a: Number | float, b: Number | float, reward: Number, pulls: Number
) -> tuple[Number, Number]:
    """Add `pulls` rewards with the sum `reward` to a posterior."""
    return a + reward, b + (pulls - reward)


def shrunk(a: Number, b: Number, shrinkage: float) -> tuple[Number, Number]:
    """Return the start of a (context, arm) posterior: the arm's mean, worth `shrinkage` pulls.

    Args:
        a: The arm's parameters.
        b: The arm's parameters.
        shrinkage: Pseudo-counts, above 0.
    """
    # Not 1 - mean, which is 0 when the mean rounds to 1.
    return shrinkage * a / (a + b), shrinkage * b / (a + b)


@dataclass(frozen=True)
class SourceFile:
    """One log that posteriors were fitted from.

    Attributes:
        name: The file's name without its directory; `-` is standard input.
        rows: Rewards counted.
        skipped: Bad rows left out.
        sha256: Hash of the file's bytes.
    """

    name: str
    rows: int
    skipped: int
    sha256: str


@dataclass(frozen=True)
class Header:
    """What all rows of a set of posteriors share.

    Attributes:
        model: The model's name.
        prior: The posterior of an arm that is not listed.
        shrinkage: Pseudo-counts with which a (context, arm) posterior starts.
        source: The logs, in the order in which they were read; empty if unknown.
        forgetting: How they age; None: they do not.
        window: The hours that they are of; None: all time.

    Raises:
        UsageError: The prior or the shrinkage is out of range.
    """

    model: str
    prior: Prior = field(default_factory=Prior)
    shrinkage: float = DEFAULT_SHRINKAGE
    source: tuple[SourceFile, ...] = ()
    forgetting: Forgetting | None = None
    window: Window | None = None

    def __post_init__(self) -> None:
        for name, value in (("a", self.prior[0]), ("b", self.prior[1])):
            if not LOWEST <= value <= HIGHEST:
                raise UsageError(f"prior: {name} is {value!r}, expected {RANGE}")
        if not 1e-6 <= self.shrinkage <= HIGHEST:
            raise UsageError(f"shrinkage: {self.shrinkage!r}, expected a number in [1e-6, 1e15]")
        if self.forgetting is not None:
            self.forgetting.check()


@dataclass(frozen=True)
class Posteriors(Header):
    """A set of posteriors in memory.

    Attributes:
        arms: One row an arm: `SCHEMA` without `context`.
        contexts: One row a (context, arm) pair: `SCHEMA`; may be empty.
    """

    arms: pa.Table = field(default_factory=lambda: SCHEMA.remove(0).empty_table())
    contexts: pa.Table = field(default_factory=lambda: SCHEMA.empty_table())

    def header(self) -> Header:
        """Return what all rows share."""
        about = self.model, self.prior, self.shrinkage, self.source
        return Header(*about, self.forgetting, self.window)

    def batches(self, rows: int = 1 << 20) -> Iterator[pa.RecordBatch]:
        """Return all rows as `SCHEMA`, the arms' own first, at most `rows` at a time."""
        nulls = pa.nulls(len(self.arms), pa.string())
        own = self.arms.add_column(0, SCHEMA.field("context"), nulls)
        for table in (own, self.contexts):
            yield from table.cast(SCHEMA).combine_chunks().to_batches(rows)

    def of(self, context: str | None) -> pa.Table:
        """Return one row an arm, as a context sees it: its own posterior, else the arm's.

        Raises:
            BadData: The context has no posteriors.
        """
        if context is None:
            return self.arms
        own = self.contexts.filter(pc.field("context") == context).drop_columns("context")
        if not len(own):
            raise BadData(f"no posteriors of the context {context!r}", hint=self._contexts_hint())
        rest = self.arms.filter(pc.invert(pc.is_in(self.arms["arm"], own["arm"].combine_chunks())))
        return pa.concat_tables([own, rest]).sort_by("arm")

    def _contexts_hint(self) -> str:
        names = pc.unique(self.contexts["context"])
        if not len(names):
            return "they were fitted without --context"
        return f"{len(names)} contexts are known, such as {names[0].as_py()!r}"


class BadRow(NamedTuple):
    """The first bad row of a batch: its number there, and what is wrong."""

    row: int
    reason: str


def find_bad_row(batch: pa.RecordBatch) -> BadRow | None:
    """Find the first row of a batch (`SCHEMA`) that is not a posterior."""
    found = [_bad_id(batch["arm"], "arm"), _bad_id(batch["context"], "context", required=False)]
    found += [_bad_parameter(batch[name], name) for name in ("a", "b")]
    found += [_first(pc.less(batch["pulls"], 0), batch["pulls"], "pulls", "0 or more")]
    return min((each for each in found if each is not None), default=None)


def _bad_id(column: pa.Array, name: str, *, required: bool = True) -> BadRow | None:
    """Find an id that is empty or too long."""
    length = pc.binary_length(column)
    bad = pc.or_(pc.equal(length, 0), pc.greater(length, ID_BYTES))
    expected = f"1 to {ID_BYTES} bytes of UTF-8"
    return _first(pc.fill_null(bad, required), column, name, expected)


def _bad_parameter(column: pa.Array, name: str) -> BadRow | None:
    good = pc.and_(pc.greater_equal(column, LOWEST), pc.less_equal(column, HIGHEST))
    return _first(pc.invert(pc.fill_null(good, False)), column, name, RANGE)


def _first(bad: pa.Array, column: pa.Array, name: str, expected: str) -> BadRow | None:
    index = pc.index(bad, True).as_py()
    if index < 0:
        return None
    value = column[index].as_py()
    shown = "missing" if value is None else repr(value)[:80]
    return BadRow(index, f"{name} is {shown}, expected {expected}")
