"""What is beside the flow: refused where it would change a run, else a warning."""

from __future__ import annotations

from collections.abc import Iterator

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element

SUB_PROCESSES = ("subProcess", "transaction", "adHocSubProcess")

_REFUSED = {
    "connector", "executionListeners", "taskListeners",
    "eventType",
}  # fmt: skip
# Vendor attributes that say how a run goes, and that nothing here does.
_REFUSED_ATTRIBUTES = {
    "variableMappingClass", "variableMappingDelegateExpression", "endDate", "caseRef",
    "triggerable", "useLocalScopeForResultVariable", "taskIdVariableName", "calledElementType",
    "processInstanceIdVariableName", "messageExpression", "signalExpression", "errorVariableName",
    "errorVariableLocalScope", "errorVariableTransient", "storeResultVariableAsTransient",
    "eventType", "isAsyncLeave",
}  # fmt: skip
_READ = {
    "formData", "formProperty", "inputOutput", "failedJobRetryTimeCycle", "taskDefinition",
    "ioMapping", "assignmentDefinition", "taskSchedule", "priorityDefinition", "formDefinition",
    "userTaskForm", "subscription", "loopCharacteristics", "script", "userTask", "in", "out",
    "calledElement", "calledDecision", "adHoc", "field", "taskHeaders", "value",
    "mapException", "variableAggregation", "executionListener", "taskListener",
    "errorEventDefinition", "versionTag", "properties", "property",
}  # fmt: skip
_READ_ATTRIBUTES = {
    "assignee", "candidateUsers", "candidateGroups", "dueDate", "priority", "formKey", "formRef",
    "resource", "resultVariable", "resultVariableName", "collection", "elementVariable",
    "outputCollection", "outputElement", "errorCodeVariable", "errorMessageVariable",
    "escalationCodeVariable", "class", "delegateExpression", "expression", "topic", "type",
    "retry", "timeZone", "timezone", "misfire", "overlap", "terminateAll", "skipExpression",
    "terminateMultiInstance",
    "errorMessage", "decisionRef", "mapDecisionResult", "decisionRefBinding",
    "decisionRefVersion", "decisionRefVersionTag", "decisionRefTenantId", "script", "initiator",
    "inheritVariables", "taskPriority", "attach", "tags", "secret",
    # True of every task here, or of no consequence for a single engine.
    "asyncBefore", "asyncAfter", "async", "exclusive", "historyTimeToLive", "versionTag",
    "isStartableInTasklist", "modelerTemplate", "modelerTemplateVersion",
    "modelerTemplateIcon", "formRefBinding",
}  # fmt: skip


MOST_NAMED = 8
_NOT_RUN = (
    "choreography", "globalChoreographyTask", "globalConversation", "conversation",
    "subConversation", "callConversation",
)  # fmt: skip
_PLACES = (f"{{{xml.BPMN}}}process", *(f"{{{xml.BPMN}}}{each}" for each in SUB_PROCESSES))


def check(reader: Reader, root: Element) -> None:
    """Note what a run would not do as it is drawn: what changes nothing, in one warning."""
    ignored: list[str] = []
    for each in root.iter(*(f"{{{xml.BPMN}}}{kind}" for kind in _NOT_RUN)):
        reader.problem("element.unsupported", each, f"a {xml.local(each)} cannot be run")
    for place in root.iter(*_PLACES):
        for each in place:
            if not xml.is_bpmn(each):
                message = f"{xml.local(each)} is no element of BPMN: it is not looked at"
                reader.warn("element.foreign", each, message)
    for element in root.iter(f"{{{xml.BPMN}}}*"):
        kind = xml.local(element)
        if kind == "extensionElements":
            ignored += _extensions(reader, element)
        ignored += _attributes(reader, element)
    if ignored:
        names = sorted(set(ignored))
        listed = ", ".join(names[:MOST_NAMED]) + (" and others" if len(names) > MOST_NAMED else "")
        message = f"without consequence here ({len(ignored)} places): {listed}"
        reader.warn("vendor.ignored", root, message)


def _extensions(reader: Reader, element: Element) -> Iterator[str]:
    parent = element.getparent()
    owner = element if parent is None else parent
    for each in element:
        name = xml.local(each)
        if name in _REFUSED:
            reader.problem("extension.unsupported", owner, f"{name} is not supported")
        elif name not in _READ:
            yield name


def _attributes(reader: Reader, element: Element) -> Iterator[str]:
    for key in element.keys():  # noqa: SIM118 - an element is no dict
        space, _, name = str(key)[1:].partition("}")
        if name in _REFUSED_ATTRIBUTES and space in xml.VENDORS:
            reader.problem("attribute.unsupported", element, f"{name} is not supported")
        elif name and space in xml.VENDORS and name not in _READ_ATTRIBUTES:
            yield name
