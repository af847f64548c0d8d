"""The picture of a diagram: what is drawn, where, and that nothing in a file can break it."""

from __future__ import annotations

import cProfile
import pstats
import re
from itertools import combinations
from pathlib import Path

import pytest
from bpmn.conftest import diagram as write
from bpmn.gallery import gallery
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from mlkit.bpmn import render
from mlkit.bpmn.render import terminal, text_measurement
from mlkit.bpmn.render.drawing import INK, PAPER
from mlkit.errors import BadData

SHOWCASE = Path(__file__).parents[3] / "examples" / "bpmn" / "showcase" / "pipeline.bpmn"
SVG = "{http://www.w3.org/2000/svg}"
NODES = ("Event", "Gateway", "Task", "task", "subProcess")


def picture(xml):
    return render.parse(xml.encode(), "test.bpmn")[0]


def groups(svg):
    """Return the drawn elements by id."""
    root = etree.fromstring(svg)
    return {
        each.get("data-element"): each for each in root.iter(f"{SVG}g") if each.get("data-type")
    }


def words(element):
    return " ".join(each.text or "" for each in element.iter(f"{SVG}tspan"))


def boxes(found):
    return {each.element.get("id"): each.box for each in found.shapes}


def test_every_element_of_the_gallery_is_drawn_with_its_label():
    drawn = groups(render.svg(picture(gallery())))
    source = etree.fromstring(gallery().encode())
    named = [each for each in source.find("{*}process").iter() if each.get("name")]
    assert len(named) > 80
    for each in named:
        group = drawn[each.get("id")]
        assert group.get("data-type") == etree.QName(each).localname
        if each.get("id").startswith(("textAnnotation", "group")):
            continue
        assert words(group).replace(" ", "") == each.get("name").replace(" ", "")


def test_each_event_and_task_has_a_symbol_of_its_own():
    drawn = groups(render.svg(picture(gallery())))
    for kind in ("startEvent", "intermediateCatchEvent", "endEvent", "boundaryEvent"):
        looks = [
            re.sub(rb"<(\w+:)?text.*?</(\w+:)?text>", b"", b"".join(map(etree.tostring, inner)))
            for inner in ([e for e in group if "cx" not in e.attrib] for group in drawn.values()
                          if group.get("data-type") == kind and words(group) != "goes beside")
        ]  # fmt: skip
        plain = [re.sub(rb"translate\([^)]*\)", b"", each) for each in looks]
        assert len(set(plain)) == len(plain), kind
    tasks = [g for g in drawn.values() if g.get("data-type").endswith("Task")]
    paths = [[p.get("d") for p in g.iter(f"{SVG}path")] for g in tasks]
    assert all(paths)


def test_what_does_not_interrupt_is_dashed_and_ends_are_bold():
    drawn = groups(render.svg(picture(gallery())))
    beside = [g for g in drawn.values() if words(g) == "goes beside"]
    assert len(beside) == 10
    for group in beside:
        assert all(c.get("stroke-dasharray") for c in group.findall(f"{SVG}circle"))
    ends = [g for g in drawn.values() if g.get("data-type") == "endEvent"]
    assert {g.find(f"{SVG}circle").get("stroke-width") for g in ends} == {"4"}
    call = next(g for g in drawn.values() if g.get("data-type") == "callActivity")
    assert float(call.find(f"{SVG}rect").get("stroke-width")) > 4


INTERCHANGE = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
 xmlns:n="http://www.omg.org/spec/BPMN/20100524/DI" xmlns:c="http://www.omg.org/spec/DD/20100524/DC"
 xmlns:d="http://www.omg.org/spec/DD/20100524/DI"><message id="m" name="Order"/>{semantics}
