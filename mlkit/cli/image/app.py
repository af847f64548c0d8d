"""`mlkit image`: slim container images, and prove that they work."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.groups import CommandGroup
from mlkit.cli.image import base, doctor, run, slim
from mlkit.cli.image.text import megabytes, plain
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree

    from mlkit.image.filesystem.difference import Difference
    from mlkit.image.keep.provenance import Explanation

app = typer.Typer(
    name="image",
    add_completion=False,
    cls=CommandGroup,
    no_args_is_help=True,
    help="Slim container images onto a distroless base, and prove that they work.",
)
LARGEST = 15

IMAGE_HELP = "An image of the engine, a `docker save` archive, or an OCI layout."
DIFF_EPILOG = """\
Examples:

  mlkit image diff app:1 app:1-slim

  mlkit image diff before.tar after.tar --json | jq '.packages'
"""


@app.command(epilog=DIFF_EPILOG)
def diff(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help=IMAGE_HELP)],
    b: Annotated[str, typer.Argument(metavar="B", help="The image to compare it with.")],
    json: Json = False,
) -> None:
    """Show what differs between two images: files, packages, sizes, config."""
    from mlkit.image.filesystem.difference import diff as compute
    from mlkit.image.filesystem.image_source import opened

    output = of(context)
    with (
        output.progress("layers") as progress,
        opened(a, progress) as first,
        opened(b, progress) as second,
    ):
        found = compute(first, second)
    if json:
        Output.document("image.diff", 1, _document(found))
    else:
        Output.result(_table(a, b, found))


EXPLAIN_EPILOG = """\
Examples:

  mlkit image explain app:1-slim /usr/lib/x86_64-linux-gnu/libssl.so.3

  mlkit image explain slim.tar /bin/sh /etc/passwd --original app:1 --json
"""


@app.command(epilog=EXPLAIN_EPILOG)
def explain(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A slimmed image.")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Paths in it.")],
    original: Annotated[
        str | None,
        typer.Option(metavar="IMAGE", help="What it was made of (default: as it was named)."),
    ] = None,
    json: Json = False,
) -> None:
    """Say why files were kept in a slimmed image, or dropped from it."""
    from mlkit.errors import MlkitError
    from mlkit.image.filesystem.image_source import opened
    from mlkit.image.keep.provenance import Explainer, document, read

    with contextlib.ExitStack() as stack:
        result = stack.enter_context(opened(image))
        name, source = original or read(result).original, None
        try:
            source = stack.enter_context(opened(name))
            explainer = Explainer(result, source)
        except MlkitError as error:
            if original is not None:
                raise
            of(context).note(f"the original is not looked at: {error.message}")
            explainer = Explainer(result, None)
        found = [explainer.explain(each) for each in paths]
    if json:
        fields = {"image": image, "original": source.image.source if source else None}
        Output.document("image.explain", 1, {**fields, "paths": document(found)})
        return
    for each in found:
        Output.result(_explanation(each))


SBOM_EPILOG = """\
Examples:

  mlkit image sbom app:1-slim -o app.cdx.json

  mlkit image sbom slim.tar --json | jq -r '.sbom.components[].purl'
"""


@app.command(epilog=SBOM_EPILOG)
def sbom(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help=IMAGE_HELP)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")
    ] = None,
    json: Json = False,
) -> None:
    """Write the software bill of materials of an image, as CycloneDX."""
    from json import loads

    from mlkit.image.filesystem.image_source import opened
    from mlkit.image.packages.sbom import bill, write

    with opened(image) as inventory:
        if output is not None:
            write(inventory, output)
        text = bill(inventory)
    if json:
        Output.document("image.sbom", 1, {"image": image, "sbom": loads(text)})
    elif output is None:
        typer.echo(text, nl=False)


def _explanation(found: Explanation) -> Tree:
    from rich.tree import Tree

    parts = [] if found.size is None else [megabytes(found.size)]
    parts += [f"package {found.package}"] if found.package else []
    more = f" ({', '.join(parts)})" if parts else ""
    tree = Tree(plain(f"/{found.path}: {found.state}: {found.reason}{more}"))
    branch = tree
    for path, reason in found.chain:
        branch = branch.add(plain(f"/{path}: {reason}"))
    return tree


def _document(found: Difference) -> dict[str, Any]:
    return {
        "before": found.before,
        "after": found.after,
        "removed": [{"path": each.path, "size": each.size} for each in found.removed],
        "added": [{"path": each.path, "size": each.size} for each in found.added],
        "changed": found.changed,
        "packages": [asdict(each) for each in found.packages],
        "config": [asdict(each) for each in found.config],
    }


def _table(a: str, b: str, found: Difference) -> Table:
    from rich.table import Table

    from mlkit.errors import printable

    table = Table("", printable(a), printable(b))  # the table shows them without markup
    table.add_row("size", megabytes(found.before), megabytes(found.after))
    table.add_row("files only here", str(len(found.removed)), str(len(found.added)))
    table.add_row("files that differ", str(len(found.changed)), "")
    for each in found.removed[:LARGEST]:
        table.add_row("", plain(f"{each.path} ({megabytes(each.size)})"), "")
    for each in found.added[:LARGEST]:
        table.add_row("", "", plain(f"{each.path} ({megabytes(each.size)})"))
    for change in found.packages[:LARGEST]:
        table.add_row(plain(f"package {change.name}"), _text(change.before), _text(change.after))
    if len(found.packages) > LARGEST:
        table.add_row("packages", f"and {len(found.packages) - LARGEST} more", "")
    for change in found.config:
        table.add_row(plain(f"config {change.name}"), _text(change.before), _text(change.after))
    return table


def _text(value: Any) -> Text:
    return plain("" if value is None else str(value))


slim.register(app)
doctor.register(app)
run.register(app)
app.add_typer(base.app)
