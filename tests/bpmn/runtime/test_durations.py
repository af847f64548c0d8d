"""Where the time of the instances of a version goes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from bpmn.conftest import arrows, diagram

from mlkit.bpmn.definition.parser import parse_text
from mlkit.bpmn.engine.events import Hop
from mlkit.bpmn.render.heat import HEAT, heat
from mlkit.bpmn.runtime.diagrams import engine_of
from mlkit.bpmn.runtime.durations import durations

LOOP = (
    "<multiInstanceLoopCharacteristics><loopCardinality>2</loopCardinality>"
    "</multiInstanceLoopCharacteristics>"
)
XML = diagram(
    '<startEvent id="s"/><endEvent id="e"/><exclusiveGateway id="g"/>'
    '<userTask id="u" name="Approve"/>'
    f'<scriptTask id="many" scriptFormat="python">{LOOP}<script>x = 1</script></scriptTask>'
    '<subProcess id="sub"><startEvent id="i"/><callActivity id="c" calledElement="p"/>'
    + arrows("i>c", "i") + "</subProcess>",
    "s>u u>g g>many many>sub sub>e",
)  # fmt: skip


def passed(element: str, began: float, at: float, event: str = "completed", iteration: str = ""):
    return at, Hop(element, event, iteration, 1, began)


def found(hops):
    engine = engine_of(parse_text(XML.encode(), Path("p.bpmn")))
    journal = SimpleNamespace(
        index=SimpleNamespace(search=lambda criteria, before, limit: [SimpleNamespace(number=1)]),
        traces=lambda numbers, most: iter(hops),
    )
    return durations(journal, engine, SimpleNamespace(process="p", definition="d"))


def test_activities_count_once_and_what_contains_them_does_not():
    hops = [
        *(passed("u", 100.0, 100.0 + seconds) for seconds in range(1, 11)),
        passed("u", 100.0, 900.0, event="terminated"),
        passed("u", 0.0, 900.0),  # Older journals do not know when it began.
        passed("s", 1.0, 1.0), passed("g", 1.0, 1.0),
        passed("many", 5.0, 15.0, iteration="0"), passed("many", 5.0, 25.0, iteration="1"),
        passed("many", 5.0, 25.0),
        passed("c", 30.0, 45.0), passed("sub", 30.0, 45.0),
        passed("gone", 0.5, 99.0),
    ]  # fmt: skip
    shown = [tuple(each) for each in found(hops)]
    assert shown == [
        ("u", "Approve", 10, 5.5, 9.0, 0.55),
        ("many", "many", 2, 15.0, 20.0, 0.3),
        ("c", "c", 1, 15.0, 15.0, 0.15),
    ]


def test_nothing_has_completed():
    assert found([]) == []
    assert [each.share for each in found([passed("u", 5.0, 4.0)])] == [0.0]


@pytest.mark.parametrize(
    ("share", "level"), [(0.0, 0), (0.05, 0), (0.06, 1), (0.2, 1), (0.5, 2), (0.51, 3), (1.0, 3)]
)
def test_the_hotter_the_larger_the_share(share, level):
    spent = SimpleNamespace(element="u", share=share, completions=3, median=90.0)
    each = heat([spent])["u"]
    assert (each.state, each.text) == (list(HEAT)[level], "90.0 s")
