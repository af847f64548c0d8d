"""Read what data goes in and out: vendors' mappings, the standard's data associations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mlkit.bpmn.definition import nesting
from mlkit.bpmn.definition.parser import scripts, xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.expressions import Composite, Expression

Mappings = tuple[tuple[str, Expression], ...]
# Modelers write a property of this name where somebody draws a data input.
PLACEHOLDER = "__targetRef_placeholder"
_KINDS = {"input": "dataInputAssociation", "output": "dataOutputAssociation"}
_MAPPED = {f"{{{xml.BPMN}}}{name}" for name in ("extensionElements", *_KINDS.values())}
_HOLDERS = {
    "dataObject", "dataObjectReference", "property", "dataInput", "dataOutput", "inputDataItem",
    "outputDataItem",
}  # fmt: skip


def mappings(reader: Reader, element: Element, direction: str) -> Mappings:
    """Read the input or output mappings of a node; data stores are not among them."""
    if not any(each.tag in _MAPPED for each in element):
        return ()
    result: list[tuple[str, Expression | None]] = list(_zeebe(reader, element, direction))
    holder = xml.extension(element, "inputOutput")
    for each in [] if holder is None else holder:
        if xml.local(each) == f"{direction}Parameter":
            result.append((str(each.get("name")), _parameter(reader, each)))
    fields = xml.extensions(element, "field") if direction == "input" else []
    result += [(str(each.get("name")), _field(reader, each)) for each in fields]
    result += _associations(reader, element, direction)
    return tuple((name, value) for name, value in result if value is not None)


def _zeebe(reader: Reader, element: Element, direction: str) -> list[tuple[str, Expression]]:
    """Read the mappings of a zeebe file, whose targets may lie within objects."""
    found: list[tuple[str, Expression]] = []
    mapping = xml.extension(element, "ioMapping")
    for each in [] if mapping is None else mapping:
        if xml.local(each) != direction:
            continue
        target = str(each.get("target") or "")
        value = reader.value(str(each.get("source") or ""), each) or variable("", xml.line(each))
        if nesting.TARGET.fullmatch(target):
            found.append((target, value))
        else:
            reader.problem(
                "io.target", each, f"{target!r} is not the name of a variable or a part of it"
            )
    return nesting.group(found, merges=direction == "output")


def _parameter(reader: Reader, element: Element) -> Expression | None:
    """Read the value of a vendor's parameter: text, or a list, map or script inside it."""
    if not len(element):
        return _item(reader, element)
    inner = element[0]
    kind = xml.local(inner)
    if kind == "script":
        return _item(reader, inner)
    if kind not in ("list", "map") or len(element) > 1 or len(list(element.iterancestors())) > 100:
        reader.problem("io.nested", element, f"{element.get('name')!r}: no {kind} can be read here")
        return None
    parts = []
    for each in inner:
        value = _parameter(reader, each)
        if value is not None:
            parts.append((str(each.get("key")) if kind == "map" else None, value))
    return Composite(kind, kind, xml.line(element), tuple(parts))


def _field(reader: Reader, element: Element) -> Expression | None:
    """Read a field that a delegate gets: text or an expression, in an attribute or inside it."""
    written = element.get("stringValue") or element.get("expression")
    return reader.value(str(written or xml.text(element)), element)


def _item(reader: Reader, element: Element) -> Expression | None:
    """Read one value; an empty one is null."""
    if xml.local(element) == "script":
        source = scripts.source(reader, element)
        return None if source is None else reader.expression(source.strip(), element, "python")
    return reader.value(xml.text(element), element) or variable("", xml.line(element))


def variable(name: str, line: int = 0) -> Expression:
    """Return the expression that reads a variable; one that is not there is null."""
    return Expression(name, "name", line)


def names(root: Element) -> dict[str, str]:
    """Return the variable that each data object, property, data input or output stands for.

    All references to one data object stand for the same variable.
    """
    found = {
        str(each.get("id")): each
        for each in root.iter(*(f"{{{xml.BPMN}}}{kind}" for kind in _HOLDERS))
        if each.get("id")
    }
    variables = {name: _variable(each) for name, each in found.items()}
    for name, each in found.items():
        variables[name] = variables.get(str(each.get("dataObjectRef"))) or variables[name]
    return {name: each for name, each in variables.items() if each}


