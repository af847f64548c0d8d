"""`mlkit image explain`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.cli.groups import examples
from mlkit.cli.image.text import megabytes, plain
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of

if TYPE_CHECKING:
    from rich.tree import Tree

    from mlkit.image.keep.provenance import Explanation


@examples(
    "mlkit image explain app:1-slim /usr/lib/x86_64-linux-gnu/libssl.so.3",
    "mlkit image explain slim.tar /bin/sh /etc/passwd --original app:1 --json",
)
def explain(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A slimmed image.")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Paths in the image.")],
    original: Annotated[
        str | None,
        typer.Option(metavar="IMAGE", help="Original image (default: the recorded one)."),
    ] = None,
    json: Json = False,
) -> None:
    """Show why files were kept in a slimmed image, or dropped from it."""
    from mlkit.errors import MlkitError
    from mlkit.image.filesystem.image_source import take_inventory
    from mlkit.image.keep.provenance import Explainer, document

    with contextlib.ExitStack() as stack:
        result = stack.enter_context(take_inventory(image))
        explainer, source = Explainer(result, None), None
        found = [explainer.explain(each) for each in paths]
        if original is not None or any(each.state == "unknown" for each in found):
            try:  # it may be large: only what the result does not tell is worth that
                source = stack.enter_context(take_inventory(original or explainer.record.original))
                explainer = Explainer(result, source)
            except MlkitError as error:
                if original is not None:
                    raise
                of(context).note(f"the original is not compared: {error.message}")
            found = [explainer.explain(each) for each in paths]
    if json:
        fields = {"image": image, "original": source.image.source if source else None}
        Output.document("image.explain", 1, {**fields, "paths": document(found)})
        return
    for each in found:
        Output.result(_explanation(each))


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
