"""`mlkit bandit log compact, verify, positions`: what the server has logged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import Json, MaxRatio, MaxUnpacked, unpack_limits
from mlkit.cli.output import Output, format_count, of
from mlkit.unpacking import UnpackLimits

Logs = Annotated[
    list[Path],
    typer.Argument(metavar="LOG...", help="Directories of `serve --log`, or their .jsonl files."),
]
SkipBadRows = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Skip lines that cannot be used, and count them.")
]


@examples(
    "mlkit bandit log compact log/ -o log.parquet",
    "mlkit bandit log compact log/2026-11-*.jsonl -o november.parquet --json",
)
def compact(
    ctx: typer.Context,
    logs: Logs,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The .parquet file to write.")
    ],
    skip_bad_rows: SkipBadRows = False,
    max_unpacked: MaxUnpacked = None,
    max_ratio: MaxRatio = UnpackLimits.ratio,
    json: Json = False,
) -> None:
    """Join decisions and rewards into one Parquet table.

    It has a row for each arm shown, and `mlkit bandit evaluate` reads it. Arms without feedback
    have no reward (--missing zero).
    """
    from mlkit.bandit.logs import compaction
    from mlkit.bandit.logs.served import BadLines
    from mlkit.errors import UsageError

    if output.suffix.lower() not in (".parquet", ".pq"):
        raise UsageError(f"{output}: unknown format", hint="the name ends in .parquet")
    bad = BadLines(skip_bad_rows)
    found = compaction.compact(logs, output, unpack_limits(max_unpacked, max_ratio), bad)
    if json:
        fields = found._asdict() | {"output": str(output), "skipped": bad.count}
        Output.document("bandit.log.compact", 1, fields)
        return
    _note_skipped(ctx, bad.count)
    decisions, rows = format_count(found.decisions, "decision"), format_count(found.rows, "row")
    of(ctx).note(f"{output}: {decisions}, {rows}, {found.rewarded:,} with a reward")
    if found.orphans:
        of(ctx).note(f"{found.orphans:,} rewards belong to decisions that are not in these logs")
    if found.with_propensities < found.decisions:
        missing = found.decisions - found.with_propensities
        of(ctx).note(f"{missing:,} decisions have no propensities (serve --propensities 1)")


@examples(
    "mlkit bandit log verify log/",
    "mlkit bandit log verify log/ --level 0.01 --json",
)
def verify(
    ctx: typer.Context,
    logs: Logs,
    level: Annotated[
        float,
        typer.Option(min=1e-12, max=0.5, help="p-value below which the log is rejected."),
    ] = 0.001,
    skip_bad_rows: SkipBadRows = False,
    max_unpacked: MaxUnpacked = None,
    max_ratio: MaxRatio = UnpackLimits.ratio,
    json: Json = False,
) -> None:
    """Check that logged propensities agree with how often arms were shown.

    Only the first positions are compared. A correct log fails with a probability of at most
    --level. Exits 1 if the log does not agree.
    """
    from mlkit.bandit.logs import verification
    from mlkit.bandit.logs.served import BadLines

    bad = BadLines(skip_bad_rows)
    found = verification.verify(logs, unpack_limits(max_unpacked, max_ratio), bad)
    fits = found.p_value >= level
    if json:
        arms = [each._asdict() for each in found.arms]
        fields = {"fits": fits, "level": level, **found._asdict(), "arms": arms}
        fields["skipped"] = bad.count
        Output.document("bandit.log.verify", 1, fields)
    else:
        from mlkit.cli.bandit import tables

        _note_skipped(ctx, bad.count)
        Output.result(tables.checks(found.arms[:20]))
        verdict = "the propensities fit" if fits else "the propensities do NOT fit"
        checked = f"{found.checked:,} of {format_count(found.decisions, 'decision')}"
        Output.line(f"{verdict}: p = {found.p_value:.3g}; {checked} checked")
    if not fits:
        raise typer.Exit(1)


@examples(
    "mlkit bandit log positions log/",
    "mlkit bandit log positions log/ --json",
)
def positions(
    ctx: typer.Context,
    logs: Logs,
    skip_bad_rows: SkipBadRows = False,
    max_unpacked: MaxUnpacked = None,
    max_ratio: MaxRatio = UnpackLimits.ratio,
    json: Json = False,
) -> None:
    """Estimate the probability that each position is looked at.

    The estimate uses the random rankings of a holdout. The last line is the option `--position-
    model` for `serve`. Missing rewards count as 0.
    """
    from mlkit.bandit.logs import positions as estimates
    from mlkit.bandit.logs.served import BadLines

    bad = BadLines(skip_bad_rows)
    found = estimates.estimate(logs, unpack_limits(max_unpacked, max_ratio), bad)
    if json:
        rows = [each._asdict() for each in found]
        Output.document("bandit.log.positions", 1, {"positions": rows, "skipped": bad.count})
        return
    from mlkit.cli.bandit import tables

    _note_skipped(ctx, bad.count)
    few = [each for each in found if each.rewards < estimates.FEWEST_REWARDS]
    if few:
        named = ", ".join(f"{each.position} ({each.rewards:g})" for each in few)
        text = f"fewer than {estimates.FEWEST_REWARDS:g} rewards at the positions {named}"
        of(ctx).note(f"warning: {text}: their probabilities are hardly known")
    Output.result(tables.positions(found))
    model = ",".join(f"{each.examined:.4g}" for each in found)
    Output.line(f"--position-model {model}")


def _note_skipped(ctx: typer.Context, count: int) -> None:
    if count:
        of(ctx).note(f"{format_count(count, 'bad line')} skipped")