def stores(root: Element) -> dict[str, str]:
    """Return the name of the data store that each reference stands for; "" is drawn only."""
    declared = {str(each.get("id")): each for each in xml.children(root, "dataStore")}
    found = {}
    for each in root.iter(f"{{{xml.BPMN}}}dataStoreReference"):
        store = declared.get(str(each.get("dataStoreRef")).rpartition(":")[2])
        name = "" if store is None else _variable(store)
        found[str(each.get("id"))] = name or _variable(each)
    return found


def _variable(element: Element) -> str:
    name = str(element.get("name") or "")
    return name if name.isidentifier() and name != PLACEHOLDER else ""


def find_declared(reader: Reader, element: Element) -> tuple[str, ...]:
    """Return the names of the data objects and properties that belong to a sub-process."""
    kinds = ("dataObject", "dataObjectReference", "property")
    found = (str(each.get("id")) for kind in kinds for each in xml.children(element, kind))
    return tuple(dict.fromkeys(reader.data[each] for each in found if each in reader.data))


_TYPED: dict[str, Callable[[str], Any]] = {
    "int": int, "integer": int, "long": int, "short": int, "double": float, "float": float,
    "boolean": lambda text: text.lower() == "true",
}  # fmt: skip


def initial(reader: Reader, element: Element) -> dict[str, Any]:
    """Read the values that data objects begin with, as Activiti and Flowable write them."""
    found: dict[str, Any] = {}
    for each in xml.children(element, "dataObject"):
        value = xml.extension(each, "value")
        name = str(each.get("name") or each.get("id"))
        if value is None or not name.isidentifier():
            continue
        kind = str(each.get("itemSubjectRef") or "").rpartition(":")[2]
        try:
            found[name] = _TYPED.get(kind, str)(xml.text(value))
        except ValueError:
            reader.problem("data.value", each, f"{xml.text(value)!r} is not a {kind}")
    return found


def _associations(
    reader: Reader, element: Element, direction: str
) -> Iterator[tuple[str, Expression | None]]:
    for each in xml.children(element, _KINDS[direction]):
        whole = _sources(each) if direction == "output" else []
        if whole and whole[0] == _find_output(element):
            continue
        for target, value in _read_assignments(reader, each):
            name = reader.data.get(target, target)
            if name and target not in reader.stores:
                yield name, value


def _sources(association: Element) -> list[str]:
    return [xml.text(each) for each in xml.children(association, "sourceRef")]


def _find_output(element: Element) -> str | None:
    """Return the data output in which a multi-instance gathers what its iterations leave."""
    loop = xml.child(element, "multiInstanceLoopCharacteristics")
    found = None if loop is None else xml.text(xml.child(loop, "loopDataOutputRef"))
    return found or None


def _read_assignments(reader: Reader, each: Element) -> Iterator[tuple[str, Expression | None]]:
    """Return what an association sets: the id (or variable) that it leads to, and the value.

    A transformation makes the value, else it is that of the source; assignments set parts.
    """
    target = xml.text(xml.child(each, "targetRef"))
    sources = [reader.data.get(name) or reader.stores.get(name, "") for name in _sources(each)]
    assignments, change = xml.children(each, "assignment"), xml.child(each, "transformation")
    known = target in reader.data or reader.stores.get(target)
    if change is not None and known:
        yield target, reader.condition(change)
    for part in assignments:
        yield _assignment(reader, part)
    if change is None and not assignments:
        if len(sources) > 1:
            reader.problem("data.sources", each, "several sources need a transformation")
        elif known and sources and sources[0]:
            yield target, variable(sources[0], xml.line(each))
        elif not _by_name(each, known, sources):
            reader.warn("data.drawn", each, "drawn only: its data has no name of a variable")


def _by_name(each: Element, known: object, sources: list[str]) -> bool:
    """Return whether the data that is drawn has the name by which the activity knows it anyway."""
    inwards = xml.local(each) == _KINDS["input"]
    return bool(sources and sources[0] if inwards else known and not sources)


def _assignment(reader: Reader, element: Element) -> tuple[str, Expression | None]:
    source, target = xml.child(element, "from"), xml.text(xml.child(element, "to"))
    by_name = {name: key for key, name in reader.stores.items()}
    target = by_name.get(target, target)
    name = reader.stores.get(target) or reader.data.get(target, target)
    if source is None or not name.isidentifier():
        reader.problem("data.assignment", element, f"{name!r} is not the name of a variable")
        return "", None
    return target, reader.condition(source)


