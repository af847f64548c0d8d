"""`mlkit bandit fit`: from a log to posteriors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.bandit.documents import model_fields
from mlkit.cli.bandit.durations import half_life_of, seconds_of, time_of, window_of
from mlkit.cli.groups import examples
from mlkit.cli.options import Json, MaxRatio, MaxUnpacked, unpack_limits
from mlkit.cli.output import Output, format_count, of
from mlkit.unpacking import UnpackLimits

if TYPE_CHECKING:
    from mlkit.bandit.posteriors.posterior import Posteriors

HalfLife = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Half-life of a reward's weight, such as 7d (default: rewards keep their weight).",
    ),
]
WindowOption = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="DURATION",
        help="Count only rewards of this most recent period, such as 30d (needs .parquet).",
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time at which forgetting posteriors are computed: ISO 8601, or seconds since 1970.",
    ),
]
_NAMED = {"tab": "\t", "\\t": "\t"}


@examples(
    "mlkit bandit fit clicks.csv.gz --arm item --reward click --context user -o posteriors.parquet",
    "mlkit bandit fit log/*.jsonl -o posteriors.parquet",
    "mlkit bandit fit log.csv --arm item --reward click --policy lin-ts --features age,visits "
    "-o model.parquet",
)
def fit(
    ctx: typer.Context,
    logs: Annotated[
        list[Path],
        typer.Argument(
            metavar="LOG...", help="CSV (also gzip), Parquet, or .jsonl of `serve --log`."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="POSTERIORS",
            help=("File to write: .parquet or .csv; - is CSV on standard output."),
        ),
    ],
    arm: Annotated[
        str | None, typer.Option(metavar="COL", help="Column of arm ids (not for .jsonl logs).")
    ] = None,
    reward: Annotated[
        str | None, typer.Option(metavar="COL", help="Column of rewards in [0, 1].")
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="COL", help="Column of user or segment ids.")
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option(
            "--event-id",
            metavar="COL",
            help="Column of event ids; an event that is repeated counts once.",
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time", metavar="COL", help="Column of the times at which rewards were earned."
        ),
    ] = None,
    half_life: HalfLife = None,
    window: WindowOption = None,
    as_of: AsOf = None,
    attribution: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help=(
                "Attribution window for .jsonl logs, such as 24h: "
                "arms shown without a reward by then count as 0."
            ),
        ),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(metavar="CHAR", help="Field separator: , ; or tab (default: detected)."),
    ] = None,
    reward_scale: Annotated[
        float,
        typer.Option(metavar="MAX", help="Largest possible reward; rewards are divided by it."),
    ] = 1.0,
    exclude_arm: Annotated[
        list[str] | None,
        typer.Option("--exclude-arm", metavar="ID", help="Exclude this arm (repeatable)."),
    ] = None,
    prior: Annotated[str, typer.Option(metavar="A,B", help="Beta prior of every arm.")] = "1,1",
    shrinkage: Annotated[
        float, typer.Option(help="Weight of an arm's overall mean in a new context, in pulls.")
    ] = 100.0,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model's name (default: the file's).")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="Policy to fit, such as ucb1, normal or lin-ts:scale=0.5 (default: thompson).",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(metavar="COL,...", help="Columns of numeric features of the context."),
    ] = None,
    categories: Annotated[
        str | None,
        typer.Option(metavar="COL,...", help="Columns of categorical features; needs --hash."),
    ] = None,
    hash_length: Annotated[
        int,
        typer.Option(
            "--hash", min=0, max=2048, help="Dimension to which features are hashed; 0: no hashing."
        ),
    ] = 0,
    arm_features: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=("File of features of the arms (CSV, Parquet), for a policy with shared=true."),
        ),
    ] = None,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Skip rows that cannot be used, and count them.")
    ] = False,
    max_unpacked: MaxUnpacked = None,
    max_ratio: MaxRatio = UnpackLimits.ratio,
    json: Json = False,
) -> None:
    """Fit one Beta posterior for each arm, and for each arm in each context.

    Logs are read as a stream and may be larger than memory. A row without a context counts
    for the arm alone; each feedback event of a .jsonl log counts once. --policy fits what
    another policy learns; those with features have a model for each arm, or a shared one.
    """
    from mlkit.bandit.posteriors import file
    from mlkit.bandit.posteriors.fitting import fit as fit_logs
    from mlkit.bandit.posteriors.posterior import Header
    from mlkit.cli.bandit import models

    _check_output(output, logs, json=json)
    _check_excluded(exclude_arm)
    name = model or (output.stem if str(output) != "-" else "posteriors")
    columns = _columns(arm, reward, context, event_id, separator, time)
    limits = unpack_limits(max_unpacked, max_ratio)
    reading: dict[str, Any] = {
        "skip_bad_rows": skip_bad_rows,
        "reward_scale": reward_scale,
        "excluded": exclude_arm or (),
        "limits": limits,
        "attribution": seconds_of("--attribution", attribution),
        "as_of": time_of("--as-of", as_of),
        "half_life": half_life_of(half_life),
    }
    spec, hours = models.other_policy(policy), window_of(window, half_life)
    _check_window(hours, policy if spec is not None else None, output)
    if spec is not None:
        _refuse_beta(prior, shrinkage)
        described = models.header(
            name, spec, features, categories, hash_length, arm_features, limits
        )
        with of(ctx).progress("reading") as progress:
            learned = models.fit(
                logs, columns, described, output, arm_features, progress=progress, **reading
            )
        models.report_fit(of(ctx), learned, output, json=json)
        return
    _refuse_features(features, categories, hash_length, arm_features)
    header = Header(name, prior_of("--prior", prior), shrinkage)
    with of(ctx).progress("reading") as progress:
        fitted = fit_logs(logs, columns, header, progress=progress, window=hours, **reading)
    file.write(fitted, output)
    _report_fit(of(ctx), fitted, output, json=json)
    if columns is not None and event_id is None:
        _warn_of_repeats(of(ctx), fitted)


def _check_window(hours: int | None, policy: str | None, output: Path) -> None:
    from mlkit.errors import UsageError

    if hours is None:
        return
    if policy is not None:
        hint = "Thompson sampling with Beta posteriors has; others have --half-life"
        raise UsageError(f"--window: the policy {policy} has none", hint=hint)
    if output.suffix.lower() not in (".parquet", ".pq"):
        hint = "a CSV has no room for the buckets of a window"
        raise UsageError(f"--window: {output} is not a .parquet file", hint=hint)


def _refuse_beta(prior: str, shrinkage: float) -> None:
    from mlkit.errors import UsageError

    if prior != "1,1" or shrinkage != 100.0:
        hint = "the prior of another policy is among its parameters, such as normal:mean=3"
        raise UsageError("--prior, --shrinkage: of --policy thompson only", hint=hint)


def _refuse_features(
    features: str | None, categories: str | None, hashed: int, arms: Path | None
) -> None:
    from mlkit.errors import UsageError

    if features is not None or categories is not None or hashed or arms is not None:
        hint = "--policy lin-ts, lin-ucb or logistic does"
        raise UsageError("features: Thompson sampling with Beta posteriors reads none", hint=hint)


def _warn_of_repeats(output: Output, fitted: Posteriors) -> None:
    first: dict[str, str] = {}
    for log in fitted.source:
        if log.sha256 in first:
            same = f"{log.name} has the same content as {first[log.sha256]}, and counts again"
            output.note(f"warning: {same}; --event-id COL counts each event once")
        first.setdefault(log.sha256, log.name)


def _check_excluded(arms: list[str] | None) -> None:
    from mlkit.errors import UsageError

    if "" in (arms or ()):
        raise UsageError("--exclude-arm: an arm's id is not empty")


def _check_output(output: Path, logs: list[Path], *, json: bool) -> None:
    from mlkit.bandit.posteriors import file
    from mlkit.errors import UsageError

    file.check_writable(output)
    if json and str(output) == "-":
        raise UsageError("--json and -o - would both write to standard output")
    if str(output) != "-" and any(
        log.exists() and output.exists() and log.samefile(output) for log in logs
    ):
        raise UsageError(f"{output}: is a log and the output")


def prior_of(option: str, text: str) -> Any:
    """Read a prior A,B."""
    from mlkit.bandit.posteriors.posterior import HIGHEST, LOWEST, Prior
    from mlkit.errors import UsageError

    try:
        a, b = map(float, text.split(","))
    except ValueError:
        hint = "1,1 is uniform; 1,99 expects one reward in 100 pulls"
        raise UsageError(f"{option} {text}: expected A,B, two numbers above 0", hint=hint) from None
    if not (LOWEST <= a <= HIGHEST and LOWEST <= b <= HIGHEST):
        raise UsageError(f"{option} {text}: expected two numbers in [{LOWEST:g}, {HIGHEST:g}]")
    return Prior(a, b)


def _columns(
    arm: str | None,
    reward: str | None,
    context: str | None,
    event_id: str | None,
    separator: str | None,
    time: str | None,
) -> Any:
    from mlkit.bandit.logs.log import Columns
    from mlkit.errors import UsageError

    if separator is not None and len(separator := _NAMED.get(separator, separator)) != 1:
        raise UsageError(f"--separator {separator}: expected one character, or tab")
    if arm is not None and reward is not None:
        return Columns(arm, reward, context, event_id, separator, time)
    if any(each is not None for each in (arm, reward, context, event_id, time)):
        raise UsageError("--arm and --reward are needed together")
    return None


def _report_fit(output: Output, fitted: Posteriors, path: Path, *, json: bool) -> None:
    rows = sum(log.rows for log in fitted.source)
    skipped = sum(log.skipped for log in fitted.source)
    if json:
        counts = {"arms": len(fitted.arms), "pairs": len(fitted.contexts)}
        fields = {"output": str(path), **counts, "rewards": rows, "skipped": skipped}
        Output.document("bandit.fit", 1, model_fields(fitted) | fields)
        return
    found = [format_count(len(fitted.arms), "arm")]
    if len(fitted.contexts):
        found.append(format_count(len(fitted.contexts), "(context, arm) pair"))
    place = "standard output" if str(path) == "-" else path
    output.note(f"{place}: {' and '.join(found)} from {format_count(rows, 'reward')}")
    if skipped:
        output.note(f"{skipped:,} bad rows skipped")
