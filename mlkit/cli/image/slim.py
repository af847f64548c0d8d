"""`mlkit image slim`."""

from __future__ import annotations

import contextlib
import shlex
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
    Explore,
    ImageName,
    Network,
    OneAtATime,
    OpenApi,
    Patience,
    ProbeFile,
    Probes,
    Volumes,
    Watch,
    Wish,
    read_compose,
    settings_of,
)
from mlkit.cli.options import Json
from mlkit.cli.output import of
from mlkit.image.choices import (
    BASE,
    COMPRESSION,
    INIT,
    PATIENCE,
    PROFILE,
    TRACER,
    USER,
    WATCH,
    Compression,
    FailOn,
    Init,
    Profile,
    Tracer,
    User,
)

if TYPE_CHECKING:
    from mlkit.image.report.gate import Gate


@examples(
    "mlkit image slim app:1 -t app:1-slim --probe http:8000/ --probe http:8000/health=200",
    "mlkit image slim app.tar --profile tight --probe log:ready --output slim.tar --json",
    "mlkit image slim app:1 --probe http:8000/ --ci --max-size 150MB --fail-on new-finding",
    "mlkit image slim layout --all-platforms --probe http:8000/ -o oci:layout-slim",
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
    ] = BASE,
    profile: Annotated[
        Profile,
        typer.Option(help=("How much is kept: safe keeps most, tight only what was traced.")),
    ] = PROFILE,
    probe: Probes = None,
    probes: ProbeFile = None,
    exec: Exec = None,  # noqa: A002 - named as its option is
    openapi: OpenApi = None,
    explore: Explore = True,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Keep these paths as well (repeatable)."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Drop these paths (repeatable).")
    ] = None,
    init: Annotated[Init, typer.Option(help="Put tini in front of the entrypoint.")] = INIT,
    user: Annotated[
        User, typer.Option(help="User that the result runs as, in the proof too.")
    ] = USER,
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
    compose: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compose file whose other services are up in all runs."),
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Service of --compose that the image is."),
    ] = None,
    one_at_a_time: OneAtATime = False,
    platform: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OS/ARCH",
            help=(
                "Platform of an image index to slim, such as linux/arm64; run by an emulator "
                "(repeatable: the result is an index)."
            ),
        ),
    ] = None,
    all_platforms: Annotated[
        bool,
        typer.Option(
            "--all-platforms",
            help="Slim each platform of an image index that this machine can run into one index.",
        ),
    ] = False,
    watch: Watch = WATCH,
    patience: Patience = PATIENCE,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="WHERE",
            help="Destination of the result: docker, FILE.tar, oci:DIR or registry:REF.",
        ),
    ] = "docker",
    compression: Annotated[
        Compression, typer.Option(help="Compression of the layers of oci:DIR or an index.")
    ] = COMPRESSION,
    dockerfile: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder to write a Dockerfile to that builds the same result."
        ),
    ] = None,
    seccomp: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to write a seccomp profile to; the result is run under it."
        ),
    ] = None,
    tracer: Annotated[
        Tracer,
        typer.Option(help=("Tracer; auto uses the best one that the engine allows.")),
    ] = TRACER,
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
    attest: Annotated[
        bool,
        typer.Option(
            "--attest",
            help="Attach the bill of materials to the result of oci:DIR or registry:REF.",
        ),
    ] = False,
    sign_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Key, as cosign takes it, that signs what --attest attaches."
        ),
    ] = None,
    vulnerabilities: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help=(
                "Count known vulnerabilities before and after: grype (the program), or a file of "
                "Debian's security tracker."
            ),
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
    max_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Fail if the result's files take more than this, such as 150MB."
        ),
    ] = None,
    fail_on: Annotated[
        list[FailOn] | None,
        typer.Option(
            help=(
                "Fail on a finding about the original that --known does not list, or on a warning "
                "about the proof (repeatable)."
            )
        ),
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON output of an earlier slim or doctor, whose findings are accepted.",
        ),
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write a Markdown summary to.")
    ] = None,
    ci: Annotated[
        bool,
        typer.Option(
            "--ci",
            help="Write groups, annotations and a summary as GitHub Actions or GitLab read them.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Move an image onto a distroless base, and prove that it behaves as before.

    The app is run and traced, the files that it needs are kept, and the result is compared with the
    original. Exits 1, without a result, if the result is broken or exceeds a limit.
    """
    from mlkit.cli.image import ci as services
    from mlkit.cli.image.side_outputs import SideOutputs
    from mlkit.cli.image.slim_run import Job, slim_index, slim_one
    from mlkit.image.filesystem.image_source import select
    from mlkit.image.filesystem.output import check_index, parse
    from mlkit.image.options import Options
    from mlkit.image.packages.vulnerabilities import open_scanner
    from mlkit.image.run.trace import Trace, read_file

    asked = Asked(probe, probes, exec)
    wanted = _platforms(platform, all_platforms)
    several = all_platforms or len(wanted) > 1
    traces = [read_file(each) for each in trace or ()]
    options = Options(
        profile=profile,
        base=base,
        init=init,
        user=user,
        asked=asked.anything,
        timestamps=_time(timestamps),
        one_at_a_time=one_at_a_time,
        explore=explore,
        seccomp=seccomp is not None,
        include=include or (),
        exclude=exclude or (),
        runs=[_words(each) for each in run or ()],
        trace=reduce(or_, traces, Trace()),
    )
    settings = settings_of(env, env_file, volume, network, watch, patience, tracer)
    wish, composition = Wish(explore, openapi), read_compose(compose, service, network)
    target = parse(output, tag, image)
    gate = _gate(max_size, fail_on, known)
    ci_service = services.service() if ci else None
    scanner = None if vulnerabilities is None else open_scanner(vulnerabilities)
    beside = SideOutputs(
        trace_out, sbom, report, summary, dockerfile, seccomp, attest, sign_key, scanner
    )
    beside.check(options, target)
    selection = None
    if several:
        beside.check_several()
        if not dry_run:
            check_index(target)
        selection = select(image, None if all_platforms else wanted)
        for each in selection.images:
            beside.of(each.name).check(options, target)
    job = Job(image, asked, settings, wish, composition, options, gate, force, target, compression,
              dry_run, beside)  # fmt: skip
    with ci_service.phases() if ci_service else of(context).phases() as phase:
        if selection is not None:
            fields = slim_index(job, selection, phase)
        else:
            fields = slim_one(job, wanted[0] if wanted else None, phase)
    failures, broken = fields["failures"], fields["verdict"] == "broken"
    for failure in [] if ci_service else failures:  # a service gets them as annotations
        of(context).note(failure)
    if (broken or failures) and not force:
        why = "is broken" if broken else "fails on a limit"
        of(context).note(f"the result {why} and was not kept; --force keeps it")
    beside.summarize(fields)
    if ci_service is not None:
        ci_service.report(fields)
    with ci_service.quoting() if ci_service and not json else contextlib.nullcontext():
        (slim_result.show_index if several else slim_result.show)(fields, json)
    if broken or failures:
        raise typer.Exit(1)


def _platforms(named: list[str] | None, all_platforms: bool) -> list[str]:
    """Return the platforms that are asked for, one or several in each `--platform`."""
    from mlkit.errors import UsageError
    from mlkit.image.filesystem import platforms

    if named and all_platforms:
        raise UsageError("--all-platforms and --platform contradict each other")
    return [platforms.check(each) for text in named or () for each in text.split(",")]


def _gate(max_size: str | None, fail_on: list[FailOn] | None, known: Path | None) -> Gate:
    from mlkit.image.report import gate

    return gate.Gate(
        None if max_size is None else gate.read_size(max_size),
        fail_on or [],
        frozenset() if known is None else gate.read_known(known),
    )


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
