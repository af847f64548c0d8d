"""`mlkit image slim`."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from enum import StrEnum
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.cli.groups import examples
from mlkit.cli.image import slim_result
from mlkit.cli.image.options import (
    Asked,
    Env,
    EnvFile,
    Exec,
    ImageName,
    Network,
    OneAtATime,
    Patience,
    ProbeFile,
    Probes,
    Volumes,
    Watch,
    Wish,
    ready,
    settings_of,
)
from mlkit.cli.options import Json
from mlkit.cli.output import of

if TYPE_CHECKING:
    from mlkit.image.run.engine import Engine


class ProfileName(StrEnum):
    """How much is kept."""

    SAFE = "safe"
    BALANCED = "balanced"
    TIGHT = "tight"


class InitName(StrEnum):
    """Whether an init goes in front."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class TracerName(StrEnum):
    """How runs are traced."""

    AUTO = "auto"
    PTRACE = "ptrace"
    FANOTIFY = "fanotify"
    NONE = "none"


class UserName(StrEnum):
    """Who the result runs as."""

    KEEP = "keep"
    NONROOT = "nonroot"


@examples(
    "mlkit image slim app:1 -t app:1-slim --probe http:8000/ --probe http:8000/health=200",
    "mlkit image slim app.tar --profile tight --probe log:ready --output slim.tar --json",
)
def slim(
    context: typer.Context,
    image: ImageName,
    tag: Annotated[
        str | None,
        typer.Option(
            "--tag", "-t", metavar="NAME", help="Name of the result (default: IMAGE-slim)."
        ),
    ] = None,
    base: Annotated[
        str,
        typer.Option(
            metavar="BASE",
            help=("Base image: auto, static, base, cc, python3, none, or an image of the engine."),
        ),
    ] = "auto",
    profile: Annotated[
        ProfileName,
        typer.Option(help=("How much is kept: safe keeps most, tight only what was traced.")),
    ] = ProfileName.BALANCED,
    probe: Probes = None,
    probes: ProbeFile = None,
    exec: Exec = None,  # noqa: A002 - named as its option is
    openapi: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|PATH", help="Probe all routes of this OpenAPI document (JSON) as well."
        ),
    ] = None,
    explore: Annotated[
        bool,
        typer.Option(
            "--explore/--no-explore",
            help=(
                "Where only / or a port is probed, request what the app itself links and documents."
            ),
        ),
    ] = True,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Keep these paths as well (repeatable)."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Drop these paths (repeatable).")
    ] = None,
    init: Annotated[
        InitName, typer.Option(help="Put tini in front of the entrypoint.")
    ] = InitName.AUTO,
    user: Annotated[
        UserName, typer.Option(help="User that the result runs as, in the proof too.")
    ] = UserName.KEEP,
    timestamps: Annotated[
        str,
        typer.Option(
            metavar="WHICH",
            help=(
                "Modification times of the files: keep those of the original, epoch "
                "(1970), or SECONDS since then."
            ),
        ),
    ] = "keep",
    run: Annotated[
        list[str] | None,
        typer.Option(metavar="ARGS", help="Trace a further run with these arguments."),
    ] = None,
    env: Env = None,
    env_file: EnvFile = None,
    volume: Volumes = None,
    network: Network = "",
    one_at_a_time: OneAtATime = False,
    watch: Watch = 3.0,
    patience: Patience = 20.0,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="WHERE",
            help=("Where the result goes: docker, FILE.tar, oci:DIR or registry:REF."),
        ),
    ] = "docker",
    tracer: Annotated[
        TracerName,
        typer.Option(help=("How runs are traced; auto uses the best way that the engine allows.")),
    ] = TracerName.AUTO,
    trace: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Trace file whose paths are kept as well (repeatable)."),
    ] = None,
    trace_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write the trace to.")
    ] = None,
    sbom: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to write the result's software bill of materials to."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write an HTML report to.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Slim and compare, but keep no result.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Keep the result even if it is broken.")
    ] = False,
    json: Json = False,
) -> None:
    """Carry an image onto a distroless base, and prove that it behaves as before.

    The app is run and traced, what it needs is kept, and the result is compared with the
    original. Exits 1, without a result, if the result is broken.
    """
    from mlkit.files import check_place
    from mlkit.image.filesystem.output import parse, put
    from mlkit.image.options import Options
    from mlkit.image.run.early_trace import trace_early
    from mlkit.image.run.trace import Trace, read_file, write_file
    from mlkit.image.slim import Slimmer

    asked = Asked(probe, probes, exec)
    traces = [read_file(each) for each in trace or ()]
    options = Options(
        profile=profile.value,
        base=base,
        init=init.value,
        user=user.value,
        asked=asked.anything,
        timestamps=_time(timestamps),
        one_at_a_time=one_at_a_time,
        explore=explore,
        include=include or (),
        exclude=exclude or (),
        runs=[_words(each) for each in run or ()],
        trace=reduce(or_, traces, Trace()),
    )
    settings = settings_of(env, env_file, volume, network, watch, patience, tracer.value)
    wish = Wish(explore, openapi)
    target = parse(output, tag, image)
    for path in filter(None, (trace_out, sbom, report)):
        check_place(path)
    with contextlib.ExitStack() as stack:
        runner, source = stack.enter_context(ready(image, asked, settings, wish))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlkit-image-")))
        phase = stack.enter_context(of(context).phases())
        phase("inventory")
        early = trace_early(runner, source, options)
        inventory = source.inventory()
        slimmer = Slimmer(runner, inventory, source.name, options, folder, early)
        result = stack.enter_context(contextlib.closing(slimmer)).run(phase)
        good = result.verdict != "broken" or force
        if trace_out is not None:
            write_file(result.trace, trace_out)
        kept = good and not dry_run
        place = put(target, result.built, runner.engine) if kept else None
        where = place.text if place else None
        if report is not None:
            from mlkit.image.report.page import write

            write(report, image, where, inventory, result)
        if place is not None and sbom is not None:
            _bill(runner.engine, result.built.image, target.name, sbom)
        fields = slim_result.fields(image, place, inventory, result)
    if not good:
        of(context).note("the result is broken and was not kept; --force keeps it")
    slim_result.show(fields, json)
    if result.verdict == "broken":
        raise typer.Exit(1)


def _words(text: str) -> list[str]:
    from mlkit.errors import UsageError

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--run {text}: {error}") from error


def _time(text: str) -> int | None:
    from mlkit.errors import UsageError

    if text == "keep":
        return None
    if text == "epoch":
        return 0
    if text.isdecimal() and int(text) < 1 << 33:
        return int(text)
    raise UsageError(f"--timestamps {text}: not understood", hint="keep, epoch or SECONDS")


def _bill(engine: Engine, image: str, name: str, path: Path) -> None:
    from mlkit.image.filesystem.image_source import saved
    from mlkit.image.packages import sbom

    with saved(engine, image, name) as inventory:
        sbom.write(inventory, path)
