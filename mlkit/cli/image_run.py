"""`mlkit image slim`, `doctor` and `clean`: the commands that run containers."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.options import Json
from mlkit.cli.output import Output, of

if TYPE_CHECKING:
    from rich.table import Table

    from mlkit.image.diagnosis import Finding
    from mlkit.image.engine import Engine
    from mlkit.image.inventory import Inventory
    from mlkit.image.observation import Runner, Settings
    from mlkit.image.slim import Slimmed


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


class UserName(StrEnum):
    """Who the result runs as."""

    KEEP = "keep"
    NONROOT = "nonroot"


class BaseName(StrEnum):
    """What lies below the app's own files."""

    STATIC = "static"
    BASE = "base"
    CC = "cc"
    PYTHON3 = "python3"
    NONE = "none"


ImageName = Annotated[
    str, typer.Argument(metavar="IMAGE", help="An image, a `docker save` archive, a build folder.")
]
Probes = Annotated[
    list[str] | None,
    typer.Option(
        "--probe",
        metavar="PROBE",
        help="http:[METHOD ][PORT]/PATH[=STATUS], tcp:PORT, exec:CMD, log:REGEX, exit:CODE.",
    ),
]
Env = Annotated[
    list[str] | None, typer.Option("--env", "-e", metavar="K=V", help="Set it in all runs.")
]
EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", metavar="F", help="Set the variables of this file in all runs."),
]
Volumes = Annotated[
    list[str] | None, typer.Option("--volume", metavar="V", help="Mount it in all runs.")
]
Network = Annotated[str, typer.Option(metavar="N", help="The network of all runs.")]
Watch = Annotated[
    float, typer.Option(min=0.0, metavar="S", help="Seconds that an app has to survive.")
]
Patience = Annotated[
    float, typer.Option(min=0.1, metavar="S", help="Seconds that an app may take to get ready.")
]

SLIM_EPILOG = """\
Examples:

  mlkit image slim app:1 -t app:1-slim --probe http:8000/ --probe http:8000/health=200

  mlkit image slim app.tar --profile tight --probe log:ready --output slim.tar --json
"""
DOCTOR_EPILOG = """\
Examples:

  mlkit image doctor app:1 --probe http:8000/

  mlkit image doctor app:1 --watch 30 --json
"""
COMPARE_EPILOG = """\
Examples:

  mlkit image compare app:1 app:1-slim --probe http:8000/

  mlkit image compare app:1 app:2 --probe tcp:5432 --json
"""
CLEAN_EPILOG = """\
Examples:

  mlkit image clean

  mlkit image clean --json
"""


def register(app: typer.Typer) -> None:
    """Add the commands to `mlkit image`."""
    app.command(epilog=SLIM_EPILOG)(slim)
    app.command(epilog=DOCTOR_EPILOG)(doctor)
    app.command(epilog=COMPARE_EPILOG)(compare)
    app.command(epilog=CLEAN_EPILOG)(clean)


def slim(
    context: typer.Context,
    image: ImageName,
    tag: Annotated[
        str | None,
        typer.Option("--tag", "-t", metavar="NAME", help="The result's name (IMAGE-slim)."),
    ] = None,
    base: Annotated[BaseName, typer.Option(help="The distroless base.")] = BaseName.STATIC,
    profile: Annotated[ProfileName, typer.Option(help="How much is kept.")] = ProfileName.BALANCED,
    probe: Probes = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Keep these paths too.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Drop these paths.")
    ] = None,
    init: Annotated[
        InitName, typer.Option(help="Put tini in front of the entrypoint.")
    ] = InitName.AUTO,
    user: Annotated[
        UserName, typer.Option(help="Who the result runs as; the proof runs it so.")
    ] = UserName.KEEP,
    run: Annotated[
        list[str] | None,
        typer.Option(metavar="ARGS", help="Trace a further run with these arguments."),
    ] = None,
    env: Env = None,
    env_file: EnvFile = None,
    volume: Volumes = None,
    network: Network = "",
    watch: Watch = 3.0,
    patience: Patience = 20.0,
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="WHERE", help="docker, FILE.tar or oci:DIR."),
    ] = "docker",
    trace: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Keep what these traces hold as well."),
    ] = None,
    trace_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what was looked up.")
    ] = None,
    sbom: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the result's bill of materials.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Slim and prove, and keep no result.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Keep a broken result.")] = False,
    json: Json = False,
) -> None:
    """Carry an image onto a distroless base, and prove that it behaves as before.

    The app is run and traced, what it needs is kept, and the result is compared with the
    original. Exits 1, without a result, if the result is broken.
    """
    from mlkit.image.slim import Options, Slimmer
    from mlkit.image.trace import Trace, read_file, write_file

    traces = [read_file(each) for each in trace or ()]
    options = Options(
        profile=profile.value,
        base=base.value,
        init=init.value,
        user=user.value,
        include=include or (),
        exclude=exclude or (),
        runs=[each.split() for each in run or ()],
        trace=reduce(or_, traces, Trace()),
    )
    settings = _settings(env, env_file, volume, network, watch, patience)
    name = tag or f"{Path(image).stem if Path(image).exists() else image}-slim"
    with contextlib.ExitStack() as stack:
        runner, inventory, original = stack.enter_context(_ready(image, probe, settings))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlkit-image-")))
        progress = stack.enter_context(of(context).progress("slimming"))
        slimmer = Slimmer(runner, inventory, original, options, folder)
        result = stack.enter_context(contextlib.closing(slimmer)).run(progress)
        good = result.verdict != "broken" or force
        if trace_out is not None:
            write_file(result.trace, trace_out)
        kept = good and not dry_run
        place = _write(runner.engine, result, name, output) if kept else None
        if place is not None and sbom is not None:
            _bill(place, sbom)
        fields = _fields(image, place, inventory, result)
    if not good:
        of(context).note("the result is broken and was not kept; --force keeps it")
    _show(fields, json)
    if result.verdict == "broken":
        raise typer.Exit(1)


