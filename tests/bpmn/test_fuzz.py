"""Mutated files: each gives problems, a refusal, or a result, and never anything else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from bpmn.conftest import ROOTS, diagram
from bpmn.gallery import gallery, pools
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from mlkit.bpmn import render
from mlkit.bpmn.definition.parser import parse_text
from mlkit.bpmn.engine.events import Complete, Fail, Fire, Receive, Retry, Signal, Start
from mlkit.bpmn.lint.validation import lint
from mlkit.bpmn.render import terminal
from mlkit.bpmn.runtime.diagrams import engine_of
from mlkit.bpmn.runtime.documents import incidents, open_nodes, waiting
from mlkit.errors import BadData

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "bpmn").glob("*/*.bpmn"))
# One of everything that the parser reads: dialects, data, loops, forms, calls, events.
RICH = diagram(
    """<extensionElements/><laneSet id="ls"><lane id="l" name="team"><flowNodeRef>u</flowNodeRef>
</lane></laneSet><property id="pr" name="total"/><dataObject id="d" name="list"/>
<dataObjectReference id="dr" name="list" dataObjectRef="d"/>
<dataStoreReference id="ds" name="known"/>
<startEvent id="s"/><endEvent id="e"/><endEvent id="f"><errorEventDefinition errorRef="Bad"/>
</endEvent><endEvent id="t"><terminateEventDefinition/></endEvent>
<scriptTask id="w" scriptFormat="python" startQuantity="1"><extensionElements>
<camunda:failedJobRetryTimeCycle>R3/PT10S</camunda:failedJobRetryTimeCycle>
<camunda:inputOutput><camunda:inputParameter name="n">${1 + size(list)}</camunda:inputParameter>
<camunda:inputParameter name="m"><camunda:list><camunda:value>a</camunda:value></camunda:list>
</camunda:inputParameter></camunda:inputOutput></extensionElements>
<ioSpecification id="io"><dataInput id="di" name="i"/><dataOutput id="do" name="o"/>
<inputSet id="is"/><outputSet id="os"/></ioSpecification>
<dataInputAssociation id="a1"><sourceRef>ds</sourceRef><targetRef>di</targetRef>
<transformation language="python">known</transformation></dataInputAssociation>
<dataOutputAssociation id="a2"><sourceRef>do</sourceRef><targetRef>dr</targetRef>
</dataOutputAssociation><multiInstanceLoopCharacteristics isSequential="true" behavior="One"
 oneBehaviorEventRef="x"><loopDataInputRef>dr</loopDataInputRef><inputDataItem id="it" name="k"/>
