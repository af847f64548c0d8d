"""Data (10.4): objects and properties and their scopes, associations, mappings on events."""

from __future__ import annotations

import pytest

from mlkit.bpmn.engine.events import Retry

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
SCRIPT = '<scriptTask id="w"><script>pass</script>{}</scriptTask>'


def test_a_data_object_of_a_sub_process_ends_with_it(play, arrows):
    inside = '<startEvent id="is"/>' + SCRIPT.format("") + arrows("is>w", "i")
    inside += '<dataObject id="o" name="draft"/>'
    done = play(ENDS + f'<subProcess id="p1">{inside}</subProcess>', "s>p1 p1>e",
                lambda *_: {"draft": 1, "final": 2}).start()  # fmt: skip
    assert done.variables == {"final": 2}


def test_a_data_object_inside_hides_one_of_its_name_outside(play, arrows):
    inside = '<startEvent id="is"/>' + SCRIPT.format("") + arrows("is>w", "i")
    inside += '<property id="o" name="x"/>'
    seen = []
    done = play(ENDS + f'<subProcess id="p1">{inside}</subProcess>', "s>p1 p1>e",
                lambda _, v: seen.append(v["x"]) or {"x": 5}).start(x=1)  # fmt: skip
    assert seen == [None]
    assert done.variables == {"x": 1}


IO = (
    '<ioSpecification><dataInput id="i1" name="n"/><dataOutput id="o1" name="answer"/>'
    "<inputSet/><outputSet/></ioSpecification>"
)
DATA = '<dataObject id="d1" name="total"/><dataObjectReference id="r1" name="total"/>'
RESULT = '<dataObjectReference id="r2" name="result"/>'


def test_associations_carry_data_in_and_out(play):
    inner = IO + (
        '<dataInputAssociation id="a1"><sourceRef>r1</sourceRef><targetRef>i1</targetRef>'
        '</dataInputAssociation><dataOutputAssociation id="a2"><sourceRef>o1</sourceRef>'
        "<targetRef>r2</targetRef></dataOutputAssociation>"
    )
    seen = []

    def answer(_, variables):
        seen.append(variables["n"])
        return {"answer": 7, "rest": 8}

    done = play(ENDS + DATA + RESULT + SCRIPT.format(inner), "s>w w>e", answer).start(total=3)
    assert seen == [3]
    assert done.variables == {"total": 3, "result": 7}


def test_assignments_and_transformations_compute_it(play):
    inner = IO + (
        '<dataInputAssociation id="a1"><targetRef>i1</targetRef><assignment><from>total * 2</from>'
        '<to>i1</to></assignment></dataInputAssociation><dataOutputAssociation id="a2">'
        "<sourceRef>o1</sourceRef><targetRef>r2</targetRef><transformation>${answer + 1}"
        "</transformation></dataOutputAssociation>"
    )
    seen = []
    done = play(ENDS + DATA + RESULT + SCRIPT.format(inner), "s>w w>e",
                lambda _, v: seen.append(v["n"]) or {"answer": 7}).start(total=3)  # fmt: skip
    assert seen == [6]
    assert done.variables == {"total": 3, "result": 8}


def test_a_multi_instance_takes_its_items_from_a_data_object(play):
    loop = (
        "<multiInstanceLoopCharacteristics><loopDataInputRef>r1</loopDataInputRef>"
        "<loopDataOutputRef>r2</loopDataOutputRef>"
        '<inputDataItem id="in" name="each"/><outputDataItem id="out" name="answer"/>'
        "</multiInstanceLoopCharacteristics>"
    )
    done = play(ENDS + DATA + RESULT + SCRIPT.format(loop), "s>w w>e",
                lambda _, v: {"answer": v["each"] * 10}).start(total=[1, 2])  # fmt: skip
    assert done.variables == {"total": [1, 2], "result": [10, 20]}


def test_a_multi_instance_goes_through_what_an_association_gives_and_gathers_into_another(play):
    loop = IO + (
        '<dataInputAssociation id="a1"><sourceRef>r1</sourceRef><targetRef>i1</targetRef>'
        '</dataInputAssociation><dataOutputAssociation id="a2"><sourceRef>o1</sourceRef>'
        "<targetRef>r2</targetRef></dataOutputAssociation>"
        "<multiInstanceLoopCharacteristics><loopDataInputRef>i1</loopDataInputRef>"
        "<loopDataOutputRef>o1</loopDataOutputRef>"
        '<inputDataItem id="in" name="each"/><outputDataItem id="out" name="twice"/>'
        "</multiInstanceLoopCharacteristics>"
    )
    done = play(ENDS + DATA + RESULT + SCRIPT.format(loop), "s>w w>e",
                lambda _, v: {"twice": v["each"] * 2}).start(total=[1, 2])  # fmt: skip
    assert done.variables == {"total": [1, 2], "result": [2, 4]}


def test_references_to_one_data_object_are_one_variable(play):
    data = '<dataObject id="d" name="total"/><dataObjectReference id="r1" name="Total, draft"'
    data += ' dataObjectRef="d"/><dataObjectReference id="r2" name="other" dataObjectRef="d"/>'
    inner = IO + (
        '<dataInputAssociation id="a1"><sourceRef>r1</sourceRef><targetRef>i1</targetRef>'
        '</dataInputAssociation><dataOutputAssociation id="a2"><sourceRef>o1</sourceRef>'
        "<targetRef>r2</targetRef></dataOutputAssociation>"
    )
    done = play(ENDS + data + SCRIPT.format(inner), "s>w w>e",
                lambda _, v: {"answer": v["n"] + 1}).start(total=1)  # fmt: skip
    assert done.variables == {"total": 2}


