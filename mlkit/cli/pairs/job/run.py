"""`mlkit pairs job run`."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, Json
from mlkit.cli.output import Output, format_count, of
from mlkit.cli.pairs.influx import database, exporting
from mlkit.cli.pairs.job.joining import NO_JOIN, Joining, topics_of, with_join
from mlkit.pairs.defaults import BATCH, KEY, RESTARTS, RSCRIPT

if TYPE_CHECKING:
    from mlkit.pairs.jobs.file import JobRaised
    from mlkit.pairs.jobs.run import Counts, Plan

JobArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="Python or R file of the job; its code is executed.")
]
KeyOption = Annotated[
    str, typer.Option(metavar="FIELD", help="Field by which records are partitioned.")
]
BatchOption = Annotated[
    int, typer.Option(min=1, max=MOST, help="Maximum number of records per batch.")
]
CommitOption = Annotated[
    int,
    typer.Option(
        min=1, max=MOST, help="Maximum number of records per commit; fewer if they take over 1 s."
    ),
]

RscriptOption = Annotated[str, typer.Option(metavar="PROGRAM", help="Rscript that runs jobs in R.")]


@examples(
    "mlkit pairs job run zscores.py --in bars --out zscores --log live/log",
    "mlkit pairs job run bars.py --in ticks --out bars --log kafka://broker:9092 --instances 2",
    "mlkit pairs job run moves.R --in bars,news --out moves --join asof --tolerance 1h",
)
@with_join
def run(
    context: typer.Context,
    file: JobArgument,
    inputs: Annotated[
        str, typer.Option("--in", metavar="TOPIC,...", help="Topics to read, from their beginning.")
    ],
    output: Annotated[
        str, typer.Option("--out", metavar="TOPIC", help="Topic to write; created if missing.")
    ],
    log: Annotated[
        str, typer.Option(metavar="DIR|URL", help="Log: a folder, or kafka://HOST:PORT.")
    ] = "live/log",
    key: KeyOption = KEY,
    group: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Consumer group (default: job-STEM-TOPIC of --out)."),
    ] = None,
    instances: Annotated[
        int, typer.Option(min=1, max=64, help="Number of processes that share the partitions.")
    ] = 1,
    batch: CommitOption = BATCH,
    restarts: Annotated[
        int,
        typer.Option(min=0, max=MOST, help="Number of consecutive restarts before the job stops."),
    ] = RESTARTS,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop once all records have been read.")
    ] = False,
    rscript: RscriptOption = RSCRIPT,
    joining: Joining = NO_JOIN,
    influx: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Also write the output to http://HOST:PORT/DATABASE."),
    ] = None,
    json: Json = False,
) -> None:
    """Process the records of topics, and write what the job returns to another topic.

    The file defines process(data), and optionally setup(), recover(state), snapshot(), a
    dictionary state, and RECORDS = "one". Offsets, output and state are committed at once: each
    record counts exactly once after any crash. Runs until a signal, and commits the batch before
    it ends.
    """
    from mlkit.pairs.jobs.run import Plan, open_log

    topics = topics_of(inputs)
    if not topics:
        raise typer.BadParameter("no topic", param_hint="--in")
    plan = Plan(
        file, topics, output, log, key=key, group=group or _group(file, output), batch=batch,
        restarts=restarts, until_end=until_end, rscript=rscript,
        join=joining.plan(topics, key),
    )  # fmt: skip
    shown, write = of(context), database(influx)
    with exporting(
        shown, write, lambda: open_log(log), [output], [key], {}, f"influx-{output}"
    ):  # fmt: skip
        counts = _run(plan, instances, shown)
    _report(counts, json)


def _group(file: str, output: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", Path(file).stem)
    return f"job-{stem}-{output}"


def _run(plan: Plan, instances: int, shown: Output) -> Counts:
    from mlkit.interruption import stoppable
    from mlkit.pairs.jobs.file import JobRaised
    from mlkit.pairs.jobs.instances import Instances
    from mlkit.pairs.jobs.run import Job

    job = Job(plan, shown.note) if instances == 1 else Instances(plan, instances, shown.note)
    try:
        with stoppable():
            return job.run()
    except JobRaised as error:
        show_trace(error)
        raise


def show_trace(error: JobRaised) -> None:
    """Print the traceback of a job's own code on standard error."""
    from mlkit.errors import printable

    sys.stderr.write("\n".join(map(printable, error.trace.split("\n"))))


def _report(counts: Counts, json: bool) -> None:
    if json:
        Output.document("pairs.job.run", 1, asdict(counts))
        return
    Output.line(
        f"{format_count(counts.records, 'record')}, {counts.written:,} written, "
        f"{counts.unreadable:,} unreadable, {counts.late:,} late, "
        f"{format_count(counts.restarts, 'restart')}"
    )