<completionCondition>${nrOfCompletedInstances &gt; 1}</completionCondition>
</multiInstanceLoopCharacteristics><script>o = k</script></scriptTask>
<userTask id="u" camunda:assignee="${owner}" camunda:candidateGroups="a,b"><extensionElements>
<camunda:formData><camunda:formField id="ok" type="boolean" label="Fine?" defaultValue="true">
<camunda:validation><camunda:constraint name="required"/><camunda:constraint name="min" config="1"/>
</camunda:validation></camunda:formField><camunda:formField id="c" type="enum">
<camunda:value id="x" name="X"/></camunda:formField></camunda:formData></extensionElements>
</userTask>
<boundaryEvent id="b1" attachedToRef="u" cancelActivity="false"><timerEventDefinition id="td">
<timeCycle>R3/PT1H</timeCycle></timerEventDefinition></boundaryEvent>
<boundaryEvent id="b2" attachedToRef="w"><errorEventDefinition errorRef="Worse"/></boundaryEvent>
<subProcess id="sub"><startEvent id="ss"/><task id="st" isForCompensation="false">
<standardLoopCharacteristics loopMaximum="3" testBefore="true"><loopCondition>loopCounter &lt; 2
</loopCondition></standardLoopCharacteristics></task><endEvent id="se"/>
<sequenceFlow id="sf" sourceRef="ss" targetRef="st"/>
<sequenceFlow id="sg" sourceRef="st" targetRef="se"/>
<subProcess id="ev" triggeredByEvent="true"><startEvent id="es" isInterrupting="false">
<messageEventDefinition messageRef="Paid"/></startEvent></subProcess></subProcess>
<exclusiveGateway id="g" default="f4"/><inclusiveGateway id="ig"/><eventBasedGateway id="eg"/>
<intermediateCatchEvent id="c1"><signalEventDefinition signalRef="Stop"/></intermediateCatchEvent>
<receiveTask id="c2" messageRef="Paid"/><intermediateThrowEvent id="th">
<escalationEventDefinition escalationRef="Up"/></intermediateThrowEvent>
<callActivity id="ca" calledElement="q"><extensionElements>
<camunda:in source="total" target="t"/><camunda:out variables="all"/></extensionElements>
</callActivity><adHocSubProcess id="ah"><task id="at"/></adHocSubProcess>""",
    "s>w w>u u>g g>sub?ok g>ig sub>eg eg>c1 eg>c2 c1>e c2>th th>ca ca>ah ah>ig ig>e b1>t b2>f",
    ROOTS + '<escalationEventDefinition id="x" escalationRef="Up"/>',
).replace("</definitions>", '<process id="q" isExecutable="false"><startEvent id="qs"/></process>'
          "</definitions>")  # fmt: skip
SOURCES = [RICH.encode(), gallery().encode(), pools().encode()]
SOURCES += [each.read_bytes() for each in EXAMPLES]
VALUES = (
    "", "0", "-1", "x", "true", "false", "None", "1e999", "9" * 400, "p", "w", "g", "w#x",
    "Parallel", "${", "#{a.b}", "=1", "=for x in y return z", "${a[", "R-1/PT", "R/PT0S", "PT1S",
    "P1Y", "* * *", "{'a':", "__import__('os')", "a:b", "../../etc/passwd", "\u2028", "<",
    "(" * 200, "a" * 5000,
)  # fmt: skip


@st.composite
def documents(draw):
    """A file with some elements removed, doubled, moved or renamed, and some values replaced."""
    tree = etree.fromstring(draw(st.sampled_from(SOURCES)))
    for _ in range(draw(st.integers(1, 5))):
        _mutate(draw, tree)
    return etree.tostring(tree)


def _mutate(draw, tree):
    everything = list(tree.iter(etree.Element))
    element, other = (draw(st.sampled_from(everything)) for _ in "ab")
    action = draw(st.sampled_from(["remove", "double", "move", "rename", "text", "set", "set"]))
    if action == "set" and element.attrib:
        name = draw(st.sampled_from(sorted({*element.attrib, *other.attrib})))
        values = [*VALUES, *other.attrib.values()]
        element.set(name, draw(st.sampled_from(values)))
    elif action == "text":
        element.text = draw(st.sampled_from(VALUES))
    elif action == "rename":
        element.tag = other.tag
    elif element.getparent() is None or other is element or element in other.iterancestors():
        return
    elif action == "remove":
        element.getparent().remove(element)
    elif action == "move":
        other.append(element)
    elif action == "double":
        other.append(etree.fromstring(etree.tostring(element)))


@st.composite
def damaged(draw):
    """A file with some bytes changed, cut out, doubled or put in."""
    content = bytearray(draw(st.sampled_from(SOURCES)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        size = draw(st.integers(0, 60))
        new = draw(st.one_of(st.binary(max_size=8), st.just(bytes(content[at : at + size]) * 2)))
        content[at : at + size] = new
    return bytes(content)


def read(content: bytes, folder: Path) -> None:
    """Do with a file whatever commands do: lint, draw, and begin it where lint allows."""
    for each in render.parse(content, "test.bpmn"):
        etree.fromstring(render.svg(each))
        terminal.text(each)
        terminal.outline(each, {})
    definitions = parse_text(content, folder / "test.bpmn")
    problems = lint(definitions, folder)
    for each in problems:
        assert each.message
        assert each.element
        assert "\n" not in each.message
    if not any(each.severity == "error" for each in problems):
        play(definitions)


def play(definitions) -> None:
    """Let things happen; what does not fit is refused, and whatever is left can be described."""
    engine = engine_of(definitions)
    state = engine.create()
    engine.apply(state, Start({"owner": "ann", "list": [1, 2]}), 0.0)
    for turn in range(12):
        for each in list(state.activations.values()):
            for event in (Complete(each.id, {"ok": True}), Receive(each.id), Fail(each.id, "no"),
                          Fire(each.id))[turn % 4 :]:  # fmt: skip
                with suppress(BadData):
                    engine.apply(state, event, float(turn))
        for event in (Signal("stop"), Retry()):
            with suppress(BadData):
                engine.apply(state, event, float(turn))
    waiting("i", engine, state)
    incidents(engine, state)
    open_nodes(engine, state)


def check(content: bytes, folder: Path) -> None:
    with suppress(BadData):
        read(content, folder)


few = settings(max_examples=60, suppress_health_check=list(HealthCheck))
many = settings(max_examples=800, suppress_health_check=list(HealthCheck))
very_many = settings(max_examples=2500, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("source", range(len(SOURCES)))
def test_the_sources_themselves_are_read(tmp_path, source):
    folder = EXAMPLES[source - 3].parent if source >= 3 else tmp_path
    read(SOURCES[source], folder)


@few
@given(content=documents())
def test_a_mutated_tree(tmp_path_factory, content):
    check(content, tmp_path_factory.getbasetemp())


@few
@given(content=damaged())
def test_mutated_bytes(tmp_path_factory, content):
    check(content, tmp_path_factory.getbasetemp())


@pytest.mark.slow
@many
@given(content=documents())
def test_many_mutated_trees(tmp_path_factory, content):
    check(content, tmp_path_factory.getbasetemp())


@pytest.mark.slow
@many
@given(content=damaged())
def test_many_mutated_bytes(tmp_path_factory, content):
    check(content, tmp_path_factory.getbasetemp())


@pytest.mark.nightly
@very_many
@given(content=documents())
def test_very_many_mutated_trees(tmp_path_factory, content):
    check(content, tmp_path_factory.getbasetemp())


@pytest.mark.nightly
@very_many
@given(content=damaged())
def test_very_many_mutated_bytes(tmp_path_factory, content):
    check(content, tmp_path_factory.getbasetemp())
