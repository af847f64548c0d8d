"""`mlkit image diff`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.groups import examples
from mlkit.cli.image.options import IMAGE_HELP
from mlkit.cli.image.text import megabytes, plain
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from mlkit.image.filesystem.difference import Difference

LARGEST = 15


@examples(
    "mlkit image diff app:1 app:1-slim",
    "mlkit image diff before.tar after.tar --json | jq '.packages'",
)
def diff(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help=IMAGE_HELP)],
    b: Annotated[str, typer.Argument(metavar="B", help="The image to compare it with.")],
    json: Json = False,
) -> None:
    """Show what differs between two images: files, packages, sizes, config."""
    from mlkit.image.filesystem.difference import diff as compute
    from mlkit.image.filesystem.image_source import take_inventory

    output = of(context)
    with (
        output.progress("layers") as progress,
        take_inventory(a, progress) as first,
        take_inventory(b, progress) as second,
    ):
        found = compute(first, second)
    if json:
        Output.document("image.diff", 1, _document(found))
    else:
        Output.result(_table(a, b, found))


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
