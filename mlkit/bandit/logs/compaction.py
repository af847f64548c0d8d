"""From the server's logs to one table: a row per arm that was shown, with its reward."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from mlkit.bandit.logs import served
from mlkit.bandit.logs.served import BadLines, Decision
from mlkit.errors import BadData
from mlkit.files import replacing
from mlkit.unpacking import STREAMED, UnpackLimits

_GROUP = 1 << 13
_encode = msgspec.json.Encoder(order="sorted").encode
SCHEMA = pa.schema(
    [
        pa.field("decision_id", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("policy", pa.string()),
        pa.field("version", pa.string()),
        pa.field("source", pa.string()),
        pa.field("seed", pa.uint64()),
        pa.field("k", pa.int64()),
        pa.field("context", pa.string()),
        pa.field("features", pa.string()),
        pa.field("arm_features", pa.string()),
        pa.field("candidate_features", pa.string()),
        pa.field("candidates", pa.list_(pa.string())),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("propensity", pa.float64()),
        pa.field("propensity_first", pa.float64()),
        pa.field("propensity_included", pa.float64()),
        pa.field("propensity_slate", pa.float64()),
        pa.field("reward", pa.float64()),
    ]
)
"""The columns. `propensity` is that of the arm at its position, which `evaluate` reads.

`arm_features` are those of the arm, `candidate_features` those of all candidates by their ids, in
the first row of a decision; both are what a feature store had.
"""


class Compacted(NamedTuple):
    """What was written.

    Attributes:
        decisions: Decisions.
        rows: Arms shown.
        rewarded: Of these, those with a reward.
        orphans: Events of decisions that the logs do not have.
        direct: Events without a decision.
        with_propensities: Decisions with propensities.
    """

    decisions: int
    rows: int
    rewarded: int
    orphans: int
    direct: int
    with_propensities: int


def compact(
    logs: Sequence[Path],
    output: Path,
    limits: UnpackLimits = STREAMED,
    bad: BadLines | None = None,
) -> Compacted:
    """Join logs by decision, and write them as Parquet in the order of time.

    Rewards of the same arm of a decision are added up. An arm without an event has no reward:
    whether that is a 0 is for the reader to decide.

    Args:
        logs: The logs.
        output: The file to write.
        limits: How much a compressed file may unpack to.
        bad: What becomes of lines that are wrong; None: they are refused.

    Raises:
        InputMissing: A log cannot be read.
        BadData: A line is wrong, or there is no decision.
    """
    decisions: list[Decision] = []
    rewards: dict[tuple[str, str], float] = {}
    direct = 0
    for line in served.read(logs, limits, bad):
        if isinstance(line, Decision):
            decisions.append(line)
        elif line.decision_id is None:
            direct += 1
        else:
            key = line.decision_id, line.arm
            rewards[key] = rewards.get(key, 0.0) + line.reward
    if not decisions:
        raise BadData(f"{', '.join(map(str, logs))}: no decisions")
    decisions.sort(key=lambda each: (each.at, each.decision_id))
    rows, rewarded = _write(decisions, rewards, output)
    stated = sum(each.propensities is not None for each in decisions)
    return Compacted(len(decisions), rows, rewarded, len(rewards) - rewarded, direct, stated)


def _write(
    decisions: Sequence[Decision], rewards: dict[tuple[str, str], float], output: Path
) -> tuple[int, int]:
    rows = rewarded = 0
    with replacing(output) as to, pq.ParquetWriter(to, SCHEMA, compression="zstd") as writer:
        for begin in range(0, len(decisions), _GROUP):
            table = _table(decisions[begin : begin + _GROUP], rewards)
            writer.write_table(table)
            rows += len(table)
            rewarded += len(table) - table["reward"].null_count
    return rows, rewarded


def _table(decisions: Iterable[Decision], rewards: dict[tuple[str, str], float]) -> pa.Table:
    rows = [_row(each, place, rewards) for each in decisions for place in range(len(each.arms))]
    table = pa.Table.from_pylist(rows, SCHEMA.set(1, pa.field("time", pa.string())))
    return table.set_column(1, SCHEMA.field("time"), _times(table))


def _times(table: pa.Table) -> pa.ChunkedArray:
    kind = SCHEMA.field("time").type
    try:
        return table["time"].cast(kind)
    except pa.ArrowInvalid:
        names = zip(table["decision_id"].to_pylist(), table["time"].to_pylist(), strict=True)
        name, at = next((name, at) for name, at in names if not _is_time(at, kind))
        text = f"the time is {at!r:.80}, expected ISO 8601 with a zone"
        raise BadData(f"the decision {name:.40}: {text}") from None


def _is_time(text: str, kind: pa.DataType) -> bool:
    try:
        pa.scalar(text).cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _row(decision: Decision, place: int, rewards: dict[tuple[str, str], float]) -> dict[str, Any]:
    arm, stated = decision.arms[place], decision.propensities
    features = decision.features
    shared = ("decision_id", "policy", "version", "source", "seed", "k", "context", "candidates")
    row = {name: getattr(decision, name) for name in shared}
    row |= {"time": decision.at, "arm": arm, "position": place + 1}
    row |= {"score": decision.scores[place], "reward": rewards.get((decision.decision_id, arm))}
    if features is not None:
        row["features"] = _encode(features).decode()
    if decision.arm_features is not None:
        row |= _features_of_arms(decision.arm_features, arm, is_first=place == 0)
    if stated is not None:
        row |= {"propensity": stated.position[place], "propensity_first": stated.first[place]}
        row |= {"propensity_included": stated.included[place], "propensity_slate": stated.slate}
    return row


def _features_of_arms(
    by_arm: dict[str, dict[str, Any]], arm: str, *, is_first: bool
) -> dict[str, str]:
    named: dict[str, Any] = {"candidate_features": by_arm} if is_first else {}
    if arm in by_arm:
        named["arm_features"] = by_arm[arm]
    return {name: _encode(each).decode() for name, each in named.items()}
