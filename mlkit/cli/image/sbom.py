"""`mlkit image sbom`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.cli.groups import examples
from mlkit.cli.image.options import IMAGE_HELP
from mlkit.cli.options import Json
from mlkit.cli.output import Output


@examples(
    "mlkit image sbom app:1-slim -o app.cdx.json",
    "mlkit image sbom slim.tar --json | jq -r '.sbom.components[].purl'",
)
def sbom(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help=IMAGE_HELP)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write.")
    ] = None,
    json: Json = False,
) -> None:
    """Write the software bill of materials of an image, as CycloneDX."""
    from json import loads

    from mlkit.image.filesystem.image_source import take_inventory
    from mlkit.image.packages.sbom import bill, write

    with take_inventory(image) as inventory:
        if output is not None:
            write(inventory, output)
        text = bill(inventory)
    if json:
        Output.document("image.sbom", 1, {"image": image, "sbom": loads(text)})
    elif output is None:
        typer.echo(text, nl=False)