<n:BPMNDiagram><n:BPMNPlane bpmnElement="{plane}">{drawn}</n:BPMNPlane></n:BPMNDiagram>
</definitions>"""


def shape(element, x, y, wide, high, more=""):
    bounds = f'<c:Bounds x="{x}" y="{y}" width="{wide}" height="{high}"/>'
    return f'<n:BPMNShape bpmnElement="{element}" {more}>{bounds}</n:BPMNShape>'


def symbols_of(group):
    return [each.get("data-symbol") for each in group.iter(f"{SVG}g") if each.get("data-symbol")]


def test_an_open_call_shows_its_inside_and_a_call_of_a_global_task_its_icon():
    semantics = (
        '<process id="called"><task id="inner" name="Inner"/></process>'
        '<globalUserTask id="g"/><process id="p"><callActivity id="open" calledElement="called"/>'
        '<callActivity id="shut" calledElement="called"/>'
        '<callActivity id="task" calledElement="g"/></process>'
    )
    drawn = (
        shape("inner", 50, 50, 100, 80) + shape("open", 0, 0, 200, 200, 'isExpanded="true"')
        + shape("shut", 300, 0, 100, 80) + shape("task", 500, 0, 100, 80)
    )  # fmt: skip
    found = picture(INTERCHANGE.format(semantics=semantics, plane="p", drawn=drawn))
    drawn = groups(render.svg(found))
    assert list(drawn).index("open") < list(drawn).index("inner")
    assert [symbols_of(drawn[each]) for each in ("open", "shut", "task")] == [
        [], ["collapsed"], ["userTask"]
    ]  # fmt: skip
    assert "Inner" in "".join(text for line in terminal.text(found) for text, _ in line)


def test_messages_are_envelopes_on_their_flows_and_data_have_states():
    semantics = (
        '<collaboration id="c"><participant id="a"/><participant id="b"/>'
        '<messageFlow id="f" sourceRef="a" targetRef="b" messageRef="m"/>'
        '<messageFlow id="g" sourceRef="b" targetRef="a"/></collaboration><process id="p">'
        '<dataObjectReference id="d" name="Bill"><dataState name="paid"/></dataObjectReference>'
        "</process>"
    )
    line = '<d:waypoint x="20" y="60"/><d:waypoint x="20" y="200"/></n:BPMNEdge>'
    drawn = shape("a", 0, 0, 99, 60) + shape("b", 0, 200, 99, 60) + shape("d", 200, 0, 36, 50)
    drawn += f'<n:BPMNEdge bpmnElement="f" messageVisibleKind="initiating">{line}'
    drawn += f'<n:BPMNEdge bpmnElement="g" messageVisibleKind="non_initiating">{line}'
    drawn = groups(
        render.svg(picture(INTERCHANGE.format(semantics=semantics, plane="c", drawn=drawn)))
    )
    assert "message-initiating" in symbols_of(drawn["f"])
    assert "message-non_initiating" in symbols_of(drawn["g"])
    assert words(drawn["f"]) == "Order"
    assert words(drawn["d"]) == "Bill [paid]"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Internationalization", ["Internationalization"]),
        ("some_long_identifier", ["some_long_", "identifier"]),
        ("aCamelCaseIdentifier", ["aCamelCase", "Identifier"]),
        ("2" * 30, ["2" * 13, "2" * 13, "2222"]),
    ],
)
def test_words_are_broken_where_they_are_joined_or_made_smaller(text, lines):
    size = text_measurement.fitting(text, 92, 80)
    assert text_measurement.wrap(text, 92, size) == lines
    assert max(text_measurement.width(each, size) for each in lines) <= 92


def test_a_word_that_must_be_broken_has_a_hyphen():
    lines = text_measurement.wrap("Donaudampfschifffahrtsgesellschaft", 92)
    assert all(each.endswith("-") for each in lines[:-1])
    assert "".join(each.rstrip("-") for each in lines) == "Donaudampfschifffahrtsgesellschaft"


def test_default_and_conditional_flows_are_marked_at_their_start(diagram):
    body = '<startEvent id="s"/><task id="t" default="f1"/><endEvent id="e"/><endEvent id="f"/>'
    drawn = groups(render.svg(picture(diagram(body, "s>t t>e t>f?x"))))
    marks = {
        key: [each.get("data-symbol") for each in drawn[key].findall(f"{SVG}g")]
        for key in ("f0", "f1", "f2")
    }
    assert marks == {"f0": ["arrow"], "f1": ["arrow", "default-start"],
                     "f2": ["arrow", "conditional-start"]}  # fmt: skip


def test_labels_are_text_and_never_markup(diagram):
    name = '&lt;script&gt;alert("1")&lt;/script&gt; &amp; ]]&gt;'.replace('"', "&quot;")
    svg = render.svg(picture(diagram(f'<startEvent id="s" name="{name}"/>')))
    assert "script" not in {etree.QName(e).localname for e in etree.fromstring(svg).iter()}
    assert "<script" not in svg.decode()
    assert 'alert("1")' in words(etree.fromstring(svg)).replace(" ", "")


@pytest.mark.parametrize("value", ["nan", "inf", "1e12", "left", "-1e9"])
def test_wild_coordinates_are_refused(value):
    text = SHOWCASE.read_text().replace('x="152"', f'x="{value}"')
    with pytest.raises(BadData, match=r"test\.bpmn:\d+: x="):
        picture(text)


def test_colours_of_the_file_are_used_and_nothing_else_in_their_place():
    space = 'xmlns:bioc="http://bpmn.io/schema/bpmn/biocolor/1.0"'
    text = SHOWCASE.read_text().replace("<bpmn:definitions ", f"<bpmn:definitions {space} ")
    text = text.replace('bpmnElement="start"', 'bpmnElement="start" bioc:fill="#abcdef"')
    text = text.replace(
        'bpmnElement="deployed"', 'bpmnElement="deployed" bioc:fill="url(http://x)"'
    )
    svg = render.svg(picture(text)).decode()
    assert "#abcdef" in svg
    assert "http://x" not in svg


# -- automatic layout ----------------------------------------------------------------------


def overlapping(one, other):
    return (
        one.x < other.right and other.x < one.right
        and one.y < other.bottom and other.y < one.bottom
    )  # fmt: skip


def on_border(box, point, slack=0.6):
    inside = (
        box.x - slack <= point.x <= box.right + slack
        and box.y - slack <= point.y <= box.bottom + slack
    )
    left = min(abs(point.x - box.x), abs(point.x - box.right))
    return inside and min(left, abs(point.y - box.y), abs(point.y - box.bottom)) <= slack


def check_layout(found):
    places = boxes(found)
    flat = [s for s in found.shapes if s.element.tag.endswith(NODES)]
    for one, other in combinations(flat, 2):
        if "boundaryEvent" not in one.element.tag + other.element.tag:
            nested = one.element in other.element.iterancestors()
            nested = nested or other.element in one.element.iterancestors()
            assert nested or not overlapping(one.box, other.box)
    for edge in found.edges:
        if edge.element.tag.endswith("sequenceFlow"):
            assert on_border(places[edge.element.get("sourceRef")], edge.points[0])
            assert on_border(places[edge.element.get("targetRef")], edge.points[-1])
            for start, end in zip(edge.points, edge.points[1:], strict=False):
                assert abs(start.x - end.x) < 0.6 or abs(start.y - end.y) < 0.6


@settings(max_examples=60)
@given(
    kinds=st.lists(
        st.sampled_from(["task", "exclusiveGateway", "endEvent"]), min_size=1, max_size=12
    ),
    arrows=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=25),
)
def test_any_graph_is_laid_out_without_overlaps(kinds, arrows):
    body = "".join(f'<{kind} id="n{n}" name="node {n}"/>' for n, kind in enumerate(kinds))
    flows = [f"n{a % len(kinds)}>n{b % len(kinds)}" for a, b in arrows]
    found = picture(write(body, " ".join(flows)))
    assert len(found.edges) == len(flows)
    check_layout(found)
    assert render.svg(found) == render.svg(picture(write(body, " ".join(flows))))


def fan(count):
    nodes = "".join(f'<task id="t{each}"/>' for each in range(count))
    body = f'<startEvent id="s"/><parallelGateway id="g"/>{nodes}<parallelGateway id="j"/>'
    return body, "s>g " + " ".join(f"g>t{each} t{each}>j" for each in range(count))


def detours(count):
    body, flows, before = '<startEvent id="s"/>', "", "s"
    for each in range(count):
        body += f'<exclusiveGateway id="g{each}"/><task id="t{each}"/>'
        body += f'<exclusiveGateway id="j{each}"/>'
        flows += f"{before}>g{each} g{each}>t{each} t{each}>j{each} g{each}>j{each} "
        before = f"j{each}"
    return body, flows


@pytest.mark.parametrize("shape", [fan, detours])
def test_the_work_of_a_layout_grows_with_the_diagram_and_not_faster(shape):
    def calls(count):
        profile = cProfile.Profile()
        xml = write(*shape(count))
        profile.runcall(picture, xml)
        return pstats.Stats(profile).total_calls

    assert calls(400) < 5 * calls(100)


def test_flows_go_from_left_to_right(diagram):
    body = '<startEvent id="s"/><task id="a"/><task id="b"/><endEvent id="e"/>'
    places = boxes(picture(diagram(body, "s>a a>b b>e b>a")))
    assert places["s"].right < places["a"].x < places["b"].x < places["e"].x
    assert len({places[key].center.y for key in "sab"}) == 1


def test_subprocesses_hold_their_inside_and_guards_stand_on_their_border(diagram, arrows):
    inner = '<startEvent id="is"/><task id="it"/><endEvent id="ie"/>' + arrows("is>it it>ie", "i")
    body = f'<startEvent id="s"/><subProcess id="p1" name="In">{inner}</subProcess>'
    body += '<boundaryEvent id="g" attachedToRef="p1"><timerEventDefinition/></boundaryEvent>'
    found = picture(diagram(body + '<endEvent id="e"/><task id="late"/>', "s>p1 p1>e g>late"))
    check_layout(found)
    places = boxes(found)
    for key in ("is", "it", "ie"):
        assert places["p1"].x < places[key].x
        assert places[key].right < places["p1"].right
        assert places["p1"].y < places[key].y
        assert places[key].bottom < places["p1"].bottom
    assert places["g"].center.y == places["p1"].bottom


POOLS = """<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d">
<collaboration id="c"><participant id="A" name="Shop" processRef="p"/>
<participant id="B" name="Customer"/><messageFlow id="m" sourceRef="t1" targetRef="B"/>
</collaboration><process id="p"><laneSet id="ls">
<lane id="L1" name="Sales"><flowNodeRef>s</flowNodeRef><flowNodeRef>t1</flowNodeRef></lane>
<lane id="L2" name="Store"><flowNodeRef>t2</flowNodeRef></lane></laneSet>
<startEvent id="s"/><task id="t1"/><task id="t2"/><dataObjectReference id="data" name="List"/>
<textAnnotation id="note"><text>why</text></textAnnotation>
<association id="as" sourceRef="t2" targetRef="note"/>
<sequenceFlow id="f1" sourceRef="s" targetRef="t1"/>
<sequenceFlow id="f2" sourceRef="t1" targetRef="t2"/></process></definitions>"""


def test_pools_and_lanes_hold_their_nodes():
    found = picture(POOLS)
    places = boxes(found)
    for lane, node in (("L1", "s"), ("L1", "t1"), ("L2", "t2"), ("A", "L1"), ("A", "L2")):
        assert places[lane].y <= places[node].y
        assert places[node].bottom <= places[lane].bottom
        assert places[lane].x <= places[node].x
        assert places[node].right <= places[lane].right
    assert not overlapping(places["A"], places["B"])
    assert not overlapping(places["L1"], places["L2"])
    assert {each.element.get("id") for each in found.edges} == {"m", "as", "f1", "f2"}


def test_a_file_without_anything_to_draw_is_refused():
    with pytest.raises(BadData, match="nothing to draw"):
        picture('<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"/>')


# -- other outputs -------------------------------------------------------------------------


def test_the_legend_of_a_narrow_picture_is_on_the_page(diagram):
    root = etree.fromstring(render.svg(picture(diagram('<startEvent id="s"/>', "")), {}))
    left, _, width, _ = map(float, root.get("viewBox").split())
    (ended,) = (each for each in root.iter(f"{SVG}tspan") if each.text == "ended")
    middle = float(ended.get("x"))
    assert middle + text_measurement.width("ended", text_measurement.SMALL) / 2 < left + width


def test_the_png_is_twice_as_large_and_needs_no_installed_font():
    svg = render.svg(render.pictures(SHOWCASE)[0])
    png = render.png(svg)
    root = etree.fromstring(svg)
    assert png.startswith(b"\x89PNG")
    width = int.from_bytes(png[16:20], "big")
    assert abs(width - 2 * float(root.get("width"))) <= 2
    assert png == render.png(svg)


@pytest.mark.parametrize("letters", ["αβ", "ЖШ", "بس", "कख", "கச", "กค"])
def test_letters_of_other_scripts_are_no_boxes_in_a_png(letters):
    """Two letters that no font has look the same."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">'
    one, other = (
        render.png(f'{head}<text x="9" y="30" font-size="20">{each}</text></svg>'.encode())
        for each in letters
    )
    assert one != other