@contextlib.contextmanager
def _ready(
    image: str, probes: list[str] | None, settings: Settings
) -> Iterator[tuple[Runner, Inventory, str]]:
    """Give what runs containers, the image's files, and its name in the engine."""
    from dataclasses import replace

    from mlkit.image.base import init_program
    from mlkit.image.engine import Engine
    from mlkit.image.observation import Runner, Tools
    from mlkit.image.opening import in_engine, opened
    from mlkit.image.probe import parse
    from mlkit.image.slim import default_probes, exposed_ports
    from mlkit.interruption import stoppable, whole

    with contextlib.ExitStack() as stack:
        stack.enter_context(stoppable())
        engine = stack.enter_context(contextlib.closing(Engine()))
        name = stack.enter_context(in_engine(engine, image))
        inventory = stack.enter_context(opened(image if Path(image).is_file() else name))
        config = inventory.image.config
        asked = [parse(each, exposed_ports(config)) for each in probes or ()]
        settings = replace(settings, probes=asked or default_probes(config))
        with whole():
            tools = stack.enter_context(Tools(engine))
        yield Runner(engine, tools, settings, init_program()), inventory, name


def _settings(
    env: list[str] | None,
    env_file: Path | None,
    volume: list[str] | None,
    network: str,
    watch: float,
    patience: float,
) -> Settings:
    import os

    from mlkit.image import env_file as files
    from mlkit.image.observation import Settings

    pairs = {} if env_file is None else files.read(env_file, os.environ)
    pairs |= dict(each.partition("=")[::2] for each in env or ())
    return Settings((), pairs, volume or (), network, patience, watch)


def _write(engine: Engine, result: Slimmed, name: str, output: str) -> str:
    """Put the result where the user wants it, and say where that is."""
    from mlkit.image.slim import export

    if output != "docker":
        export(result.built, name, output)
        return output
    engine.tag(result.built.image, name)
    return name


def _bill(place: str, path: Path) -> None:
    from mlkit.image import sbom
    from mlkit.image.opening import opened

    with opened(place.removeprefix("oci:")) as inventory:
        sbom.write(inventory, path)


def _fields(image: str, place: str | None, inventory: Inventory, result: Slimmed) -> dict[str, Any]:
    sizes = {path: entry.size for path, entry in inventory.files.entries.items()}
    dropped = sorted(sizes.keys() - result.plan.reasons.keys(), key=lambda path: -sizes[path])
    return {
        "image": image,
        "result": place,
        "id": result.built.image if place else None,
        "verdict": result.verdict,
        "size": {"before": inventory.size, "after": result.built.size},
        "packages": {
            "before": len(result.packages.installed),
            "kept": sorted(result.plan.packages),
        },
        "command": result.command,
        "findings": [asdict(each) for each in result.findings],
        "differences": [asdict(each) for each in result.differences],
        "added": result.added,
        "unresolved": [list(each) for each in result.plan.unresolved],
        "dropped": [{"path": path, "size": sizes[path]} for path in dropped[:20]],
        "kept": dict(sorted(result.plan.reasons.items())),
    }


