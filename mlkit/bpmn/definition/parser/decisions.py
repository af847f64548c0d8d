"""The decision models that business rule tasks call: files beside the diagram."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlkit.bpmn.decisions.call import MAPPINGS, VARIABLES, DecisionCall
from mlkit.bpmn.decisions.load import Decisions
from mlkit.bpmn.definition.model import Callable, Computed
from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.errors import MlkitError

# Without versions, the newest model and the one that was deployed with the diagram are the file
# beside it.
_BINDINGS = ("", "latest", "deployment", "versionTag")
_FIELD = "decisionTableReferenceKey"


def read(
    reader: Reader, element: Element, decision: str, mapping: str, unmet: str = "", tag: str = ""
) -> DecisionCall | None:
    """Return the call of a decision; None where no model beside the diagram has it.

    Args:
        reader: The file.
        element: The task.
        decision: The id.
        mapping: How the result is mapped.
        unmet: What the task asks of the model that cannot be honoured.
        tag: The version tag that it asks for.
    """
    if mapping and mapping not in (*MAPPINGS, VARIABLES):
        message = f"mapDecisionResult {mapping!r}: one of {', '.join(MAPPINGS)}"
        reader.problem("task.decision", element, message)
        return None
    try:
        name = reader.library.decision(decision, tag)
        if name is None:
            if tag:
                message = f"decision {decision!r}: no model has it with the version tag {tag!r}"
                reader.problem("task.decision", element, message)
            return None
        if unmet:
            message = f"decision {decision!r}: {unmet}; {name} beside the diagram has no versions"
            reader.problem("task.decision", element, message)
        found = Decisions(reader.library.path.with_name(name), reader.library)
    except (MlkitError, ValueError, OSError) as error:
        reader.problem("task.decision", element, f"decision {decision!r}: {error}")
        return None
    for each in found.problems:
        if each.severity == "error":
            message = f"{name}:{each.line}: {each.where}: {each.message}"
            reader.problem("task.decision", element, message)
    return DecisionCall(decision, "decision", xml.line(element), found, mapping)


def binding(element: Element) -> str:
    """Return what a task asks of the version or tenant of its decision, if no file can be that."""
    zeebe = xml.extension(element, "calledDecision")
    asked = {
        "binding": xml.vendor(element, "decisionRefBinding"),
        "version": xml.vendor(element, "decisionRefVersion"),
        "tenant": xml.vendor(element, "decisionRefTenantId"),
    }
    if zeebe is not None:
        asked = {"binding": zeebe.get("bindingType")}
    unmet = (
        f"the {kind} {value!r} cannot be honoured"
        for kind, value in asked.items()
        if value and (kind != "binding" or value not in _BINDINGS)
    )
    return next(unmet, "")


def version_tag(element: Element) -> str:
    """Return the version tag that a task asks for."""
    zeebe = xml.extension(element, "calledDecision")
    if zeebe is not None:
        return str(zeebe.get("versionTag") or "")
    return xml.vendor(element, "decisionRefVersionTag") or ""


def flowable(reader: Reader, element: Element) -> dict[str, Any]:
    """Read the fields of a Flowable DMN task: each output becomes a variable of its own.

    Results of several rules are one variable with the id of the decision.
    """
    written = {str(each.get("name")): _constant(each) for each in xml.extensions(element, "field")}
    decision = written.get(_FIELD, "")
    if not decision or "${" in decision or "#{" in decision:
        message = f"the field {_FIELD!r} is computed" if decision else f"no field {_FIELD!r}"
        reader.problem("task.decision", element, f"{message}: expected the id of a decision")
        return {}
    call = read(reader, element, decision, VARIABLES)
    if call is None:
        return {"work": Callable(decision, None, decision=True)}
    must_match = written.get("decisionTaskThrowErrorOnNoHits", "").lower() == "true"
    return {"work": Computed(replace(call, must_match=must_match), spreads=True)}


def _constant(field: Element) -> str:
    """Return the text of a field: in an attribute or inside it."""
    written = field.get("stringValue") or field.get("expression") or ""
    return str(written).strip() or "".join(map(str, field.itertext())).strip()
