"""One log of rewards: where it is, how it is to be read, and what was read of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from mlkit.bandit.logs.csv_input import STANDARD_STREAM, open_input
from mlkit.bandit.posteriors.posterior import SourceFile
from mlkit.errors import BadData
from mlkit.unpacking import STREAMED, UnpackLimits


@dataclass(frozen=True)
class Columns:
    """The columns of a CSV or Parquet log.

    Attributes:
        arm: Ids of the arms: text or integers.
        reward: Numbers in [0, 1].
        context: Ids of users or segments: text or integers. None: there are none.
        event_id: Ids of events, each of which counts once: text or integers. None: there are
            none, and every row counts.
        time: When rewards were earned: ISO 8601, timestamps, or seconds since 1970. None: not
            known.
        separator: The character between the fields of a CSV; None: that of its first line.
    """

    arm: str
    reward: str
    context: str | None = None
    event_id: str | None = None
    separator: str | None = None
    time: str | None = None

    def names(self) -> list[str]:
        """Return the names of the columns."""
        names = (self.context, self.arm, self.reward, self.event_id, self.time)
        return [name for name in names if name is not None]


class Outcomes(NamedTuple):
    """What is known of the decisions of all logs.

    Attributes:
        rewarded: Keys of decisions and arms that had a reward, early or late.
        until: Decisions up to this time had enough of it, in seconds since 1970.
    """

    rewarded: set[bytes]
    until: float

    def counts_as_zero(self, decision_id: str, arm: str, at: float) -> bool:
        """Return whether an arm that was shown had no reward in time."""
        return at <= self.until and outcome_key(decision_id, arm) not in self.rewarded


def outcome_key(decision_id: str, arm: str) -> bytes:
    """Return the key of a decision and an arm."""
    return blake2b(f"{decision_id}:{arm}".encode(), digest_size=16).digest()


@dataclass
class Log:
    """One log, to be read once.

    Attributes:
        path: The file; `-` is a CSV on standard input.
        columns: Its columns; not needed for JSON Lines.
        skip_bad_rows: Count and skip a bad row instead of raising.
        events: The feedback events seen so far; logs that may repeat one another's events
            share a set.
        limits: How much a compressed file may unpack to.
        reward_scale: What rewards are divided by.
        excluded: Arms whose rows do not count.
        reward_range: The rewards that are good, once divided.
        features: Names of features to read beside the rewards.
        of_arms: Whether to read the features of arms that a log has.
        timed: Whether to read when rewards were earned.
        outcomes: Which decisions had rewards; None: only rewards in the log count.
        rows: Good rows read so far.
        skipped: Bad rows so far.
        bytes_read: How far in the file the reading is.
        sha256: The hash of the file's bytes, once all is read.
    """

    path: Path
    columns: Columns | None = None
    skip_bad_rows: bool = False
    events: set[bytes] = field(default_factory=set)
    limits: UnpackLimits = STREAMED
    reward_scale: float = 1.0
    excluded: frozenset[str] = frozenset()
    reward_range: tuple[float, float] = (0.0, 1.0)
    features: tuple[str, ...] = ()
    of_arms: bool = False
    timed: bool = False
    outcomes: Outcomes | None = None
    rows: int = 0
    skipped: int = 0
    bytes_read: int = 0
    sha256: str = ""

    def size(self) -> int | None:
        """Return the file's size in bytes, or None for standard input.

        Raises:
            InputMissing: The file cannot be read.
        """
        if str(self.path) == STANDARD_STREAM:
            return None
        with open_input(self.path):
            return self.path.stat().st_size

    def bad(self, reason: str, place: Callable[[], str]) -> None:
        """Count a bad row, or raise; only then is its place looked for."""
        if not self.skip_bad_rows:
            hint = "--skip-bad-rows counts and skips such rows"
            raise BadData(f"{place()}: {reason}", hint=hint)
        self.skipped += 1

    def source(self) -> SourceFile:
        """Return what the posteriors file states about this log."""
        return SourceFile(self.path.name, self.rows, self.skipped, self.sha256)

    @property
    def is_json_lines(self) -> bool:
        """Whether it is a log of a server."""
        return self.path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson"))
