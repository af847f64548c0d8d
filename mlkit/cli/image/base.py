"""`mlkit image base`: distroless bases from Debian packages."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.groups import examples
from mlkit.cli.image.text import plain
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of

if TYPE_CHECKING:
    from mlkit.image.packages.apt import Apt


class Kind(StrEnum):
    """What a base holds."""

    STATIC = "static"
    BASE = "base"
    CC = "cc"
    PYTHON3 = "python3"


HOLDS = {
    "static": "certificates, time zones, users; for static programs",
    "base": "static, and glibc and OpenSSL",
    "cc": "base, and the C++ and OpenMP libraries",
    "python3": "cc, and Debian's Python",
}


@examples(
    "mlkit image base build static -o static.tar",
    "mlkit image base build python3 -t bases/python3 --suite trixie --json",
)
def build(
    context: typer.Context,
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="Kind of the base image.")],
    tag: Annotated[
        str | None,
        typer.Option(
            "--tag",
            "-t",
            metavar="NAME",
            help="Name under which the image is loaded into the engine.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="`docker load` archive to write."),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Code name of the suite (default: the machine's own)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the packages.")] = False,
    json: Json = False,
) -> None:
    """Assemble a base from Debian packages; the same packages give the same image id.

    The packages of a suite and their digests come from apt's signed index.
    """
    from mlkit.files import check_place
    from mlkit.image.base import debian
    from mlkit.image.filesystem.build import check_name
    from mlkit.image.packages.apt import of_suite

    check_name(tag or "mlkit")
    if output:
        check_place(output)
    apt = of_suite(suite)
    packages = debian.packages_of(kind.value, apt)
    fields: dict[str, Any] = {"kind": kind.value, "packages": packages}
    if not dry_run:
        with of(context).progress("packages") as progress:
            name = tag or f"mlkit/{kind.value}"
            fields |= _build(kind.value, name, output, progress, apt, suite)
    if json:
        Output.document("image.base.build", 1, fields)
        return
    if dry_run:
        Output.result("\n".join(packages))
    else:
        size = f"{fields['size'] / 1e6:.2f} MB, {len(packages)} packages"
        Output.result(f"{fields['image']} {fields['name']}: {size}")


def _build(
    kind: str, name: str, output: Path | None, progress: Any, apt: Apt, suite: str | None
) -> dict[str, Any]:
    import contextlib

    from mlkit.files import replacing
    from mlkit.image.base import debian
    from mlkit.image.filesystem.build import (
        archive,
        document,
        here,
        image_id,
        with_tag,
        write_layer,
    )
    from mlkit.image.run.engine.engine import Engine
    from mlkit.scratch import scratch

    items = debian.assemble(kind, progress, apt)
    with scratch("mlkit-image-") as folder:
        layer = write_layer(items, folder / "layer.tar")
        config = document([layer], debian.config_of(kind, suite), here())
        whole = partial(archive, config, [layer], with_tag(name))
        if output:
            with replacing(output) as file:
                file.writelines(whole())
        else:
            with contextlib.closing(Engine()) as engine:
                engine.load(whole)
    size = sum(item.entry.size for item in items)
    return {"name": str(output or name), "image": image_id(config), "size": size}


@examples(
    "mlkit image base list",
    "mlkit image base list --json",
)
def list_bases(json: Json = False) -> None:
    """List the bases that `build` can assemble, and those that the engine holds already."""
    built = _list_built()
    if json:
        bases = [
            {"kind": kind, "holds": holds, "images": built.get(kind, [])}
            for kind, holds in HOLDS.items()
        ]
        Output.document("image.base.list", 1, {"bases": bases})
        return
    from rich.table import Table

    table = Table("base", "holds", "built")
    for kind, holds in HOLDS.items():
        images = (f"{each['name']} ({each['suite']})" for each in built.get(kind, []))
        table.add_row(kind, holds, plain(", ".join(images)))
    Output.result(table)


def _list_built() -> dict[str, list[dict[str, str]]]:
    """Return the bases in the engine by kind; none where there is no engine."""
    import contextlib

    from mlkit.errors import ServiceUnavailable
    from mlkit.image.base.debian import LABEL
    from mlkit.image.run.engine.engine import Engine

    found: dict[str, list[dict[str, str]]] = {}
    with contextlib.suppress(ServiceUnavailable), contextlib.closing(Engine()) as engine:
        for name, labels in engine.list_labelled(LABEL):
            suite = labels.get(f"{LABEL}.suite", "unknown")
            found.setdefault(labels[LABEL], []).append({"name": name, "suite": suite})
    return found