def test_a_transformation_takes_several_sources(play):
    inner = IO + (
        '<dataInputAssociation id="a1"><sourceRef>r1</sourceRef><sourceRef>r2</sourceRef>'
        "<targetRef>i1</targetRef><transformation>total + result</transformation>"
        "</dataInputAssociation>"
    )
    seen = []
    play(ENDS + DATA + RESULT + SCRIPT.format(inner), "s>w w>e",
         lambda _, v: seen.append(v["n"]) or {}).start(total=3, result=4)  # fmt: skip
    assert seen == [7]


def test_drawn_data_of_a_name_needs_no_warning(problems, diagram):
    drawn = (
        '<property id="t" name="__targetRef_placeholder"/><dataInputAssociation id="i">'
        "<sourceRef>r1</sourceRef><targetRef>t</targetRef></dataInputAssociation>"
        '<dataOutputAssociation id="o"><targetRef>r2</targetRef></dataOutputAssociation>'
    )
    assert problems(diagram(ENDS + DATA + RESULT + SCRIPT.format(drawn), "s>w w>e", "")) == []
    unnamed = DATA.replace('name="total"', 'name="The total"')
    found = problems(diagram(ENDS + unnamed + RESULT + SCRIPT.format(drawn), "s>w w>e", ""))
    assert found == ["data.drawn i"]


PARAMETERS = """<extensionElements><camunda:inputOutput>
<camunda:inputParameter name="urls"><camunda:list><camunda:value>${base}/a</camunda:value>
<camunda:value>b</camunda:value><camunda:value/></camunda:list></camunda:inputParameter>
<camunda:inputParameter name="options"><camunda:map><camunda:entry key="size">${n + 1}
</camunda:entry><camunda:entry key="tags"><camunda:list><camunda:value>x</camunda:value>
</camunda:list></camunda:entry></camunda:map></camunda:inputParameter>
<camunda:inputParameter name="twice"><camunda:script scriptFormat="python">n * 2
</camunda:script></camunda:inputParameter><camunda:inputParameter name="nothing"/>
</camunda:inputOutput></extensionElements>"""


def test_camunda_parameters_may_be_lists_maps_and_scripts(play):
    seen = {}
    play(ENDS + SCRIPT.format(PARAMETERS), "s>w w>e",
         lambda _, v: seen.update(v) or {}).start(base="http://h", n=2, nothing=1)  # fmt: skip
    assert seen["urls"] == ["http://h/a", "b", None]
    assert seen["options"] == {"size": 3, "tags": ["x"]}
    assert (seen["twice"], seen["nothing"]) == (4, None)


@pytest.mark.parametrize(
    ("inside", "rule"),
    [
        ('<camunda:script scriptFormat="groovy">1</camunda:script>', "expression.language"),
        ('<camunda:script resource="a.py"/>', "script.resource"),
        ("<camunda:list><camunda:value>${</camunda:value></camunda:list>", "expression.broken"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_a_problem(problems, diagram, inside, rule):
    inner = mapped("input", "x", inside)
    found = problems(diagram(ENDS + SCRIPT.format(inner), "s>w w>e"))
    assert any(each.startswith(rule) for each in found)


MESSAGE = '<messageEventDefinition messageRef="Paid"/>'


def mapped(direction: str, name: str, value: str) -> str:
    return (
        f'<extensionElements><camunda:inputOutput><camunda:{direction}Parameter name="{name}">'
        f"{value}</camunda:{direction}Parameter></camunda:inputOutput></extensionElements>"
    )


@pytest.mark.parametrize("kind", ["catch", "boundary"])
def test_an_event_takes_what_it_maps_of_a_message(play, kind):
    inner = mapped("output", "sum", "${amount + 1}") + MESSAGE
    if kind == "catch":
        body = ENDS + f'<intermediateCatchEvent id="c">{inner}</intermediateCatchEvent>'
        done = play(body, "s>c c>e").start()
    else:
        body = ENDS + f'<userTask id="u"/><boundaryEvent id="c" attachedToRef="u">{inner}'
        done = play(body + "</boundaryEvent>", "s>u u>e c>e").start()
    done.receive("c", amount=4, secret=1)
    assert done.variables == {"sum": 5}
    assert done.state.status == "completed"


def test_a_message_that_the_mapping_refuses_is_kept_for_a_retry(play):
    inner = mapped("output", "sum", "${amount + 1}") + MESSAGE
    body = ENDS + f'<intermediateCatchEvent id="c">{inner}</intermediateCatchEvent>'
    done = play(body, "s>c c>e").start()
    done.receive("c", other=1)
    assert done.state.effective_status == "incident"
    assert done.variables == {}
    done.state.roots()[0].variables["amount"] = 2
    done.apply(Retry())
    assert done.variables["sum"] == 3
    assert done.state.status == "completed"


def test_a_sent_message_carries_what_its_event_maps(play):
    inner = mapped("input", "total", "${n * 2}") + MESSAGE
    body = f'<startEvent id="s"/><endEvent id="e">{inner}</endEvent>'
    done = play(body, "s>e").start(n=2)
    assert [(each.name, each.variables) for each in done.sent] == [("paid", {"total": 4})]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("text", ["=x + 1", "=floor(x)", "=x > 1", "${x + 1}", "${x > 1}"])
def test_values_beyond_numbers_never_raise_out_of_the_engine(play, value, text):
    from mlkit.workers.child.values import pack

    text = text.replace(">", "&gt;")
    body = '<startEvent id="s"/><endEvent id="e"/><scriptTask id="t"><extensionElements>'
    body += (
        f"<zeebe:script expression='{text}' resultVariable='r'/></extensionElements></scriptTask>"
    )
    done = play(body, "s>t t>e").start(x=pack(value))
    assert done.state.effective_status in ("completed", "incident")
