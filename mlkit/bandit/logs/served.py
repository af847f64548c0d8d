"""The decision logs of the server: decisions and the feedback on them, as they were written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mlkit.bandit.logs import csv_input
from mlkit.bandit.logs.csv_input import HashingReader, open_input
from mlkit.errors import BadData, InputMissing
from mlkit.unpacking import STREAMED, UnpackLimits

_ENDINGS = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")


class Probabilities(msgspec.Struct, gc=False):
    """The propensities of a decision, in the order of its arms."""

    first: list[float]
    included: list[float]
    position: list[float]
    slate: float


class Decision(msgspec.Struct, tag="decision", tag_field="type", gc=False):
    """A decision; what earlier releases did not log is missing."""

    at: str
    decision_id: str
    arms: list[str]
    scores: list[float]
    context: str | None = None
    policy: str | None = None
    version: str | None = None
    k: int | None = None
    seed: int | None = None
    source: str | None = None
    candidates: list[str] | None = None
    features: dict[str, Any] | None = None
    propensities: Probabilities | None = None
    first: list[float] | None = None
    arm_features: dict[str, dict[str, Any]] | None = None


class Feedback(msgspec.Struct, tag="feedback", tag_field="type", gc=False):
    """A reward."""

    event_id: str
    arm: str
    reward: float
    decision_id: str | None = None


class Amendment(msgspec.Struct, tag="amendment", tag_field="type", gc=False):
    """Another reward for an event, or null: it was withdrawn."""

    at: str
    event_id: str
    amends: str
    reward: float | None


@dataclass
class BadLines:
    """What becomes of lines that are wrong, such as one that a killed server left unfinished.

    Attributes:
        skip: Count and skip them instead of raising.
        count: How many were skipped.
    """

    skip: bool = False
    count: int = 0

    def add(self, error: BadData) -> None:
        """Count a line, or raise its error.

        Raises:
            BadData: Lines are not skipped.
        """
        if not self.skip:
            raise error
        self.count += 1


_decode = msgspec.json.Decoder(Decision | Feedback | Amendment).decode
Line = Decision | Feedback


def log_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files of logs; a directory stands for its JSON Lines.

    Raises:
        InputMissing: A path does not exist, or a directory has no log.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(each for each in path.iterdir() if each.name.endswith(_ENDINGS))
        if not inside:
            raise InputMissing(
                f"{path}: no logs", hint="`mlkit bandit serve --log DIR` writes them"
            )
        found += inside
    return found


def read(
    paths: Sequence[Path], limits: UnpackLimits = STREAMED, bad: BadLines | None = None
) -> Iterator[Line]:
    """Yield the lines of logs; a decision or an event that is repeated is left out.

    Args:
        paths: The logs.
        limits: How much a compressed file may unpack to.
        bad: What becomes of lines that are wrong; None: they are refused.

    Raises:
        InputMissing: A log cannot be read.
        BadData: A line is wrong; the message names it.
    """
    seen: set[bytes] = set()
    bad = bad or BadLines()
    files = log_files(paths)
    amended = _amendments([each for each in files if each.is_file()], limits, bad)
    for path, number, line in _lines(files, limits):
        try:
            found = _line(path, number, line)
        except BadData as error:
            bad.add(error)
            continue
        if isinstance(found, Feedback) and found.event_id in amended:
            reward = amended[found.event_id].reward
            found = None if reward is None else msgspec.structs.replace(found, reward=reward)
        if found is not None and not isinstance(found, Amendment) and _is_new(seen, found):
            yield found


def _lines(files: Sequence[Path], limits: UnpackLimits) -> Iterator[tuple[Path, int, bytes]]:
    for path in files:
        with open_input(path) as file:
            text = csv_input.text_of(HashingReader(file), path, limits)
            for number, line in enumerate(text, 1):
                yield path, number, line


def _amendments(files: Sequence[Path], limits: UnpackLimits, bad: BadLines) -> dict[str, Amendment]:
    """Return the last amendment of each event that has one, wherever it is in the logs."""
    last: dict[str, Amendment] = {}
    for path, number, line in _lines(files, limits):
        if b'"amendment"' not in line:
            continue
        try:
            found = _line(path, number, line)
        except BadData:
            if not bad.skip:
                raise
            continue  # it is counted with the others
        if isinstance(found, Amendment):
            earlier = last.get(found.amends)
            if earlier is None or found.at >= earlier.at:
                last[found.amends] = found
    return last


def _line(path: Path, number: int, line: bytes) -> Line | Amendment | None:
    if not line.strip():
        return None
    place = f"{path}: line {number}"
    try:
        found: Line | Amendment = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(place, str(error)) from error
    if isinstance(found, Decision):
        _check(place, found)
    return found


def _wrong(place: str, reason: str) -> BadData:
    return BadData(f"{place}: {reason}", hint="--skip-bad-rows counts and skips such lines")


def _check(place: str, decision: Decision) -> None:
    """Refuse a decision whose parts do not fit."""
    count, given = len(decision.arms), decision.propensities
    lists = [decision.scores]
    if given is not None:
        lists += [given.first, given.included, given.position]
        if not all(0 <= each <= 1 for values in lists[1:] for each in values):
            raise _wrong(place, "a propensity is outside [0, 1]")
    if any(len(values) != count for values in lists):
        raise _wrong(place, f"{count} arms, and lists of other lengths about them")
    if decision.candidates is not None and not set(decision.arms) <= set(decision.candidates):
        raise _wrong(place, "an arm was shown that is not a candidate")
    first = decision.first
    if first is not None and len(first) != len(decision.candidates or ()):
        raise _wrong(place, f"{len(first)} probabilities of the candidates, which are others")


def _is_new(seen: set[bytes], line: Line) -> bool:
    name = f"d{line.decision_id}" if isinstance(line, Decision) else f"f{line.event_id}"
    key = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if key in seen:
        return False
    seen.add(key)
    return True
