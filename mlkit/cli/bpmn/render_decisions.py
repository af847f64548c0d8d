"""`mlkit bpmn render MODEL.dmn`: the requirement graph and the decision tables of a model."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlkit.cli.bpmn.coloured_lines import print_lines
from mlkit.cli.bpmn.options import pairs, variables_file
from mlkit.cli.output import Output

if TYPE_CHECKING:
    from mlkit.bpmn.render.decisions import Drawn
    from mlkit.bpmn.render.decisions.files import Part
    from mlkit.bpmn.render.decisions.places import Diagram


def render(
    model: Path,
    target: Path | None,
    chosen: str | None,
    inputs: dict[str, Any] | None,
    decision: str,
    theme: str,
    json: bool,
    output: Output,
) -> None:
    """Draw a model as SVG, PNG or text.

    Args:
        model: The file.
        target: Where it is drawn; None for the terminal.
        chosen: The diagram or table: a number, an id or a name; None for all.
        inputs: Values by name; None to decide nothing.
        decision: What is decided; empty for all that no other decision requires.
        theme: `auto`, `light` or `dark`.
        json: Whether a JSON document is printed instead of text.
        output: Where notes go.
    """
    from mlkit.bpmn.render import choose
    from mlkit.bpmn.render.decisions import draw

    drawn = draw(model, decision, inputs)
    if inputs is not None:
        _warn(model, decision, inputs, output)
    parts = drawn.parts if chosen is None else [choose(drawn.parts, chosen, str(model))]
    for note in drawn.course.notes if drawn.course else ():
        output.note(f"note: {note}")
    if target is not None:
        _write(drawn, parts, target, theme)
    if json:
        Output.document("bpmn.render", 1, _document(drawn, parts, target))
    elif target is None:
        _print(drawn, parts)
    else:
        output.wrote(target)


def _warn(model: Path, decision: str, inputs: dict[str, Any], output: Output) -> None:
    from mlkit.bpmn.decisions.load import Decisions
    from mlkit.cli.bpmn.decide import warn_of_inputs

    decisions = Decisions(model)
    warn_of_inputs(decisions, [decision] if decision else decisions.outermost, inputs, output)


def read_inputs(var: list[str], vars_: Path | None) -> dict[str, Any] | None:
    """Return the inputs of the options; None without any."""
    return {**variables_file(vars_), **pairs(var, "--var")} if var or vars_ is not None else None


def _write(drawn: Drawn, parts: list[Part], target: Path, theme: str) -> None:
    from mlkit.bpmn.render import png
    from mlkit.bpmn.render.decisions import svg
    from mlkit.files import replacing

    content = svg(drawn, parts, theme)
    if target.suffix == ".png":
        content = png(content, theme)
    with replacing(target) as written:
        written.write(content)


def _print(drawn: Drawn, parts: list[Part]) -> None:
    from mlkit.bpmn.render.decisions import text

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_lines(text(drawn, parts, columns))


def _document(drawn: Drawn, parts: list[Part], target: Path | None) -> dict[str, Any]:
    from mlkit.bpmn.render.decisions.boxes import Boxes
    from mlkit.bpmn.render.decisions.grid import Grid

    diagrams = [each for each in parts if not isinstance(each, Grid | Boxes)]
    return {
        "output": None if target is None else str(target),
        "shapes": [fields for each in diagrams for fields in _shapes(each, drawn)],
        "edges": [
            {
                "element": each.link.id, "type": each.link.kind, "source": each.link.source,
                "target": each.link.target, "points": [list(point) for point in each.points],
            }
            for diagram in diagrams
            for each in diagram.edges
        ],
        "tables": [_table(each) for each in parts if isinstance(each, Grid)],
        "expressions": [_expression(each) for each in parts if isinstance(each, Boxes)],
        "diagrams": [
            {"number": number, "element": each.element, "name": each.name}
            for number, each in enumerate(drawn.parts, 1)
        ],
    }  # fmt: skip


def _shapes(diagram: Diagram, drawn: Drawn) -> list[dict[str, Any]]:
    course = drawn.course
    found = []
    for each in diagram.shapes:
        node = each.node
        fields = {"element": node.id, "type": node.kind, "name": node.name, **each.box._asdict()}
        if course is not None:
            fields["state"] = course.state(node.name) or None
            fields["value"] = course.values.get(node.name)
        found.append(fields)
    return found


def _expression(boxes: Any) -> dict[str, Any]:
    return {
        "element": boxes.element,
        "name": boxes.name,
        "form": boxes.form,
        "boxes": _nest(boxes.block),
    }


def _nest(block: Any) -> Any:
    """Return a text, or the boxes of each row."""
    from mlkit.bpmn.render.decisions.boxes import Text

    if isinstance(block, Text):
        return block.text
    return [[_nest(each) for each in row] for row in block.rows]


def _table(grid: Any) -> dict[str, Any]:
    labels = [label for label, _ in grid.heads]
    return {
        "element": grid.element,
        "name": grid.name,
        "policy": grid.policy,
        "inputs": labels[: grid.inputs],
        "outputs": labels[grid.inputs : grid.inputs + grid.outputs],
        "rules": [list(each) for each in grid.rows],
        "matched": [each + 1 for each in sorted(grid.matched)],
    }
