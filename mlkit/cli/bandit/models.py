"""What `mlkit bandit fit, show, sample` do with models of policies other than Beta posteriors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.output import Output, format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlkit.bandit.logs.log import Columns
    from mlkit.bandit.models.features import Named
    from mlkit.bandit.models.model import ModelHeader, PolicyModel
    from mlkit.bandit.policies.catalog import PolicySpec
    from mlkit.unpacking import UnpackLimits

Policy = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="Policy, such as ucb1 or lin-ts:scale=0.5 (default: that of the file).",
    ),
]
FeaturesJson = Annotated[
    str | None,
    typer.Option("--features", metavar="JSON", help="Features of the context, by name."),
]


def other_policy(text: str | None) -> PolicySpec | None:
    """Return the policy that is asked for; None for Thompson sampling with Beta posteriors."""
    from mlkit.bandit.policies import catalog
    from mlkit.errors import UsageError

    spec = None if text is None else catalog.parse(text)
    if spec is None or spec.name != catalog.THOMPSON:
        return spec
    if spec.parameters:
        raise UsageError(f"--policy {text}: --prior A,B sets the prior of {spec.name}")
    return None


def header(
    name: str,
    spec: PolicySpec,
    features: str | None,
    categories: str | None,
    hashed: int,
    arm_features: Path | None,
    limits: UnpackLimits,
) -> ModelHeader:
    """Return what the model is, by the options of `fit`."""
    from mlkit.bandit.models.features import FeatureSchema
    from mlkit.bandit.models.fitting import arm_table
    from mlkit.bandit.models.model import ModelHeader

    of_arms: Sequence[str] = ()
    if arm_features is not None:
        names = arm_table(arm_features, limits).column_names
        of_arms = [each for each in names if each != "arm"]
    of_contexts, texts = _names(features), _names(categories)
    known = set(of_contexts) | set(of_arms)
    contexts = (*of_contexts, *(each for each in texts if each not in known))
    schema = FeatureSchema(contexts, tuple(of_arms), texts, hashed)
    return ModelHeader(name, spec, schema)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",")) if text else ()


def fit(
    logs: list[Path],
    columns: Columns | None,
    header: ModelHeader,
    output: Path,
    arm_features: Path | None,
    **options: Any,
) -> PolicyModel:
    """Fit a model and write it."""
    from mlkit.bandit.models import file, fitting

    vectors = None
    if arm_features is not None:
        vectors = fitting.read_arm_features(arm_features, header.features, options["limits"])
    file.check_writable(output)
    model = fitting.fit(logs, columns, header, vectors, **options)
    file.write(model, output)
    return model


def fields(model: PolicyModel) -> dict[str, Any]:
    """Return what a document reports of a model."""
    found: dict[str, Any] = {"model": model.header.model, "policy": str(model.header.spec)}
    if model.header.spec.has_features:
        schema = model.header.features
        found["features"] = {"context": list(schema.context), "arm": list(schema.arm)}
        found["features"] |= {"categories": list(schema.categories), "hashed": schema.hashed}
    return found


def report_fit(output: Output, model: PolicyModel, path: Path, *, json: bool) -> None:
    """Report a fit as `fit` does for Beta posteriors."""
    rows = sum(log.rows for log in model.header.source)
    skipped = sum(log.skipped for log in model.header.source)
    if json:
        counts = {"arms": len(model), "rewards": rows, "skipped": skipped}
        Output.document("bandit.fit", 2, fields(model) | {"output": str(path)} | counts)
        return
    arms = format_count(len(model), "arm")
    output.note(f"{path}: {model.header.spec}, {arms} from {format_count(rows, 'reward')}")
    if skipped:
        output.note(f"{skipped:,} bad rows skipped")


def features_of(text: str | None) -> Named | None:
    """Read features from JSON.

    Raises:
        UsageError: The text is not a JSON object of features.
    """
    import msgspec

    from mlkit.errors import UsageError

    if text is None:
        return None
    kinds = str | bool | int | float | None
    try:
        return msgspec.json.decode(text, type=dict[str, kinds])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        hint = """such as '{"age": 34, "country": "DE"}'"""
        raise UsageError(f"--features: {error}", hint=hint) from None


def show(output: Output, model: PolicyModel, features: str | None, top: int, *, json: bool) -> None:
    """Show the arms, those shown most first."""
    from mlkit.bandit.models import summary

    rows = summary.summarize(model, features_of(features))
    shown = rows[:top]
    if json:
        arms = {"arms_total": len(rows), "arms": [row._asdict() for row in shown]}
        Output.document("bandit.show", 2, fields(model) | arms)
        return
    from mlkit.cli.bandit import tables

    Output.result(tables.model_summaries(shown))
    if len(shown) < len(rows):
        output.note(f"{len(rows) - len(shown):,} more arms; --top shows more")


def sample(
    model: PolicyModel, features: str | None, top: int, draws: int, seed: int, *, json: bool
) -> None:
    """Draw recommendations."""
    from mlkit.bandit.models import summary

    drawn = summary.sample(model, top, draws, seed, features_of(features))
    if json:
        lists = [[score._asdict() for score in scores] for scores in drawn]
        Output.document("bandit.sample", 2, fields(model) | {"seed": seed, "draws": lists})
        return
    from mlkit.cli.bandit import tables

    Output.result(tables.model_scores(drawn))
