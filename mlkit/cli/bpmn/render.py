"""`mlkit bpmn render`: the picture of a diagram, of an instance, or of a decision model."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.bpmn import render_decisions as decisions
from mlkit.cli.bpmn.coloured_lines import print_lines
from mlkit.cli.bpmn.place import Place, asking, with_place
from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of
from mlkit.errors import UsageError

if TYPE_CHECKING:
    from mlkit.bpmn.render import Progress
    from mlkit.bpmn.render.picture import Picture


class Themes(StrEnum):
    """The colours of a picture."""

    AUTO = "auto"
    LIGHT = "light"
    DARK = "dark"


@examples(
    "mlkit bpmn render pipeline.bpmn -o pipeline.svg",
    "mlkit bpmn render --instance 3f2a -o now.png",
    "mlkit bpmn render --instance 3f2a -o now.png --server https://flows.example.org",
    "mlkit bpmn render pipeline.bpmn --diagram train -o train.svg",
    "mlkit bpmn render rollout.dmn --var 'model accuracy=0.97' --var region=EU -o rollout.png",
)
@with_place
def render(
    context: typer.Context,
    *,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The diagram, or a DMN file.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File to write, .svg or .png (default: text on the terminal).",
        ),
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Instance by whose progress the diagram is coloured."),
    ] = None,
    diagram: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=("Diagram to draw where the file has several: its number, id or name."),
        ),
    ] = None,
    var: Annotated[
        list[str],
        typer.Option(
            "--var",
            metavar="NAME=VALUE",
            help=("Input of the decisions of a DMN file, JSON or text (repeatable)."),
        ),
    ] = [],  # noqa: B006
    vars_: Annotated[
        Path | None,
        typer.Option(
            "--vars",
            metavar="FILE",
            help=("File with a JSON object of inputs of the decisions of a DMN file."),
        ),
    ] = None,
    decision: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Decision to draw (default: the one that no other requires)."
        ),
    ] = "",
    theme: Annotated[
        Themes,
        typer.Option(
            help=("Colour theme; auto follows the reader's system, and is light in a PNG.")
        ),
    ] = Themes.AUTO,
    place: Place,
    json: Json = False,
) -> None:
    """Draw a diagram or decision model as SVG, PNG or text, coloured by what happened.

    A file without coordinates (BPMN DI, DMNDI) is laid out. For a DMN file, the requirement graph
    and each decision table are drawn; with inputs, decisions have their values and the rules that
    matched are coloured.
    """
    if output is not None and output.suffix not in (".svg", ".png"):
        raise UsageError(f"-o {output}: expected a name that ends in .svg or .png")
    if file is not None and file.suffix == ".dmn" and instance is None:
        inputs = decisions.read_inputs(var, vars_)
        decided = inputs if inputs is not None or not decision else {}
        decisions.render(file, output, diagram, decided, decision, theme.value, json, of(context))
        return
    if var or vars_ is not None or decision:
        raise UsageError("--var, --vars and --decision apply to DMN files only")
    from mlkit.bpmn.render import choose

    pictures, progress = _find(context, file, instance, place)
    picture = choose(pictures, diagram, str(file or instance))
    if output is not None:
        _write(picture, progress, output, theme.value)
    if json:
        shown = _document(picture, progress, output)
        Output.document("bpmn.render", 1, {**shown, "diagrams": _diagrams(pictures)})
        return
    if output is None:
        _print(picture, progress)
    else:
        of(context).wrote(output)
    if diagram is None and len(pictures) > 1:
        _name_others(context, pictures)


def _diagrams(pictures: list[Picture]) -> list[dict[str, Any]]:
    return [
        {"number": number, "element": each.element, "name": each.name}
        for number, each in enumerate(pictures, 1)
    ]


def _name_others(context: typer.Context, pictures: list[Picture]) -> None:
    from mlkit.bpmn.render import name_diagram

    others = ", ".join(name_diagram(number, each) for number, each in enumerate(pictures, 1))
    of(context).note(f"--diagram chooses one of several: {others}")


def _find(
    context: typer.Context, file: Path | None, instance: str | None, place: Place
) -> tuple[list[Picture], dict[str, Progress] | None]:
    from mlkit.bpmn import render as rendering

    if instance is None:
        if file is None:
            raise UsageError("nothing to draw: name a FILE, or --instance ID")
        return rendering.pictures(file), None

    with asking(context, place) as (backend, _):
        name, content, progress = backend.drawing(instance)
    # The file of today may be another one than the one that runs.
    pictures = rendering.pictures(file) if file else rendering.parse(content, name)
    return pictures, progress


def _write(
    picture: Picture, progress: Mapping[str, Progress] | None, output: Path, theme: str
) -> None:
    from mlkit.bpmn import render as rendering
    from mlkit.files import replacing

    content = rendering.svg(picture, progress, theme)
    if output.suffix == ".png":
        content = rendering.png(content, theme)
    with replacing(output) as written:
        written.write(content)


def _document(
    picture: Picture, progress: dict[str, Progress] | None, output: Path | None
) -> dict[str, Any]:
    from mlkit.bpmn.definition.parser.xml import local

    known = progress or {}
    shapes = []
    for each in picture.shapes:
        found = known.get(str(each.element.get("id")))
        fields: dict[str, Any] = {
            "element": each.element.get("id"), "type": local(each.element),
            "name": each.element.get("name") or "", **each.box._asdict(),
        }  # fmt: skip
        if progress is not None:
            fields["state"] = found.state if found else None
            fields["count"] = found.count if found else 0
            fields["seconds"] = found.seconds if found else None
        shapes.append(fields)
    edges = [
        {
            "element": each.element.get("id"), "type": local(each.element),
            "name": each.element.get("name") or "", "points": [list(p) for p in each.points],
        }
        for each in picture.edges
    ]  # fmt: skip
    return {"output": None if output is None else str(output), "shapes": shapes, "edges": edges}


def _print(picture: Picture, progress: Mapping[str, Progress] | None) -> None:
    from mlkit.bpmn.render import terminal

    lines = terminal.text(picture, progress)
    width = max((sum(len(part) for part, _ in line) for line in lines), default=0)
    if sys.stdout.isatty() and width > shutil.get_terminal_size().columns:
        lines = terminal.outline(picture, progress or {})
    print_lines(lines)