# -- data stores ---------------------------------------------------------------------------


def read_stores(reader: Reader, element: Element) -> dict[str, Mappings | tuple[str, ...]]:
    """Read which data stores an activity reads, and which it sets and how."""
    if not reader.stores:
        return {}
    return {"reads": tuple(_reads(reader, element)), "writes": tuple(_writes(reader, element))}


def _reads(reader: Reader, element: Element) -> Iterator[str]:
    loop = xml.child(element, "multiInstanceLoopCharacteristics")
    wanted = [] if loop is None else [xml.text(xml.child(loop, "loopDataInputRef"))]
    for each in xml.children(element, _KINDS["input"]):
        wanted += _sources(each)
    for name in dict.fromkeys(wanted):
        if reader.stores.get(name):
            yield reader.stores[name]


def _writes(reader: Reader, element: Element) -> Iterator[tuple[str, Expression]]:
    for each in xml.children(element, _KINDS["output"]):
        target, sources = xml.text(xml.child(each, "targetRef")), _sources(each)
        name = reader.stores.get(target, "")
        if name and sources and sources[0] == _find_output(element):
            message = "the results of all iterations go to a variable, not to a data store"
            reader.problem("data.store", each, message)
        elif name and not sources and not len(xml.children(each, "assignment")):
            change = xml.child(each, "transformation")
            value = variable(name, xml.line(each)) if change is None else reader.condition(change)
            yield from [(name, value)] if value is not None else ()
        else:
            for key, value in _read_assignments(reader, each):
                if reader.stores.get(key) and value is not None:
                    yield reader.stores[key], value


def refuse_stores(reader: Reader, event: Element) -> None:
    """Note that an event reads or sets a data store, which activities do only."""
    ends = [(each, _sources(each)) for each in xml.children(event, _KINDS["input"])]
    ends += [
        (each, [xml.text(xml.child(each, "targetRef"))])
        for each in xml.children(event, _KINDS["output"])
    ]
    for each, names in ends:
        if any(reader.stores.get(name) for name in names):
            reader.problem("data.store", each, "only activities read and set data stores")


# -- loops ---------------------------------------------------------------------------------


def collection(reader: Reader, loop: Element) -> Expression | None:
    """Read the list that a multi-instance goes through: data, or what an association makes."""
    wanted = xml.child(loop, "loopDataInputRef")
    activity = loop.getparent()
    for each in [] if activity is None else xml.children(activity, _KINDS["input"]):
        for target, value in _read_assignments(reader, each):
            if target == xml.text(wanted):
                return value
    source = xml.text(wanted)
    if wanted is not None and reader.camunda and ("{" in source or _is_free(reader, source)):
        return reader.value(source, wanted) if "{" in source else variable(source, xml.line(wanted))
    name = resolve_variable(reader, wanted)
    return None if name is None or wanted is None else variable(name, xml.line(wanted))


def _is_free(reader: Reader, name: str) -> bool:
    """Return whether a name is that of no element: then vendors mean the variable."""
    ids = {each.get("id") for each in reader.root.iter(f"{{{xml.BPMN}}}*")}
    return name.isidentifier() and name not in ids


def read_output_variable(reader: Reader, loop: Element) -> str | None:
    """Read the variable for the list of what the iterations of a multi-instance leave."""
    activity = loop.getparent()
    wanted = xml.child(loop, "loopDataOutputRef")
    for each in [] if activity is None else xml.children(activity, _KINDS["output"]):
        target = xml.text(xml.child(each, "targetRef"))
        if _sources(each) == [xml.text(wanted)] and target in reader.data:
            return reader.data[target]
    return resolve_variable(reader, wanted)


def resolve_variable(reader: Reader, element: Element | None) -> str | None:
    """Return the variable that a loop's data reference or data item stands for."""
    if element is None:
        return None
    wanted = xml.text(element)
    name = str(element.get("name") or "") or reader.data.get(wanted) or reader.stores.get(wanted)
    if not name:
        reader.problem("loop.data", element, f"{wanted!r} is not data with a name")
    return name or None
