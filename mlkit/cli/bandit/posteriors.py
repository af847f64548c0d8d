"""`mlkit bandit show, sample, quantile`: summaries of posteriors."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from mlkit.cli.bandit import models
from mlkit.cli.bandit.documents import model_fields
from mlkit.cli.bandit.drift import DriftOptions, with_drift
from mlkit.cli.groups import examples
from mlkit.cli.options import MAX_UNPACKED, MOST, Json, MaxRatio, MaxUnpacked, unpack_limits
from mlkit.cli.output import Output, of
from mlkit.unpacking import UnpackLimits

PosteriorsFile = Annotated[
    Path, typer.Argument(metavar="POSTERIORS", help="Posteriors file (Parquet, CSV; - is CSV).")
]
Context = Annotated[
    str | None, typer.Option(metavar="ID", help="Use the posteriors of this user or segment.")
]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2**64 - 1,
        help="Seed of the random numbers, for repeatable draws.",
        show_default=False,
    ),
]
Draws = Annotated[int, typer.Option(min=1, max=MOST, help="Number of Monte Carlo draws.")]


@examples(
    "mlkit bandit sample posteriors.parquet --context u123 --top 3",
    "mlkit bandit sample posteriors.parquet --draws 1000 --seed 1 --json",
)
def sample(
    posteriors: PosteriorsFile,
    context: Context = None,
    top: Annotated[
        int, typer.Option(min=1, max=MOST, help="Number of arms in each draw, the best first.")
    ] = 10,
    draws: Draws = 1,
    seed: Seed = None,
    policy: models.Policy = None,
    features: models.FeaturesJson = None,
    max_unpacked: MaxUnpacked = MAX_UNPACKED,
    max_ratio: MaxRatio = UnpackLimits.ratio,
    json: Json = False,
) -> None:
    """Draw recommendations by the policy, as the server does."""
    from mlkit.bandit.models import loading
    from mlkit.bandit.posteriors import file, summary

    limits, seed = unpack_limits(max_unpacked, max_ratio), _seed(seed)
    if not loading.is_beta(posteriors, policy, limits):
        _refuse_context(context)
        model = loading.load(posteriors, policy, limits)
        models.sample(model, features, top, draws, seed, json=json)
        return
    _refuse_features(features)
    found = file.read(posteriors, limits)
    drawn = summary.sample_top(found.of(context), top, draws, seed)
    if json:
        lists = [[score._asdict() for score in scores] for scores in drawn]
        fields = {"context": context, "seed": seed, "draws": lists}
        Output.document("bandit.sample", 1, model_fields(found) | fields)
        return
    from mlkit.cli.bandit import tables

    Output.result(tables.scores(drawn))


@examples(
    "mlkit bandit quantile posteriors.parquet --p 0.95",
    "mlkit bandit quantile posteriors.parquet --p 0.05 0.5 0.95 --context u123 --json",
)
def quantile(
    posteriors: PosteriorsFile,
    p: Annotated[
        list[float],
        typer.Option(
            "--p",
            metavar="P",
            min=0.0,
            max=1.0,
            help="Probability of the quantile; more may follow.",
        ),
    ],
    more: Annotated[
        # Click's options take a fixed number of values: what follows `--p P` arrives here.
        list[float] | None,
        typer.Argument(metavar="P", min=0.0, max=1.0, help="Further probabilities."),
    ] = None,
    context: Context = None,
    max_unpacked: MaxUnpacked = MAX_UNPACKED,
    max_ratio: MaxRatio = UnpackLimits.ratio,
    json: Json = False,
) -> None:
    """Show quantiles of every arm's mean reward, the highest first.

    Arms are in the order of the last probability: with --p 0.95 alone, that of an upper confidence
    bound.
    """
    from mlkit.bandit.posteriors import file, summary
    from mlkit.errors import UsageError

    p = [*p, *(more or [])]
    if any(each != each for each in p):  # a range of click lets it through
        raise UsageError("--p: nan is not a probability")
    found = file.read(posteriors, unpack_limits(max_unpacked, max_ratio))
    rows = summary.quantiles(found.of(context), p)
    if json:
        arms = [{"arm": row.arm, "quantiles": row.values} for row in rows]
        Output.document(
            "bandit.quantile", 1, model_fields(found) | {"context": context, "p": p, "arms": arms}
        )
        return
    from mlkit.cli.bandit import tables

    Output.result(tables.quantiles(rows, p))


@examples(
    "mlkit bandit show posteriors.parquet",
    "mlkit bandit show posteriors.parquet --drift log/2026-11-28.worker-0.jsonl --recent 7d",
    "mlkit bandit show posteriors.parquet --context u123 --top 5 --json",
)
@with_drift
def show(
    ctx: typer.Context,
    posteriors: PosteriorsFile,
    context: Context = None,
    top: Annotated[int, typer.Option(min=1, max=MOST, help="Number of arms to show.")] = 20,
    draws: Draws = 10_000,
    seed: Seed = None,
    policy: models.Policy = None,
    features: models.FeaturesJson = None,
    *,
    drift: DriftOptions,
    max_unpacked: MaxUnpacked = MAX_UNPACKED,
    max_ratio: MaxRatio = UnpackLimits.ratio,
    json: Json = False,
) -> None:
    """Show the arms, most likely best first.

    `best` is the probability that no other arm has a higher mean reward, by Monte Carlo. Of
    policies other than Thompson sampling with Beta posteriors, `share` is the exact probability
    with which each arm is shown first. --drift shows arms whose recent rate differs from the
    earlier one.
    """
    from mlkit.bandit.models import loading
    from mlkit.bandit.posteriors import file, summary

    limits = unpack_limits(max_unpacked, max_ratio)
    if drift.drift_logs or drift.needs_logs():
        _show_drift(ctx, posteriors, drift, limits, top, json=json)
        return
    if not loading.is_beta(posteriors, policy, limits):
        _refuse_context(context)
        model = loading.load(posteriors, policy, limits)
        models.show(of(ctx), model, features, top, json=json)
        return
    _refuse_features(features)
    found = file.read(posteriors, limits)
    arms, seed = found.of(context), _seed(seed)
    with of(ctx).progress("drawing") as progress:
        rows = summary.summarize(arms, draws, seed, progress=progress)
    shown = rows[:top]
    if json:
        fields = {"context": context, "draws": draws, "seed": seed, "arms_total": len(rows)}
        documents = {"arms": [row._asdict() for row in shown]}
        Output.document("bandit.show", 1, model_fields(found) | fields | documents)
        return
    from mlkit.cli.bandit import tables

    Output.result(tables.summaries(shown))
    if len(shown) < len(rows):
        of(ctx).note(f"{len(rows) - len(shown):,} more arms; --top shows more")


def _show_drift(
    ctx: typer.Context,
    posteriors: Path,
    options: DriftOptions,
    limits: UnpackLimits,
    top: int,
    *,
    json: bool,
) -> None:
    """Show the drift of the arms that are in the posteriors."""
    from mlkit.bandit.models import loading
    from mlkit.bandit.posteriors import file
    from mlkit.cli.bandit import drift
    from mlkit.errors import UsageError

    if not options.drift_logs:
        raise UsageError("--recent, --arm, --reward, --time, ...: they are about --drift LOG")
    if loading.is_beta(posteriors, None, limits):
        known, rewards = file.read(posteriors, limits).arms["arm"].to_pylist(), (0.0, 1.0)
    else:
        model = loading.load(posteriors, None, limits)
        known, rewards = [model.ids[place] for place in model.present()], model.header.spec.rewards
    found = drift.read(of(ctx), options, rewards, limits)
    drift.show(of(ctx), found.only(known), top, json=json)


def _refuse_context(context: str | None) -> None:
    from mlkit.errors import UsageError

    if context is not None:
        hint = "a model with features takes --features JSON"
        raise UsageError("--context: only Beta posteriors have contexts", hint=hint)


def _refuse_features(features: str | None) -> None:
    from mlkit.errors import UsageError

    if features is not None:
        raise UsageError("--features: Beta posteriors read none", hint="--context names one")


def _seed(seed: int | None) -> int:
    """Choose a seed that a document can tell: JSON readers keep 53 bits."""
    return secrets.randbits(53) if seed is None else seed
