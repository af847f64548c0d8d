"""`mlkit bandit evaluate`: what a policy would have earned, from the log of another one."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.bandit.evaluation.defaults import LEVEL, RESAMPLES
from mlkit.cli.bandit.durations import seconds_of
from mlkit.cli.groups import examples
from mlkit.cli.options import MAX_UNPACKED, Json, MaxRatio, MaxUnpacked, unpack_limits
from mlkit.cli.output import Output, of
from mlkit.cli.report import ReportOption
from mlkit.unpacking import UnpackLimits

if TYPE_CHECKING:
    from mlkit.bandit.evaluation.evaluation import Estimate, Judgement
    from mlkit.bandit.evaluation.terms import Settings
    from mlkit.bandit.logs.decisions import Logged


class Missing(StrEnum):
    """The choices of --missing."""

    ZERO = "zero"
    DROP = "drop"


class Model(StrEnum):
    """The choices of --model."""

    ARM = "arm"
    CONTEXT_ARM = "context-arm"


def _column(name: str, usual: str) -> Any:
    text = f"Column of {name} (default: {usual})."
    return typer.Option(metavar="COL", help=text, show_default=False, rich_help_panel="Columns")


@examples(
    "mlkit bandit evaluate log.csv.gz --policy posteriors.parquet --against uniform",
    "mlkit bandit evaluate log.jsonl --policy new.csv --missing zero --attribution 24h --json",
    "mlkit bandit evaluate log.parquet --policy new.parquet --missing zero --report new.html",
)
def evaluate(
    ctx: typer.Context,
    logs: Annotated[
        list[Path],
        typer.Argument(metavar="LOG...", help="CSV (also gzip), Parquet, or JSON Lines."),
    ],
    policy: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help=(
                "Policy to evaluate: uniform, a file written by fit, a table of "
                "probabilities, or column:NAME."
            ),
        ),
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="Compare with this policy (repeatable)."),
    ] = None,
    arm: Annotated[str | None, _column("the arm shown", "arm, action or item_id")] = None,
    reward: Annotated[str | None, _column("rewards", "reward or click")] = None,
    propensity: Annotated[
        str | None,
        _column("the probabilities of what was shown", "propensity, propensity_score or pscore"),
    ] = None,
    context: Annotated[
        str | None, _column("user or segment ids", 'context, if any; "": none')
    ] = None,
    position: Annotated[str | None, _column("positions", 'position, if any; "": none')] = None,
    candidates: Annotated[
        str | None, _column("the arms that could be shown", 'candidates, if any; "": none')
    ] = None,
    slate: Annotated[
        str | None,
        _column("ids of slates", 'slate, slate_id or decision_id, if any; "": none'),
    ] = None,
    time: Annotated[str | None, _column("times", "time, timestamp or at")] = None,
    features: Annotated[
        str | None,
        _column("features as JSON, for models", "features, if any, or columns of their names"),
    ] = None,
    candidate_features: Annotated[
        str | None,
        _column("features of arms as JSON by arm, for models", "candidate_features, if any"),
    ] = None,
    missing: Annotated[
        Missing | None,
        typer.Option(help=("Count a missing reward as zero, or drop its row (default: an error).")),
    ] = None,
    attribution: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=(
                "Attribution window, such as 24h: rows without a reward that are "
                "younger than this at the end of the log are dropped, older ones count "
                "as zero."
            ),
        ),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(help="Largest weight of clipped IPS (default: square root of the row count)."),
    ] = None,
    switch: Annotated[
        float | None,
        typer.Option(help="Weight above which SWITCH-DR uses the model (default: as --clip)."),
    ] = None,
    model: Annotated[
        Model,
        typer.Option(
            help=("What the reward model averages over: each arm, or each arm in each context.")
        ),
    ] = Model.CONTEXT_ARM,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="Confidence level of the intervals.")
    ] = LEVEL,
    resamples: Annotated[
        int, typer.Option(min=100, max=100_000, help="Number of bootstrap samples.")
    ] = RESAMPLES,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**64 - 1, help="Seed of the bootstrap, the folds and the replay."),
    ] = 0,
    report: ReportOption = None,
    max_unpacked: MaxUnpacked = MAX_UNPACKED,
    max_ratio: MaxRatio = UnpackLimits.ratio,
    json: Json = False,
) -> None:
    """Estimate what a policy would have earned, from the log of another policy.

    The log has a row per arm that was shown, with the probability of showing it, its propensity.
    A warning reports where the estimates may be worthless.
    """
    from mlkit.bandit import targets
    from mlkit.bandit.evaluation.evaluation import judge, logged_value
    from mlkit.bandit.logs import decisions
    from mlkit.bandit.logs.decision_tables import DecisionColumns

    specs = list(dict.fromkeys([policy, *(against or ())]))
    limits = unpack_limits(max_unpacked, max_ratio)
    wait = seconds_of("--attribution", attribution)
    if attribution is None and report is None:
        time = ""  # nothing else needs it
    logged = decisions.read(
        logs,
        DecisionColumns(
            arm,
            reward,
            propensity,
            context,
            position,
            candidates,
            slate,
            time,
            features,
            candidate_features,
            *targets.features_of(specs, limits),
        ),
        decisions.MissingRewards(_rule(missing, attribution), wait),
        probabilities=targets.columns_of(specs),
        limits=limits,
    )
    how = _settings(clip, switch, model, confidence, resamples, seed, len(logged.decisions))
    policies = [targets.load(each, logged, limits) for each in specs]
    judged = [judge(logged.decisions, each, how) for each in policies]
    own = logged_value(logged.decisions, how)
    if report is not None:
        from mlkit.bandit.report import evaluation as page

        names, settings = [each.name for each in logs], _settings_of(logged, how)
        found = page.Evaluation(names, logged, own, policies, judged, settings, how.level)
        page.write(report, found)
        of(ctx).wrote(report)
    if json:
        Output.document("bandit.evaluate", 1, _document(logged, own, judged, how))
        return
    _show(logged, own, judged, how)


def _rule(missing: Missing | None, attribution: str | None) -> str | None:
    """Return what a missing reward counts: once its time is over, it is 0 unless stated."""
    if missing is None:
        return None if attribution is None else Missing.ZERO.value
    return missing.value


def _settings(
    clip: float | None,
    switch: float | None,
    model: Model,
    level: float,
    resamples: int,
    seed: int,
    rows: int,
) -> Settings:
    from mlkit.bandit.evaluation.terms import Settings
    from mlkit.errors import UsageError

    for name, value in (("--clip", clip), ("--switch", switch)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{name} {value}: expected a weight above 0")
    if level != level:  # a range of click lets it through
        raise UsageError("--confidence: nan is not a probability")
    most = float(rows**0.5) if clip is None else clip
    by_context = model is Model.CONTEXT_ARM
    return Settings(most, most if switch is None else switch, by_context, level, resamples, seed)


def _settings_of(logged: Logged, how: Settings) -> dict[str, Any]:
    """Return how policies were judged, as documents and pages list it."""
    settings = asdict(how) | {"model": _model(logged, how)}
    settings["confidence"] = settings.pop("level")
    del settings["by_context"]
    return settings


def _document(
    logged: Logged, own: Estimate, judged: list[Judgement], how: Settings
) -> dict[str, Any]:
    """Return the fields of the document."""
    log = {
        "rows": len(logged.decisions),
        "missing_rewards": logged.missing,
        "dropped": logged.dropped,
        "columns": logged.fields,
        "value": _estimate(own),
    }
    policies = [_policy(each, judged[0], how.level) for each in judged]
    return {"log": log, "settings": _settings_of(logged, how), "policies": policies}


def _model(logged: Logged, how: Settings) -> str:
    """Describe the model of rewards."""
    from mlkit.bandit.evaluation.reward_model import FOLDS, SHRINKAGE

    per = ["arm", *(name for name in ("position",) if name in logged.fields)]
    if how.by_context:
        per += [name for name in ("context", "candidates") if name in logged.fields]
    return f"means by {', '.join(per)}, shrunk by {SHRINKAGE:g} row, of {FOLDS} folds"


def _policy(judgement: Judgement, first: Judgement, level: float) -> dict[str, Any]:
    from mlkit.bandit.evaluation.evaluation import difference

    fields: dict[str, Any] = {
        "policy": judgement.policy,
        "estimates": [_estimate(each) for each in judgement.estimates],
        "support": asdict(judgement.support),
        "warnings": list(judgement.warnings),
    }
    if judgement is not first:
        names = [each.estimator for each in judgement.estimates]
        found = (difference(first, judgement, name, level) for name in names)
        fields["advantage"] = [_estimate(each) for each in found if each is not None]
    return fields


def _estimate(found: Estimate) -> dict[str, Any]:
    return {
        "estimator": found.estimator,
        "value": found.value,
        "bootstrap": found.bootstrap and list(found.bootstrap),
        "bernstein": found.bernstein and list(found.bernstein),
    }


def _show(logged: Logged, own: Estimate, judged: list[Judgement], how: Settings) -> None:
    from mlkit.cli.bandit import evaluation_tables as tables

    for table in (*tables.estimates(own, judged, how.level), *tables.support(judged)):
        Output.result(table)
        Output.line("")
    rows = f"{len(logged.decisions):,} rows"
    if logged.missing:
        rows += f"; {logged.missing:,} rewards missing, of which {logged.dropped:,} rows dropped"
    Output.line(f"log: {rows}; columns {', '.join(logged.fields.values())}")
    Output.line(f"model of rewards: {_model(logged, how)}; weights clipped at {how.clip:.4g}")
    for each in judged:
        for warning in each.warnings:
            Output.line(f"warning: {each.policy}: {warning}")
