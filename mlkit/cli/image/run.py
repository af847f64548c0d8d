"""`mlkit image compare` and `clean`."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import Annotated

import typer

from mlkit.cli.groups import examples
from mlkit.cli.image.options import (
    Asked,
    Env,
    EnvFile,
    Exec,
    Explore,
    Network,
    OneAtATime,
    OpenApi,
    Patience,
    ProbeFile,
    Probes,
    Volumes,
    Watch,
    Wish,
    ready,
    settings_of,
)
from mlkit.cli.image.text import plain
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of
from mlkit.image.choices import PATIENCE, WATCH


@examples(
    "mlkit image compare app:1 app:1-slim --probe http:8000/",
    "mlkit image compare app:1 app:2 --probe tcp:5432 --json",
)
def compare(
    context: typer.Context,
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help="The image to compare with.")],
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="The image that is judged.")
    ],
    probe: Probes = None,
    probes: ProbeFile = None,
    exec: Exec = None,  # noqa: A002 - named as its option is
    openapi: OpenApi = None,
    explore: Explore = True,
    env: Env = None,
    env_file: EnvFile = None,
    volume: Volumes = None,
    network: Network = "",
    one_at_a_time: OneAtATime = False,
    watch: Watch = WATCH,
    patience: Patience = PATIENCE,
    json: Json = False,
) -> None:
    """Run two images side by side and compare how they behave.

    The original is run three times; what differs among its runs is noise. A further run of the
    candidate is traced: paths that it does not find and the original has are reported. Exits 1 if
    the candidate is broken.
    """
    from mlkit.image.filesystem.image_source import in_engine, refuse_architecture
    from mlkit.image.proof.compare import verdict
    from mlkit.image.proof.evidence import evidence
    from mlkit.image.report.sentences import of_difference
    from mlkit.image.report.summary import weakness
    from mlkit.image.run.side_by_side import Subject, side_by_side

    settings, asked = (
        settings_of(env, env_file, volume, network, watch, patience),
        Asked(probe, probes, exec),
    )
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(of(context).progress("comparing"))
        runner, source = stack.enter_context(
            ready(original, asked, settings, Wish(explore, openapi))
        )
        other = stack.enter_context(in_engine(runner.engine, candidate))
        refuse_architecture(other)
        ours = Subject(source.name, source.inventory())
        theirs = Subject(other.name, other.inventory())
        alone = one_at_a_time or runner.settings.shares
        compared = side_by_side(runner, ours, theirs, progress, one_at_a_time=alone)
        weak = weakness([each.text for each in runner.settings.probes], asked.anything)
    found = compared.differences
    warnings = [*([weak] if weak else []), *compared.warnings]
    said = verdict(found)
    if json:
        table = evidence(compared.originals, compared.candidate, found)
        fields = {
            "verdict": said,
            "reach": compared.reach.fields(),
            "differences": [asdict(each) for each in found],
            "comparison": [asdict(each) for each in table],
            "warnings": warnings,
        }
        Output.document("image.compare", 1, fields)
    else:
        Output.result(plain(f"{said}: {compared.reach.text}"))
        for each in found:
            Output.result(plain(f"{each.effect}: {of_difference(asdict(each))}"))
        for text in warnings:
            of(context).note(text)
    if said == "broken":
        raise typer.Exit(1)


@examples(
    "mlkit image clean",
    "mlkit image clean --json",
)
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list them.")] = False,
    json: Json = False,
) -> None:
    """Remove the containers and images that interrupted runs left behind in the engine."""
    from mlkit.image.run.engine.engine import Engine

    with contextlib.closing(Engine()) as engine:
        removed = engine.clean(dry_run)
    if json:
        Output.document("image.clean", 1, {"removed": removed})
    else:
        Output.result("\n".join(removed) or "nothing was left")
