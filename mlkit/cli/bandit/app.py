"""`mlkit bandit`: from a log to posteriors, and what they say."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.bandit import serve
from mlkit.cli.groups import CommandGroup
from mlkit.cli.options import Json, MaxRatio, MaxUnpacked, unpack_limits
from mlkit.cli.output import Output, of

if TYPE_CHECKING:
    from mlkit.bandit.posteriors.posterior import Posteriors

app = typer.Typer(
    name="bandit",
    cls=CommandGroup,
    add_completion=False,
    no_args_is_help=True,
    help="Serve Thompson-sampling recommendations from a log of rewards.",
)
serve.register(app)

PosteriorsFile = Annotated[
    Path, typer.Argument(metavar="POSTERIORS", help="Posteriors file (Parquet, CSV; - is CSV).")
]
Context = Annotated[
    str | None, typer.Option(metavar="ID", help="Use the posteriors of this user or segment.")
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, max=2**64 - 1, help="Make the draws repeatable.", show_default=False),
]
Draws = Annotated[int, typer.Option(min=1, help="Number of draws.")]

_NAMED = {"tab": "\t", "\\t": "\t"}
FIT_EPILOG = """\
Examples:

  mlkit bandit fit clicks.csv.gz --arm item --reward click --context user -o posteriors.parquet

  mlkit bandit fit log/*.jsonl -o posteriors.parquet
"""


@app.command(epilog=FIT_EPILOG)
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
        typer.Option("--output", "-o", metavar="POSTERIORS", help="A .parquet or .csv; - is CSV."),
    ],
    arm: Annotated[
        str | None, typer.Option(metavar="COL", help="Column of the arm's id (not for .jsonl).")
    ] = None,
    reward: Annotated[
        str | None, typer.Option(metavar="COL", help="Column of rewards in [0, 1].")
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="COL", help="Column of user or segment ids.")
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option("--event-id", metavar="COL", help="Column of event ids: each counts once."),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(metavar="CHAR", help="Between the fields: , ; or tab (default: as found)."),
    ] = None,
    reward_scale: Annotated[
        float, typer.Option(metavar="MAX", help="Divide rewards by this, to lie in [0, 1].")
    ] = 1.0,
    exclude_arm: Annotated[
        list[str] | None,
        typer.Option("--exclude-arm", metavar="ID", help="Leave out this arm (repeatable)."),
    ] = None,
    prior: Annotated[str, typer.Option(metavar="A,B", help="Beta prior of every arm.")] = "1,1",
    shrinkage: Annotated[
        float, typer.Option(help="Pulls that an arm's mean is worth in a new context.")
    ] = 100.0,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model's name (default: the file's).")
    ] = None,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Count bad rows and go on.")
    ] = False,
    max_unpacked: MaxUnpacked = None,
    max_ratio: MaxRatio = 200.0,
    json: Json = False,
) -> None:
    """Fit one Beta posterior for each arm, and for each arm in each context.

    Logs are read as a stream and may be larger than memory. A row without a context counts
    for the arm alone; each feedback event of a .jsonl log counts once.
    """
    from mlkit.bandit.posteriors import file
    from mlkit.bandit.posteriors.fitting import fit as fit_logs
    from mlkit.bandit.posteriors.posterior import Header

    _check_output(output, logs, json=json)
    name = model or (output.stem if str(output) != "-" else "posteriors")
    header = Header(name, _prior(prior), shrinkage)
    columns = _columns(arm, reward, context, event_id, separator)
    with of(ctx).progress("reading") as progress:
        fitted = fit_logs(
            logs,
            columns,
            header,
            skip_bad_rows=skip_bad_rows,
            reward_scale=reward_scale,
            excluded=exclude_arm or (),
            limits=unpack_limits(max_unpacked, max_ratio),
            progress=progress,
        )
    file.write(fitted, output)
    _tell_fit(of(ctx), fitted, output, json=json)
    if columns is not None and event_id is None:
        _warn_of_repeats(of(ctx), fitted)


def _warn_of_repeats(output: Output, fitted: Posteriors) -> None:
    first: dict[str, str] = {}
    for log in fitted.source:
        if log.sha256 in first:
            same = f"{log.name} has the same content as {first[log.sha256]}, and counts again"
            output.note(f"warning: {same}; --event-id COL counts each event once")
        first.setdefault(log.sha256, log.name)


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


def _prior(text: str) -> Any:
    from mlkit.bandit.posteriors.posterior import Prior
    from mlkit.errors import UsageError

    try:
        a, b = map(float, text.split(","))
    except ValueError:
        hint = "1,1 is uniform; 1,99 expects one reward in 100 pulls"
        raise UsageError(f"--prior {text}: expected A,B, two numbers above 0", hint=hint) from None
    return Prior(a, b)


def _columns(
    arm: str | None,
    reward: str | None,
    context: str | None,
    event_id: str | None,
    separator: str | None,
) -> Any:
    from mlkit.bandit.logs.readers import Columns
    from mlkit.errors import UsageError

    if separator is not None and len(separator := _NAMED.get(separator, separator)) != 1:
        raise UsageError(f"--separator {separator}: expected one character, or tab")
    if arm is not None and reward is not None:
        return Columns(arm, reward, context, event_id, separator)
    if any(each is not None for each in (arm, reward, context, event_id)):
        raise UsageError("--arm and --reward are needed together")
    return None


def _tell_fit(output: Output, fitted: Posteriors, path: Path, *, json: bool) -> None:
    rows = sum(log.rows for log in fitted.source)
    skipped = sum(log.skipped for log in fitted.source)
    if json:
        counts = {"arms": len(fitted.arms), "pairs": len(fitted.contexts)}
        fields = {"output": str(path), **counts, "rewards": rows, "skipped": skipped}
        Output.document("bandit.fit", 1, _model(fitted) | fields)
        return
    pairs = f" and {len(fitted.contexts):,} (context, arm) pairs" if len(fitted.contexts) else ""
    place = "standard output" if str(path) == "-" else path
    output.note(f"{place}: {len(fitted.arms):,} arms{pairs} from {rows:,} rewards")
    if skipped:
        output.note(f"{skipped:,} bad rows skipped")


def _model(posteriors: Posteriors) -> dict[str, Any]:
    """Give what a document tells of the model."""
    prior, shrinkage = list(posteriors.prior), posteriors.shrinkage
    return {"model": posteriors.model, "prior": prior, "shrinkage": shrinkage}


SAMPLE_EPILOG = """\
Examples:

  mlkit bandit sample posteriors.parquet --context u123 --top 3

  mlkit bandit sample posteriors.parquet --draws 1000 --seed 1 --json
"""


@app.command(epilog=SAMPLE_EPILOG)
def sample(
    posteriors: PosteriorsFile,
    context: Context = None,
    top: Annotated[int, typer.Option(min=1, help="Arms of each draw, the best first.")] = 10,
    draws: Draws = 1,
    seed: Seed = None,
    max_unpacked: MaxUnpacked = 8.0,
    max_ratio: MaxRatio = 200.0,
    json: Json = False,
) -> None:
    """Draw recommendations by Thompson sampling, as the server does."""
    from mlkit.bandit.posteriors import file, summary

    found = file.read(posteriors, unpack_limits(max_unpacked, max_ratio))
    seed = _seed(seed)
    drawn = summary.sample_top(found.of(context), top, draws, seed)
    if json:
        lists = [[score._asdict() for score in scores] for scores in drawn]
        fields = {"context": context, "seed": seed, "draws": lists}
        Output.document("bandit.sample", 1, _model(found) | fields)
        return
    from mlkit.cli.bandit import tables

    Output.result(tables.scores(drawn))


QUANTILE_EPILOG = """\
Examples:

  mlkit bandit quantile posteriors.parquet --p 0.95

  mlkit bandit quantile posteriors.parquet --p 0.05 0.5 0.95 --context u123 --json
"""


@app.command(epilog=QUANTILE_EPILOG)
def quantile(
    posteriors: PosteriorsFile,
    p: Annotated[
        list[float],
        typer.Option("--p", metavar="P", min=0.0, max=1.0, help="Probability, or several."),
    ],
    more: Annotated[
        # Click's options take a fixed number of values: what follows `--p P` arrives here.
        list[float] | None,
        typer.Argument(metavar="P", min=0.0, max=1.0, help="More probabilities."),
    ] = None,
    context: Context = None,
    max_unpacked: MaxUnpacked = 8.0,
    max_ratio: MaxRatio = 200.0,
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
        raise UsageError("--p: nan is no probability")
    found = file.read(posteriors, unpack_limits(max_unpacked, max_ratio))
    rows = summary.quantiles(found.of(context), p)
    if json:
        arms = [{"arm": row.arm, "quantiles": row.values} for row in rows]
        Output.document(
            "bandit.quantile", 1, _model(found) | {"context": context, "p": p, "arms": arms}
        )
        return
    from mlkit.cli.bandit import tables

    Output.result(tables.quantiles(rows, p))


SHOW_EPILOG = """\
Examples:

  mlkit bandit show posteriors.parquet

  mlkit bandit show posteriors.parquet --context u123 --top 5 --json
"""


@app.command(epilog=SHOW_EPILOG)
def show(
    ctx: typer.Context,
    posteriors: PosteriorsFile,
    context: Context = None,
    top: Annotated[int, typer.Option(min=1, help="Number of arms to show.")] = 20,
    draws: Draws = 10_000,
    seed: Seed = None,
    max_unpacked: MaxUnpacked = 8.0,
    max_ratio: MaxRatio = 200.0,
    json: Json = False,
) -> None:
    """Show the arms, the most probably best first.

    `best` is the probability that no other arm has a higher mean reward, by Monte Carlo.
    """
    from mlkit.bandit.posteriors import file, summary

    found = file.read(posteriors, unpack_limits(max_unpacked, max_ratio))
    arms, seed = found.of(context), _seed(seed)
    with of(ctx).progress("drawing") as progress:
        rows = summary.summarize(arms, draws, seed, progress=progress)
    shown = rows[:top]
    if json:
        fields = {"context": context, "draws": draws, "seed": seed, "arms_total": len(rows)}
        documents = {"arms": [row._asdict() for row in shown]}
        Output.document("bandit.show", 1, _model(found) | fields | documents)
        return
    from mlkit.cli.bandit import tables

    Output.result(tables.summaries(shown))
    if len(shown) < len(rows):
        of(ctx).note(f"{len(rows) - len(shown):,} more arms; --top shows more")


def _seed(seed: int | None) -> int:
    """Choose a seed that a document can tell: JSON readers keep 53 bits."""
    return secrets.randbits(53) if seed is None else seed
