"""The decision models that business rule tasks call: files beside the diagram."""

from __future__ import annotations

from mlkit.bpmn.decisions.call import MAPPINGS, DecisionCall
from mlkit.bpmn.decisions.load import Decisions
from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.errors import MlkitError


def read(reader: Reader, element: Element, decision: str, mapping: str) -> DecisionCall | None:
    """Return the call of a decision; None where no model beside the diagram has it."""
    if mapping and mapping not in MAPPINGS:
        message = f"mapDecisionResult {mapping!r}: one of {', '.join(MAPPINGS)}"
        reader.problem("task.decision", element, message)
        return None
    try:
        name = reader.library.decision(decision)
        if name is None:
            return None
        found = Decisions(reader.library.path.with_name(name), reader.library)
    except (MlkitError, ValueError, OSError) as error:
        reader.problem("task.decision", element, f"decision {decision!r}: {error}")
        return None
    for each in found.problems:
        if each.severity == "error":
            message = f"{name}:{each.line}: {each.where}: {each.message}"
            reader.problem("task.decision", element, message)
    return DecisionCall(decision, "decision", xml.line(element), found, mapping)
