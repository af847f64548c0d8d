"""Pictures of boxed expressions that are not tables."""

from __future__ import annotations

import pytest
from lxml import etree

from mlkit.bpmn.render.decisions import describe, draw, svg, text

DMN = "https://www.omg.org/spec/DMN/20230324/MODEL/"
SVG = "{http://www.w3.org/2000/svg}"
ONE, TWO = (f"<literalExpression><text>{each}</text></literalExpression>" for each in "xy")
NAMED = "<contextEntry><variable name='%s'/>%s</contextEntry>"
FORMS = {
    "literal expression": (ONE, ["x"]),
    "context": (
        f"<context>{NAMED % ('sum', ONE)}<contextEntry>{TWO}</contextEntry></context>",
        ["sum | x", " | y"],
    ),
    "list": (f"<list>{ONE}{TWO}</list>", ["x", "y"]),
    "relation": (
        f"<relation><column name='a'/><column name='b'/><row>{ONE}{TWO}</row></relation>",
        ["a | b", "x | y"],
    ),
    "invocation": (
        f"<invocation>{ONE}<binding><parameter name='n'/>{TWO}</binding></invocation>",
        ["x", "n | y"],
    ),
    "function": (
        f"<functionDefinition><formalParameter name='n'/>{ONE}</functionDefinition>",
        ["(n)", "x"],
    ),
    "conditional": (
        f"<conditional><if>{ONE}</if><then>{TWO}</then><else>{ONE}</else></conditional>",
        ["if | x", "then | y", "else | x"],
    ),
    "filter": (f"<filter><in>{ONE}</in><match>{TWO}</match></filter>", ["in | x", "match | y"]),
    "iteration": (
        f"<for iteratorVariable='i'><in>{ONE}</in><return>{TWO}</return></for>",
        ["for i in | x", "return | y"],
    ),
}


def drawn(folder, logic):
    head = f"<definitions xmlns='{DMN}' id='m' name='m' namespace='urn:m'>"
    (folder / "m.dmn").write_text(
        f"{head}<decision id='d' name='D'>{logic}</decision></definitions>"
    )
    return draw(folder / "m.dmn")


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_drawn_and_described(tmp_path, form):
    logic, lines = FORMS[form]
    found = drawn(tmp_path, logic)
    root = etree.fromstring(svg(found, found.parts))
    group = root.find(f".//{SVG}g[@data-type='boxedExpression']")
    texts = [each for each in group.itertext() if each.strip()]
    assert texts == [each for line in lines for each in line.split(" | ") if each.strip()]
    expected = f"Decision D ({form}): {'; '.join(lines)}"
    assert describe(found, found.parts).splitlines()[-1] == expected


def test_boxes_inside_of_boxes_share_their_lines(tmp_path):
    inner = f"<list>{ONE}{TWO}</list>"
    found = drawn(tmp_path, f"<context>{NAMED % ('both', inner)}{NAMED % ('one', ONE)}</context>")
    lines = ["".join(each for each, _ in line) for line in text(found, found.parts[-1:])]
    assert lines == [
        "D (context)",
        "┌────────┬────────┐",
        "│ both   │ x      │",
        "│        ├────────┤",
        "│        │ y      │",
        "├────────┼────────┤",
        "│ one    │ x      │",
        "└────────┴────────┘",
    ]


def test_a_narrow_terminal_has_a_line_for_each_row(tmp_path):
    found = drawn(tmp_path, FORMS["conditional"][0])
    lines = ["".join(each for each, _ in line) for line in text(found, found.parts[-1:], 12)]
    assert lines[1:] == FORMS["conditional"][1]


def test_boxes_lie_side_by_side_without_overlapping(tmp_path):
    inner = f"<relation><column name='a'/><column name='b'/><row>{ONE}{TWO}</row></relation>"
    logic = (
        f"<context>{NAMED % ('rows', inner)}{NAMED % ('a long name of an entry', ONE)}</context>"
    )
    found = drawn(tmp_path, logic)
    root = etree.fromstring(svg(found, found.parts))
    group = root.find(f".//{SVG}g[@data-type='boxedExpression']")
    *boxes, outer = [
        tuple(float(each.get(key)) for key in ("x", "y", "width", "height"))
        for each in group.iter(f"{SVG}rect")
    ]
    assert sum(width * height for _, _, width, height in boxes) == pytest.approx(
        outer[2] * outer[3], rel=1e-3
    )
