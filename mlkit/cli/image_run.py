"""`mlkit image compare` and `clean`."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import Annotated

import typer

from mlkit.cli.image_options import (
    Asked,
    Env,
    EnvFile,
    Exec,
    Network,
    Patience,
    ProbeFile,
    Probes,
    Volumes,
    Watch,
    ready,
    settings_of,
)
from mlkit.cli.image_text import plain
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of

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
    app.command(epilog=COMPARE_EPILOG)(compare)
    app.command(epilog=CLEAN_EPILOG)(clean)


def compare(
    context: typer.Context,
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help="What it should be like.")],
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="What is judged.")],
    probe: Probes = None,
    probes: ProbeFile = None,
    exec: Exec = None,  # noqa: A002 - named as its option is
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
    from mlkit.image.evidence import evidence
    from mlkit.image.opening import in_engine, refuse_architecture
    from mlkit.image.slim import original_argv
    from mlkit.image.summary import weakness

    settings, asked = (
        settings_of(env, env_file, volume, network, watch, patience),
        Asked(probe, probes, exec),
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(of(context).progress("comparing"))
        runner, inventory, name = stack.enter_context(ready(original, asked, settings))
        other, theirs = stack.enter_context(in_engine(runner.engine, candidate))
        refuse_architecture(other)
        argv = original_argv(other)
        mine = original_argv(inventory)
        ours = [runner.run(name, mine) for _ in range(3)]
        other_run, found = settle(
            ours, lambda: runner.run(name, mine), lambda: runner.run(theirs, argv)
        )
        weak = weakness([each.text for each in runner.settings.probes], asked.anything)
    said = verdict(found)
    if json:
        fields = {
            "verdict": said,
            "differences": [asdict(each) for each in found],
            "comparison": [asdict(each) for each in evidence(ours, other_run, found)],
            "warnings": [weak] if weak else [],
        }
        Output.document("image.compare", 1, fields)
    else:
        Output.result(said)
        for each in found:
            text = f"{each.effect}: {each.what}: {each.original} -> {each.candidate}"
            Output.result(plain(text))
        if weak:
            of(context).note(weak)
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
