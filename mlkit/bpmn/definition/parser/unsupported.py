"""What is beside the flow: refused where it would change a run, else a warning."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlkit.bpmn.definition.parser import scripts, xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element

SUB_PROCESSES = ("subProcess", "transaction", "adHocSubProcess")

_REFUSED = {
    "connector", "executionListeners", "taskListeners",
    "eventType", "variableListenerEventDefinition", "eventListener", "conditionalFilter",
    "externalWorkerInParameter", "externalWorkerOutParameter",
}  # fmt: skip
# What the attributes below may have without effect, in lower case.
_HARMLESS = ("", "false", "global")
# Vendor attributes that define how a run goes, and that nothing here does.
_REFUSED_ATTRIBUTES = {
    "variableMappingClass", "variableMappingDelegateExpression", "endDate", "caseRef",
    "triggerable", "useLocalScopeForResultVariable", "taskIdVariableName", "calledElementType",
    "processInstanceIdVariableName", "messageExpression", "signalExpression", "errorVariableName",
    "errorVariableLocalScope", "errorVariableTransient", "storeResultVariableAsTransient",
    "eventType", "isAsyncLeave", "businessCalendarName", "taskCompleterVariableName",
    "useLocalScopeForOutParameters", "scope", "formHandlerClass", "variableEvents",
}  # fmt: skip
# A name of a variable: no field, and nothing in quotation marks.
_NAME = re.compile(r"""'[^']*'|"[^"]*"|(?<![\w.])([^\W\d]\w*)""")
_WORDS = {"true", "false", "null", "and", "or", "not", "empty", "eq", "ne", "lt", "gt", "le", "ge"}
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
    "inheritVariables", "elementIndexVariable", "taskPriority", "attach", "tags", "secret",
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
                message = f"{xml.local(each)} is not an element of BPMN: it is ignored"
                reader.warn("element.foreign", each, message)
    for element in root.iter(f"{{{xml.BPMN}}}*"):
        kind = xml.local(element)
        if kind == "extensionElements":
            ignored += _extensions(reader, element)
        ignored += _attributes(reader, element)
    if ignored:
        names = sorted(set(ignored))
        listed = ", ".join(names[:MOST_NAMED]) + (" and others" if len(names) > MOST_NAMED else "")
        message = f"ignored, without effect here ({len(ignored)} places): {listed}"
        reader.warn("vendor.ignored", root, message)


def _extensions(reader: Reader, element: Element) -> Iterator[str]:
    parent = element.getparent()
    owner = element if parent is None else parent
    for each in element:
        name = xml.local(each)
        if name in _REFUSED:
            reader.problem("extension.unsupported", owner, f"{name} is not supported")
        elif name in ("in", "out") and each.get("targetExpression"):
            reader.problem("extension.unsupported", owner, f"{name}: no targetExpression is read")
        elif name not in _READ:
            yield name


def _attributes(reader: Reader, element: Element) -> Iterator[str]:
    for key in element.keys():  # noqa: SIM118 - an element is not a dict
        space, _, name = str(key)[1:].partition("}")
        value = str(element.get(str(key))).strip()
        if space in xml.VENDORS and (problem := _refusal(element, name, value)):
            reader.problem("attribute.unsupported", element, problem)
        elif name and space in xml.VENDORS and name not in _READ_ATTRIBUTES:
            yield name


def _refusal(element: Element, name: str, value: str) -> str:
    """Return why an attribute of a vendor would change a run; empty where it does not."""
    if name in _REFUSED_ATTRIBUTES:
        everything = name == "variableEvents" and {"create", "update"} <= _split(value)
        harmless = value.lower() in _HARMLESS or everything
        return "" if harmless else f"{name} is not supported"
    if name == "calledElementBinding" and value in ("version", "versionTag"):
        return "the version of what is called cannot be chosen"
    if name == "autoStoreVariables" and value == "true":
        kept = scripts.format_of(element) != "javascript"
        return "" if kept else "JavaScript sets variables by execution.setVariable only"
    if name == "variableName" and xml.local(element) == "conditionalEventDefinition":
        names = set(_NAME.findall(xml.text(xml.child(element, "condition"))))
        others = sorted(names - _WORDS - {value, ""})
        return f"it would look at {others[0]!r} too, and not at {value!r} alone" if others else ""
    return ""


def _split(value: str) -> set[str]:
    return {each.strip() for each in value.split(",")}
