"""Read what data goes in and out: vendors' mappings, the standard's data associations."""

from __future__ import annotations

from collections.abc import Iterator

from mlkit.bpmn.expressions import Expression
from mlkit.bpmn.parser import xml
from mlkit.bpmn.parser.reader import Reader
from mlkit.bpmn.parser.xml import Element

# Modelers write a property of this name where somebody draws a data input.
PLACEHOLDER = "__targetRef_placeholder"
_MAPPED = {
    f"{{{xml.BPMN}}}{name}"
    for name in ("extensionElements", "dataInputAssociation", "dataOutputAssociation")
}
_HOLDERS = {
    "dataObject", "dataObjectReference", "property", "dataInput", "dataOutput", "inputDataItem",
    "outputDataItem",
}  # fmt: skip


def mappings(
    reader: Reader, element: Element, direction: str
) -> tuple[tuple[str, Expression], ...]:
    """Read the input or output mappings of a node."""
    if not any(each.tag in _MAPPED for each in element):
        return ()
    result: list[tuple[str, Expression | None]] = []
    mapping = xml.extension(element, "ioMapping")
    for each in [] if mapping is None else mapping:
        if xml.local(each) == direction:
            value = reader.value(str(each.get("source") or ""), each)
            result.append((str(each.get("target")), value))
    holder = xml.extension(element, "inputOutput")
    for each in [] if holder is None else holder:
        if xml.local(each) == f"{direction}Parameter":
            if len(each):
                reader.problem(
                    "io.nested", element, f"{each.get('name')!r}: only text is supported"
                )
                continue
            result.append((str(each.get("name")), reader.value(xml.text(each), each)))
    result += _associations(reader, element, direction)
    return tuple((name, value) for name, value in result if value is not None)


def variable(name: str, line: int = 0) -> Expression:
    """Give the expression that reads a variable; one that is not there is null."""
    return Expression(name, "name", line)


def names(root: Element) -> dict[str, str]:
    """Give the variable that each data object, property, data input or output stands for."""
    return {
        str(each.get("id")): str(each.get("name"))
        for each in root.iter(*(f"{{{xml.BPMN}}}{kind}" for kind in _HOLDERS))
        if each.get("id") and str(each.get("name") or "").isidentifier()
        and each.get("name") != PLACEHOLDER
    }  # fmt: skip


def declared(element: Element) -> tuple[str, ...]:
    """Give the names of the data objects and properties that belong to a sub-process."""
    kinds = ("dataObject", "dataObjectReference", "property")
    found = (each.get("name") for kind in kinds for each in xml.children(element, kind))
    return tuple(str(each) for each in found if each and each.isidentifier())


def referred(reader: Reader, element: Element | None) -> str | None:
    """Give the variable that a loop's data reference or data item stands for."""
    if element is None:
        return None
    name = str(element.get("name") or "") or reader.data.get(xml.text(element), "")
    if not name:
        reader.problem("loop.data", element, f"{xml.text(element)!r} is no data with a name")
    return name or None


def _associations(
    reader: Reader, element: Element, direction: str
) -> Iterator[tuple[str, Expression | None]]:
    kind = "dataInputAssociation" if direction == "input" else "dataOutputAssociation"
    for each in xml.children(element, kind):
        target = reader.data.get(xml.text(xml.child(each, "targetRef")))
        source = reader.data.get(xml.text(xml.child(each, "sourceRef")))
        assignments = xml.children(each, "assignment")
        change = xml.child(each, "transformation")
        if assignments:
            yield from (_assignment(reader, part) for part in assignments)
        elif change is not None and target:
            yield target, reader.condition(change)
        elif target and source:
            yield target, variable(source, xml.line(each))
        else:
            reader.warn("data.drawn", each, "the data flow is drawn only: variables carry data")


def _assignment(reader: Reader, element: Element) -> tuple[str, Expression | None]:
    source, target = xml.child(element, "from"), xml.text(xml.child(element, "to"))
    target = reader.data.get(target, target)
    if source is None or not target.isidentifier():
        reader.problem("data.assignment", element, f"{target!r} is no name of a variable")
        return target, None
    return target, reader.condition(source)
