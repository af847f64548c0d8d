"""The file of a job: what a language has to offer for it, and which one a file is in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from mlkit.errors import BadData, NegativeResult, UsageError
from mlkit.pairs.defaults import KEY, RSCRIPT
from mlkit.pairs.jobs.rows import Row
from mlkit.streams import Message, Record

FRAME, ONE = "frame", "one"
FUNCTIONS = ("setup", "process", "recover", "snapshot")
RETURNED = "a data frame, a dictionary or a list of them, or None"


class JobRaised(NegativeResult):
    """A function of a job raised.

    Attributes:
        trace: The traceback from the file on, of several lines.
    """

    def __init__(self, message: str, trace: str = "", *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.trace = trace


class Task(Protocol):
    """A running copy of a job's file, with the state of the keys that it has seen."""

    def process(self, given: Sequence[Row]) -> list[Row]:
        """Hand rows of one partition to the job, in their order, and return what it returns.

        Raises:
            JobRaised: `process` raised.
            BadData: It returned something that is not records.
        """

    def process_plain(self, records: Sequence[Record], *, shared: bool) -> list[Message] | None:
        """Hand records of a topic to the job without reading them one by one.

        Args:
            records: Records of one partition.
            shared: Whether the topic has several partitions.

        Returns:
            What the job returned; None, and the job was not called, where they have to be read.

        Raises:
            JobRaised, BadData: See `process`.
        """

    def state(self) -> bytes | None:
        """Return what has to be kept; None for a job without state.

        Raises:
            JobRaised: `snapshot()` raised.
            BadData: It cannot be kept.
        """


class JobFile(Protocol):
    """A file with `process(data)`, and at will `setup()`, `recover(state)` and `snapshot()`."""

    path: str
    key: str

    def start(self, state: bytes | None = None) -> Task:
        """Run the file and its `setup()`, and restore a state into it.

        Raises:
            JobRaised: `setup()` or `recover()` raised.
            BadData: The state is damaged.
        """

    def close(self) -> None:
        """Release what its running copies hold."""


def open_job(path: str, key: str = KEY, rscript: str = RSCRIPT) -> JobFile:
    """Read the file of a job, in Python or R.

    Args:
        path: The file.
        key: The field by which records are partitioned.
        rscript: The interpreter of jobs in R.

    Raises:
        UsageError: It is in neither of them.
        InputMissing: It cannot be read.
        BadData: It cannot be run, or lacks `process`; the message has file and line.
        ServiceUnavailable: There is no R.
    """
    if path.endswith(".py"):
        from mlkit.pairs.jobs.python import PythonFile

        return PythonFile(path, key)
    if path.endswith((".R", ".r")):
        from mlkit.pairs.jobs.r import RFile

        return RFile(path, key, rscript)
    hint = "a job is FILE.py or FILE.R with process(data)"
    raise UsageError(f"{path}: no file in Python or R", hint=hint)


def require_names(path: str, names: Collection[str]) -> None:
    """Refuse a file whose functions do not make a job.

    Raises:
        BadData: It lacks `process`, or has `snapshot` without `recover`.
    """
    if "process" not in names:
        raise BadData(f"{path}: no function process", hint="process(data) returns records")
    if "snapshot" in names and "recover" not in names:
        hint = "recover(state) gets what snapshot() returned"
        raise BadData(f"{path}: snapshot() without recover(state)", hint=hint)


def require_kind(path: str, kind: Any) -> None:
    """Refuse a file that asks for records in an unknown form.

    Raises:
        BadData: `RECORDS` is neither "frame" nor "one".
    """
    if kind not in (FRAME, ONE):
        raise BadData(f"{path}: RECORDS is {kind!r}", hint="RECORDS is 'frame' or 'one'")
