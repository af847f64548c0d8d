"""Read loop and multi-instance markers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mlkit.bpmn.definition.model import BehaviorEvent, Loop, Repeat
from mlkit.bpmn.definition.parser import data, events, xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.expressions import Composite, Expression


def read(reader: Reader, element: Element) -> Loop | Repeat | None:
    """Read the loop or multi-instance marker of an activity."""
    standard = xml.child(element, "standardLoopCharacteristics")
    if standard is not None:
        return _standard(reader, standard)
    loop = xml.child(element, "multiInstanceLoopCharacteristics")
    if loop is None:
        return None
    return _multi_instance(reader, loop)


def _multi_instance(reader: Reader, loop: Element) -> Loop:
    zeebe = xml.extension(loop, "loopCharacteristics")
    cardinality = xml.child(loop, "loopCardinality")
    completion = xml.child(loop, "completionCondition")

    def read(vendor: str, other: str) -> str | None:
        found = xml.vendor(loop, vendor)
        if found is None and zeebe is not None and zeebe.get(other):
            found = str(zeebe.get(other))
        return found

    def standard(name: str) -> str | None:
        return data.resolve_variable(reader, xml.child(loop, name))

    listed = read("collection", "inputCollection")
    collection = reader.expression(listed, loop, plain="python") if listed else None
    if collection is None and xml.child(loop, "loopDataInputRef") is not None:
        collection = data.collection(reader, loop)
    output = read("outputElement", "outputElement") or standard("outputDataItem")
    result = Loop(
        sequential=loop.get("isSequential") == "true",
        cardinality=None if cardinality is None else reader.condition(cardinality),
        collection=collection,
        element=read("elementVariable", "inputElement") or standard("inputDataItem"),
        index=xml.vendor(loop, "elementIndexVariable"),
        completion=None if completion is None else reader.condition(completion),
        output_collection=read("outputCollection", "outputCollection")
        or data.read_output_variable(reader, loop),
        output_element=reader.expression(output, loop, plain="python") if output else None,
    )
    result = replace(result, behavior_events=tuple(_behavior_events(reader, loop)))
    aggregation = xml.extension(loop, "variableAggregation")
    if aggregation is not None:
        result = _read_aggregation(reader, result, aggregation)
    if zeebe is not None:
        result = replace(result, counts="numberOf", first=1)
    if result.cardinality is None and result.collection is None:
        reader.problem("loop.size", loop, "it has neither a collection nor a cardinality")
    return result


def _read_aggregation(reader: Reader, loop: Loop, aggregation: Element) -> Loop:
    """Read what Flowable gathers of each iteration: a list of objects, in a variable."""
    target = str(aggregation.get("target") or "")
    if (
        not target.isidentifier()
        or aggregation.get("class")
        or aggregation.get("delegateExpression")
    ):
        message = "an aggregation needs a target that is a variable, and calls no code"
        reader.problem("loop.aggregation", aggregation, message)
    parts: list[tuple[str | None, Expression]] = []
    own: list[str] = []
    for each in aggregation:
        source, name = str(each.get("source") or ""), str(each.get("target") or "")
        written = each.get("sourceExpression")
        value = reader.value(str(written), each) if written else data.variable(source)
        own += [source] if source else []
        if xml.local(each) == "variable" and value is not None:
            parts.append((name or source, value))
    output = Composite("map", "map", xml.line(aggregation), tuple(parts))
    return replace(loop, output_collection=target, output_element=output, own=tuple(own))


def _behavior_events(reader: Reader, loop: Element) -> Iterator[BehaviorEvent]:
    """Read what is thrown: for each iteration, for the first, or where a condition holds."""
    behavior = str(loop.get("behavior") or "All")
    if behavior in ("None", "One"):
        wanted = str(loop.get(f"{behavior.lower()}BehaviorEventRef") or "")
        event = events.read_declared(reader, wanted, loop)
        if event is not None:
            yield BehaviorEvent(event, first=behavior == "One")
    for each in xml.children(loop, "complexBehaviorDefinition") if behavior == "Complex" else ():
        condition, thrown = xml.child(each, "condition"), xml.child(each, "event")
        inside = None if thrown is None else events.event(reader, thrown)
        if condition is None or inside is None or inside.kind == "none":
            reader.problem("loop.behavior", each, "it needs a condition and an event to throw")
        else:
            yield BehaviorEvent(inside, condition=reader.condition(condition))


def _standard(reader: Reader, loop: Element) -> Repeat:
    condition = xml.child(loop, "loopCondition")
    maximum = str(loop.get("loopMaximum") or "")
    if maximum and not maximum.isdigit():
        reader.problem("loop.size", loop, f"loopMaximum {maximum!r} is not a number")
    if condition is None and not maximum:
        reader.problem("loop.size", loop, "neither a condition nor a maximum ends the loop")
    return Repeat(
        condition=None if condition is None else reader.condition(condition),
        before=loop.get("testBefore") == "true",
        maximum=int(maximum) if maximum.isdigit() else None,
    )
