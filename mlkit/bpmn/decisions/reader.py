"""Read DMN 1.1 to 1.6 into a `Model`: XML that may be hostile, with names that hold spaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from mlkit.bpmn.decisions import boxed
from mlkit.bpmn.decisions.model import (
    Decision,
    Element,
    Import,
    InputData,
    ItemDefinition,
    Knowledge,
    Model,
    Problem,
    Service,
    Variable,
)
from mlkit.bpmn.decisions.xml import (
    Node,
    attribute,
    child,
    children,
    is_dmn,
    line,
    local,
    parse,
    text_of,
    type_name,
)
from mlkit.errors import BadData


def read(content: bytes, path: Path) -> Model:
    """Return the model of a file's bytes.

    Raises:
        BadData: They are not a DMN document, or declare a DTD.
    """
    root = parse(content, str(path))
    problems: list[Problem] = []
    elements = tuple(_elements(root, problems))
    _check_ids(elements, path)
    return Model(
        name=attribute(root, "name"),
        namespace=attribute(root, "namespace"),
        path=path,
        elements=elements,
        types=tuple(_item_definition(each) for each in children(root, "itemDefinition")),
        imports=tuple(_import(each) for each in children(root, "import")),
        problems=tuple(problems),
    )


def _check_ids(elements: tuple[Element, ...], path: Path) -> None:
    seen: set[str] = set()
    for each in elements:
        if each.id in seen:
            raise BadData(f"{path}:{each.line}: the id {each.id!r} appears twice")
        seen.add(each.id)


def _elements(root: Node, problems: list[Problem]) -> Iterator[Element]:
    # Services of DMN 1.1 are extension elements.
    extensions = child(root, "extensionElements")
    inside = [] if extensions is None else children(extensions, "decisionService")
    for each in [*root, *inside]:
        make = _MAKERS.get(local(each)) if is_dmn(each) else None
        if make is not None:
            yield make(each, problems)


def _id(node: Node) -> str:
    """Return the id of an element; one without is known by its name."""
    return node.get("id") or attribute(node, "name")


def _variable(node: Node) -> Variable:
    name = attribute(node, "name")
    found = child(node, "variable")
    if found is None:
        return Variable(name)
    return Variable(attribute(found, "name") or name, type_ref(found))


def type_ref(node: Node) -> str:
    """Return the type that an element names; without its prefix."""
    found = attribute(node, "typeRef") or text_of(child(node, "typeRef"))
    return type_name(node, found)


def _references(node: Node, requirement: str, *required: str) -> tuple[str, ...]:
    found = []
    for each in children(node, requirement):
        for name in required:
            target = child(each, name)
            if target is not None:
                found.append(_reference(target))
    return tuple(found)


def _reference(node: Node) -> str:
    """Return a reference as `namespace#id`, or `#id` for one of the same file."""
    href = attribute(node, "href")
    return href if "#" in href else f"#{href}"


def _input_data(node: Node, problems: list[Problem]) -> InputData:
    return InputData(_id(node), _variable(node), line(node))


def _decision(node: Node, problems: list[Problem]) -> Decision:
    return Decision(
        id=_id(node),
        variable=_variable(node),
        logic=boxed.read_child(node, problems),
        requires=_references(node, "informationRequirement", "requiredInput", "requiredDecision"),
        knows=_references(node, "knowledgeRequirement", "requiredKnowledge"),
        line=line(node),
        version_tag=_version_tag(node),
    )


def _version_tag(node: Node) -> str:
    """Return the version of a decision, as Camunda 7 or 8 keeps it."""
    extensions = child(node, "extensionElements")
    inside = [] if extensions is None else [e for e in extensions if local(e) == "versionTag"]
    tags = [str(each.get("value") or "") for each in inside]
    tags += [str(value) for name, value in node.items() if str(name).endswith("}versionTag")]
    return next(iter(tags), "")


def _knowledge(node: Node, problems: list[Problem]) -> Knowledge:
    logic = child(node, "encapsulatedLogic")
    return Knowledge(
        id=_id(node),
        variable=_variable(node),
        function=None if logic is None else boxed.read_function(logic, problems),
        knows=_references(node, "knowledgeRequirement", "requiredKnowledge"),
        line=line(node),
    )


def _service(node: Node, problems: list[Problem]) -> Service:
    def targets(name: str) -> tuple[str, ...]:
        return tuple(_reference(each) for each in children(node, name))

    return Service(
        id=_id(node),
        variable=_variable(node),
        outputs=targets("outputDecision"),
        encapsulated=targets("encapsulatedDecision"),
        input_decisions=targets("inputDecision"),
        input_data=targets("inputData"),
        line=line(node),
    )


_MAKERS: dict[str, Callable[[Node, list[Problem]], Element]] = {
    "inputData": _input_data,
    "decision": _decision,
    "businessKnowledgeModel": _knowledge,
    "decisionService": _service,
}


def _item_definition(node: Node) -> ItemDefinition:
    return ItemDefinition(
        name=attribute(node, "name"),
        base=type_ref(node),
        components=tuple(_item_definition(each) for each in children(node, "itemComponent")),
        is_collection=attribute(node, "isCollection") in ("true", "1"),
        allowed=text_of(child(node, "allowedValues")),
        constraint=text_of(child(node, "typeConstraint")),
        is_function=child(node, "functionItem") is not None,
        line=line(node),
    )


def _import(node: Node) -> Import:
    name = attribute(node, "name")
    return Import(name, attribute(node, "namespace"), attribute(node, "locationURI"), line(node))
