"""Which arms of the decisions in a log had a reward: those that had none in time count as 0."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from mlkit.bandit.logs import csv_input
from mlkit.bandit.logs.csv_input import HashingReader, open_input
from mlkit.bandit.logs.log import Log, Outcomes, outcome_key
from mlkit.errors import UsageError


class _Line(msgspec.Struct):
    """A line of any type."""

    type: str
    at: str = ""
    arm: str = ""
    decision_id: str | None = None


_decode = msgspec.json.Decoder(_Line).decode


def read_outcomes(logs: Sequence[Log], attribution: float, as_of: float | None) -> Outcomes:
    """Read which decisions had rewards; the logs are read again for the rewards themselves.

    Args:
        logs: The logs; only those of a server, in JSON Lines, have decisions.
        attribution: Seconds in which a reward must come.
        as_of: The time to judge by, in seconds since 1970; None: that of the newest line.

    Raises:
        InputMissing: A log cannot be read.
        UsageError: No log has decisions.
    """
    rewarded: set[bytes] = set()
    newest = ""
    for log in logs:
        if log.is_json_lines:
            newest = max(newest, _collect(log, rewarded))
    if not newest:
        hint = "logs of `mlkit bandit serve --log` (.jsonl) have them; others have a row per reward"
        raise UsageError("--attribution: the logs have no decisions", hint=hint)
    end = _seconds(newest) if as_of is None else as_of
    return Outcomes(rewarded, end - attribution)


def _collect(log: Log, rewarded: set[bytes]) -> str:
    """Note the rewards of a log; return the time of its newest line, in ISO 8601."""
    newest = ""
    with open_input(log.path) as file:
        for text in csv_input.text_of(HashingReader(file), log.path, log.limits):
            try:
                line = _decode(text)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # reported when the rewards are read
            newest = max(newest, line.at)
            if line.type == "feedback" and line.decision_id is not None:
                rewarded.add(outcome_key(line.decision_id, line.arm))
    return newest


def _seconds(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