def _show(fields: dict[str, Any], json: bool) -> None:
    if json:
        Output.document("image.slim", 1, fields)
        return
    from rich.table import Table

    table = Table("", "")
    sizes = [f"{fields['size'][each] / 1e6:.2f} MB" for each in ("before", "after")]
    packages = fields["packages"]
    table.add_row("verdict", fields["verdict"])
    table.add_row("result", fields["result"] or "not kept")
    table.add_row("size", " -> ".join(sizes))
    table.add_row("packages", f"{packages['before']} -> {len(packages['kept'])}")
    table.add_row("starts", " ".join(fields["command"]))
    for each in fields["findings"]:
        table.add_row(f"finding {each['code']}", each["observed"])
    for each in fields["differences"]:
        text = f"{each['what']}: {each['original']} -> {each['candidate']}"
        table.add_row(each["effect"], text)
    for path in fields["added"]:
        table.add_row("added after a trial", path)
    for each in fields["dropped"][:5]:
        table.add_row("dropped", f"{each['path']} ({each['size'] / 1e6:.2f} MB)")
    Output.result(table)


def doctor(
    context: typer.Context,
    image: ImageName,
    probe: Probes = None,
    env: Env = None,
    env_file: EnvFile = None,
    volume: Volumes = None,
    network: Network = "",
    watch: Watch = 10.0,
    patience: Patience = 20.0,
    json: Json = False,
) -> None:
    """Diagnose how an image starts, stops and lives, as process 1 and under an init.

    Exits 1 if there are findings.
    """
    from mlkit.image.diagnosis import diagnose
    from mlkit.image.slim import original_argv

    settings = _settings(env, env_file, volume, network, watch, patience)
    with of(context).progress("watching"), _ready(image, probe, settings) as ready:
        runner, inventory, name = ready
        found = diagnose(runner, inventory, name, original_argv(inventory))
    if json:
        findings = [asdict(each) for each in found.findings]
        document = {"image": image, "needs_init": found.needs_init, "findings": findings}
        Output.document("image.doctor", 1, document)
    else:
        Output.result(_findings(found.findings) if found.findings else f"{image}: no findings")
    if found.findings:
        raise typer.Exit(1)


def _findings(findings: list[Finding]) -> Table:
    from rich.table import Table

    table = Table("finding", "observed", "cure")
    for each in findings:
        table.add_row(each.code, each.observed, each.cure)
    return table


def compare(
    context: typer.Context,
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help="What it should be like.")],
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="What is judged.")],
    probe: Probes = None,
    env: Env = None,
    env_file: EnvFile = None,
    volume: Volumes = None,
    network: Network = "",
    watch: Watch = 3.0,
    patience: Patience = 20.0,
    json: Json = False,
) -> None:
    """Run two images side by side and compare how they behave.

    The original is run three times; what differs among its runs is noise. Exits 1 if the
    candidate is broken.
    """
    from mlkit.image.compare import settle, verdict
    from mlkit.image.opening import in_engine, opened
    from mlkit.image.slim import original_argv

    settings = _settings(env, env_file, volume, network, watch, patience)
    with contextlib.ExitStack() as stack:
        stack.enter_context(of(context).progress("comparing"))
        runner, inventory, name = stack.enter_context(_ready(original, probe, settings))
        theirs = stack.enter_context(in_engine(runner.engine, candidate))
        argv = original_argv(stack.enter_context(opened(theirs)))
        mine = original_argv(inventory)
        ours = [runner.run(name, mine) for _ in range(3)]
        _, found = settle(ours, lambda: runner.run(name, mine), lambda: runner.run(theirs, argv))
    said = verdict(found)
    if json:
        fields = {"verdict": said, "differences": [asdict(each) for each in found]}
        Output.document("image.compare", 1, fields)
    else:
        lines = [
            f"{each.effect}: {each.what}: {each.original} -> {each.candidate}" for each in found
        ]
        Output.result("\n".join([said, *lines]))
    if said == "broken":
        raise typer.Exit(1)


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List only.")] = False,
    json: Json = False,
) -> None:
    """Remove the containers and images that interrupted runs have left in the engine."""
    from mlkit.image.engine import Engine

    with contextlib.closing(Engine()) as engine:
        removed = engine.clean(dry_run)
    if json:
        Output.document("image.clean", 1, {"removed": removed})
    else:
        Output.result("\n".join(removed) or "nothing was left")
