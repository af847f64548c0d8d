"""The log of decisions and feedback as JSON Lines, one file per worker and day."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from mlkit.bandit.models.features import Named
from mlkit.bandit.server.api.messages import Propensities
from mlkit.bandit.server.features.packed import of_arm, of_context
from mlkit.bandit.server.learning.records import Effect

_FLUSH_BYTES = 1 << 18
logger = logging.getLogger("mlkit.bandit.server")


class PostProcessed(msgspec.Struct, gc=False):
    """What business rules did.

    `by` is the file and the begin of its hash, `ranked` what the policy alone would have shown, and
    `removed` are the candidates that filters removed before it.
    """

    by: str
    ranked: list[str]
    removed: list[str]


class DecisionLine(msgspec.Struct, tag_field="type", tag="decision", gc=False):
    """One decision, and what its propensities can be computed from later.

    `version` is that of the posteriors: `FILE.CHANGES`, the begin of the posteriors file's hash and
    how many changes had been applied; `FILE.FROM-TO` while changes were being applied. `first` has
    the probability of each candidate to be first, where propensities are logged. `arm_features` has
    those of the candidates that a feature store had. `candidates` are those that could be shown.
    """

    at: str
    decision_id: str
    context: str | None
    arms: list[str]
    scores: list[float]
    policy: str
    version: str
    k: int
    seed: int
    source: str
    candidates: Sequence[str]
    features: Named | None = None
    propensities: Propensities | None = None
    first: list[float] | None = None
    arm_features: dict[str, Named] | None = None
    post_process: PostProcessed | None = None


class FeedbackLine(msgspec.Struct, tag_field="type", tag="feedback", gc=False):
    """One event that was counted.

    `time` is when the reward was earned, in seconds since 1970: when it was decided, or received.
    `arm_features` are those of the arm that a feature store had when it was decided.
    """

    at: str
    event_id: str
    decision_id: str | None
    context: str | None
    arm: str
    reward: float
    time: float | None = None
    features: msgspec.Raw | None = None
    arm_features: msgspec.Raw | None = None


class Replaced(msgspec.Struct, gc=False):
    """What an event counted for before it was amended; `reward` is null if it was withdrawn."""

    context: str | None
    arm: str
    reward: float | None
    time: float | None
    features: msgspec.Raw | None = None
    arm_features: msgspec.Raw | None = None


class AmendmentLine(msgspec.Struct, tag_field="type", tag="amendment", gc=False):
    """Another reward for an event, or null: it was withdrawn."""

    at: str
    event_id: str
    amends: str
    reward: float | None
    replaced: Replaced


class DecisionLog:
    """Appends lines to `DIRECTORY/YYYY-MM-DD.worker-N.jsonl`; days are those of UTC.

    The file is locked: where another server that shares the directory has it, this one takes
    `YYYY-MM-DD.worker-N.2.jsonl`, and so on.

    Lines wait in memory for `flush`, which the worker calls several times a second: what a
    SIGKILL loses is in the journal if it was acknowledged feedback. A log that cannot be
    written stops no request; the loss is reported once.

    Args:
        directory: Where the files are.
        worker: The worker's number, from 0.
        clock: Returns the seconds since 1970.
    """

    def __init__(
        self, directory: Path, worker: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._worker = worker
        self._clock = clock
        self._encoder = msgspec.json.Encoder()
        self._lines = bytearray()
        self._second = -1
        self._prefix = ""
        self._lines_day = ""
        self._day = ""
        self._file = -1
        self._state: Literal["good", "failed"] = "good"

    def now(self) -> str:
        """Return the time of a line."""
        return self._now()

    def decision(self, line: DecisionLine) -> None:
        """Log one decision."""
        self._append(line)

    def line(self, line: bytes) -> None:
        """Log one decision that is JSON already."""
        self._lines += line
        self._end_line()

    def feedback(
        self,
        event_id: str,
        decision_id: str | None,
        context: str | None,
        arm: str,
        reward: float,
        *,
        time: float | None = None,
        features: bytes | None = None,
    ) -> None:
        """Log one event that was counted."""
        about = event_id, decision_id, context, arm, reward, time
        self._append(FeedbackLine(self._now(), *about, *raw_features(features, arm)))

    def amendment(self, event_id: str, amends: str, reward: float | None, replaced: Effect) -> None:
        """Log one event that was amended."""
        about = replaced.context, replaced.arm, replaced.reward, replaced.at
        before = Replaced(*about, *raw_features(replaced.features, replaced.arm))
        self._append(AmendmentLine(self._now(), event_id, amends, reward, before))

    def _now(self) -> str:
        now = self._clock()
        if int(now) != self._second:
            self._second = int(now)
            self._prefix = datetime.fromtimestamp(self._second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            if not self._prefix.startswith(self._lines_day):
                self.flush()
        return f"{self._prefix}.{int(now % 1 * 1e6):06d}Z"

    def _append(self, line: DecisionLine | FeedbackLine | AmendmentLine) -> None:
        self._encoder.encode_into(line, self._lines, -1)
        self._end_line()

    def _end_line(self) -> None:
        self._lines += b"\n"
        self._lines_day = self._prefix[:10]
        if len(self._lines) > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand the lines that wait to the operating system."""
        if not self._lines:
            return
        try:
            self._open_day(self._lines_day)
            _write_all(self._file, self._lines)
            self._state = "good"
        except OSError as error:
            if self._state == "good":
                logger.error("the decision log in %s loses lines: %s", self._directory, error)
            self._state = "failed"
        self._lines.clear()

    def _open_day(self, day: str) -> None:
        if day == self._day and self._file >= 0:
            return
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._file = self._open_own(day)
        self._day = day
        _cut_torn_line(self._file)

    def _open_own(self, day: str) -> int:
        """Open the first file of a day and worker that no other server has."""
        for number in itertools.count(1):
            ending = "" if number == 1 else f".{number}"
            path = self._directory / f"{day}.worker-{self._worker}{ending}.jsonl"
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
            except BaseException:
                os.close(file)
                raise
            else:
                return file
        raise AssertionError

    def close(self) -> None:
        """Write what waits and close the file."""
        self.flush()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _write_all(file: int, data: bytearray) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(file, view) :]
    finally:
        view.release()


def _cut_torn_line(file: int) -> None:
    """Cut a last line that a killed worker left without its end."""
    end = os.fstat(file).st_size
    size = end
    while size:
        start = max(0, size - (1 << 16))
        newline = os.pread(file, size - start, start).rfind(b"\n")
        if newline >= 0:
            size = start + newline + 1
            break
        size = start
    if size < end:
        os.ftruncate(file, size)


def raw_features(packed: bytes | None, arm: str) -> list[msgspec.Raw | None]:
    """Return the features of a context, and those of an arm, as a line has them."""
    found = of_context(packed), of_arm(packed, arm)
    return [None if each is None else msgspec.Raw(each) for each in found]