def test_the_text_shows_boxes_labels_and_arrows():
    lines = [
        "".join(part for part, _ in line) for line in terminal.text(render.pictures(SHOWCASE)[0])
    ]
    text = "\n".join(lines)
    for label in ("Fetch data", "Approved?", "Deploy model", "yes", "Rejected", "Fetch failed"):
        assert label in text
    assert {"▶", "▼", "╭", "◇✕◇"} <= {w for w in ("▶", "▼", "╭", "◇✕◇") if w in text}


def test_the_outline_lists_nodes_with_what_follows():
    lines = terminal.outline(render.pictures(SHOWCASE)[0], {})
    text = ["".join(part for part, _ in line) for line in lines]
    assert text[0] == "· Start → Fetch data"
    assert "· Approved? → yes: Deploy model → Rejected" in text


@settings(max_examples=150)
@given(data=st.data())
def test_a_damaged_file_is_drawn_or_refused_with_its_name(data):
    tree = etree.fromstring(data.draw(st.sampled_from([SHOWCASE.read_bytes(), POOLS.encode()])))
    for _ in range(data.draw(st.integers(1, 4))):
        element = data.draw(st.sampled_from(list(tree.iter())))
        action = data.draw(st.sampled_from(["remove", "attribute", "double", "rename"]))
        if element.getparent() is None:
            continue
        if action == "remove":
            element.getparent().remove(element)
        elif action == "double":
            element.append(etree.fromstring(etree.tostring(element)))
        elif action == "rename":
            element.tag = data.draw(st.sampled_from([each.tag for each in tree.iter()]))
        elif element.attrib:
            name = data.draw(st.sampled_from(sorted(element.attrib)))
            element.set(name, data.draw(st.sampled_from(["", "0", "-5", "x", "1e5", "true"])))
    try:
        for found in render.parse(etree.tostring(tree), "test.bpmn"):
            etree.fromstring(render.svg(found))
            terminal.text(found)
            terminal.outline(found, {})
    except BadData as error:
        refusal = error.message
    else:
        return
    assert refusal.startswith("test.bpmn")


def test_lines_of_a_label_have_no_white_space_between_them():
    """It would be measured, and move each line but the last aside."""
    root = etree.fromstring(render.svg(picture(gallery())))
    texts = list(root.iter(f"{SVG}text"))
    assert any(len(each) > 1 for each in texts)
    for each in texts:
        assert not each.text
        assert not any(line.tail for line in each)


def test_a_diagram_follows_light_and_dark():
    drawn = picture(gallery())
    paints = {
        theme: {
            each.get(paint)
            for each in etree.fromstring(render.svg(drawn, theme=theme)).iter()
            for paint in ("fill", "stroke")
        }
        for theme in ("light", "dark")
    }
    assert {INK, PAPER} <= paints["light"]
    assert not {INK, PAPER} & paints["dark"]
    style = etree.fromstring(render.svg(drawn)).find(f"{SVG}style")
    assert "prefers-color-scheme: dark" in style.text
    assert etree.fromstring(render.svg(drawn, theme="light")).find(f"{SVG}style") is None
