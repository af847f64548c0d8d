"""`mlkit image doctor`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.groups import examples
from mlkit.cli.image.options import (
    Asked,
    Env,
    EnvFile,
    Network,
    Patience,
    ProbeFile,
    Probes,
    Volumes,
    Watch,
    ready,
    settings_of,
)
from mlkit.cli.image.text import plain
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of
from mlkit.image.choices import PATIENCE

if TYPE_CHECKING:
    from rich.table import Table

    from mlkit.image.run.engine.container import Container
    from mlkit.image.run.engine.engine import Engine


@examples(
    "mlkit image doctor app:1 --probe http:8000/",
    "mlkit image doctor my-container --watch 30 --json",
)
def doctor(
    context: typer.Context,
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE|CONTAINER", help="An image, which is run, or a running container."
        ),
    ],
    probe: Probes = None,
    probes: ProbeFile = None,
    env: Env = None,
    env_file: EnvFile = None,
    volume: Volumes = None,
    network: Network = "",
    watch: Watch = 10.0,
    patience: Patience = PATIENCE,
    json: Json = False,
) -> None:
    """Diagnose how an image starts, runs and stops, as process 1 and under an init.

    A running container is only watched, and never stopped or changed. Exits 1 if there are
    findings; notes, such as that it runs as root, are not findings.
    """
    asked = Asked(probe, probes)
    with contextlib.ExitStack() as stack:
        stack.enter_context(of(context).progress("watching"))
        engine, container = _container(stack, image)
        if container is None:
            settings = settings_of(env, env_file, volume, network, watch, patience)
            fields = _image(stack, image, asked, settings)
        else:
            if asked.anything or env or env_file or volume or network:
                _refuse(image)
            fields = _watch(stack, engine, container, watch)
    if json:
        Output.document("image.doctor", 1, {"image": image, **fields})
    else:
        _show(image, fields)
    if fields["findings"]:
        raise typer.Exit(1)


def _refuse(name: str) -> None:
    from mlkit.errors import UsageError

    hint = "probes, --env, --env-file, --volume and --network are for images, which are run"
    raise UsageError(f"{name}: a running container is watched only", hint=hint)


def _container(stack: contextlib.ExitStack, name: str) -> tuple[Engine, Container | None]:
    """Find what a name means: a path or an image first, then a container."""
    from mlkit.errors import InputMissing
    from mlkit.image.run.engine.engine import Engine

    engine = stack.enter_context(contextlib.closing(Engine()))
    if Path(name).exists():
        return engine, None
    try:
        engine.inspect(name)
    except InputMissing:
        return engine, engine.find_container(name)
    return engine, None


def _image(stack: contextlib.ExitStack, image: str, asked: Asked, settings: Any) -> dict[str, Any]:
    from mlkit.image.command.entrypoint import original_argv
    from mlkit.image.proof.diagnosis import diagnose

    runner, source = stack.enter_context(ready(image, asked, settings))
    inventory = source.inventory()
    found = diagnose(runner, inventory, source.name, original_argv(inventory))
    return {
        "kind": "image",
        "needs_init": found.needs_init,
        "findings": [asdict(each) for each in found.findings],
        "notes": [asdict(each) for each in found.notes],
        "observed": found.facts(),
    }


def _watch(
    stack: contextlib.ExitStack, engine: Engine, container: Container, seconds: float
) -> dict[str, Any]:
    from mlkit.image.proof.container_diagnosis import diagnose, watch
    from mlkit.image.run.observation import Tools
    from mlkit.interruption import stoppable, whole

    stack.enter_context(stoppable())
    with whole():
        tools = stack.enter_context(Tools(engine))
    found = diagnose(watch(engine, tools, container, seconds))
    return {
        "kind": "container",
        "findings": [asdict(each) for each in found.findings],
        "notes": [asdict(each) for each in found.notes],
        "observed": found.facts,
    }


def _show(image: str, fields: dict[str, Any]) -> None:
    if fields["findings"]:
        Output.result(_table("finding", fields["findings"]))
    else:
        Output.result(plain(f"{image}: no findings"))
    if fields["notes"]:
        Output.result(_table("note", fields["notes"]))


def _table(title: str, findings: Sequence[dict[str, str]]) -> Table:
    from rich.table import Table

    table = Table(title, "observed", "cure")
    for each in findings:
        table.add_row(each["code"], plain(each["observed"]), plain(each["cure"]))
    return table
