"""What every part of the parser needs: the file's tables, its dialect, its problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mlkit.bpmn.expressions import Expression, ExpressionError
from mlkit.bpmn.model import EventDefinition, Problem
from mlkit.bpmn.parser import xml
from mlkit.bpmn.parser.xml import Element

_LANGUAGES = {"python": "python", "juel": "juel", "feel": "feel"}


class Reader:
    """The context of one parse.

    Args:
        root: The `definitions` element.
        path: The diagram's file; scripts in files beside it are found from here.
        resources: Their texts, where they were stored with an instance.
    """

    def __init__(self, root: Element, path: Path, resources: Mapping[str, str]) -> None:
        self.root = root
        self.stored = resources
        self.resources: dict[str, str] = {}
        self.path = path
        self.problems: list[Problem] = []
        self.zeebe = xml.ZEEBE in root.nsmap.values()
        self.declared = {
            str(each.get("id")): each for each in root if each.get("id") and xml.is_bpmn(each)
        }
        self.groups: dict[str, str] = {}

    def problem(self, rule: str, element: Element, message: str, severity: str = "error") -> None:
        """Note a problem with an element."""
        name = str(element.get("id") or xml.local(element))
        self.problems.append(Problem(rule, severity, name, xml.line(element), message))

    def warn(self, rule: str, element: Element, message: str) -> None:
        """Note something that does not stop a run."""
        self.problem(rule, element, message, "warning")

    def condition(self, element: Element) -> Expression | None:
        """Read an element that holds an expression; unmarked text is Python."""
        source = xml.text(element)
        if not source:
            self.problem("expression.empty", element, "the expression is empty")
            return None
        return self.expression(source, element, plain="python")

    def value(self, source: str | None, element: Element) -> Expression | None:
        """Read an attribute or text that may hold an expression; else it is a constant."""
        return self.expression(source, element, plain="text") if source else None

    def expression(self, source: str, element: Element, plain: str) -> Expression | None:
        """Read an expression in the dialect that it is marked with.

        Args:
            source: Its text.
            element: Where it stands.
            plain: What unmarked text is: `python` or `text`.
        """
        language = self._language(source, element, plain)
        if language is None:
            return None
        expression = Expression(source, language, xml.line(element))
        try:
            expression.check()
        except ExpressionError as error:
            self.problem("expression.broken", element, error.message)
        return expression

    def _language(self, source: str, element: Element, plain: str) -> str | None:
        declared = element.get("language") or element.get("scriptFormat")
        if declared:
            return self._declared(str(declared), element)
        if "${" in source or "#{" in source:
            return "juel"
        if self.zeebe and source.lstrip().startswith("="):
            return "feel"
        return plain

    def _declared(self, declared: str, element: Element) -> str | None:
        for word, language in _LANGUAGES.items():
            if word in declared.lower():
                return language
        self.problem("expression.language", element, f"no evaluator for {declared!r}")
        return None

    def event(self, element: Element) -> EventDefinition | None:
        """Read the event definition inside an event; None notes a problem."""
        found = [each for each in element if xml.local(each).endswith("EventDefinition")]
        if xml.child(element, "eventDefinitionRef") is not None:
            self.problem("event.reference", element, "eventDefinitionRef is not supported yet")
            return None
        if len(found) > 1:
            self.problem("event.multiple", element, "multiple events are not supported yet")
            return None
        if not found:
            return EventDefinition("none")
        return self.definition(found[0])

    def definition(self, element: Element) -> EventDefinition | None:
        """Read one event definition."""
        kind = xml.local(element).removesuffix("EventDefinition")
        read = _DEFINITIONS.get(kind)
        if read is None:
            owner = element.getparent()
            message = f"{kind} events are not supported yet"
            self.problem("event.unsupported", element if owner is None else owner, message)
            return None
        return read(self, element)

    def reference(self, element: Element, attribute: str, kind: str) -> Element | None:
        """Follow a reference to a root element; a broken one is a problem."""
        wanted = element.get(attribute)
        if wanted is None:
            return None
        found = self.declared.get(str(wanted).rpartition(":")[2])
        if found is None or xml.local(found) != kind:
            self.problem("reference.missing", element, f"there is no {kind} {wanted!r}")
            return None
        return found

    def named(self, element: Element, kind: str) -> tuple[Expression | None, Element | None]:
        """Give the name of the message or signal that an element refers to."""
        if element.get(f"{kind}Ref") is None:
            self.problem("reference.missing", element, f"no {kind} is chosen")
            return None, None
        target = self.reference(element, f"{kind}Ref", kind)
        if target is None:
            return None, None
        name = str(target.get("name") or "")
        if not name:
            self.problem("reference.unnamed", target, f"the {kind} has no name")
            return None, target
        return self.value(name, target), target


def _timer(reader: Reader, element: Element) -> EventDefinition | None:
    for kind in ("date", "duration", "cycle"):
        part = xml.child(element, f"time{kind.capitalize()}")
        if part is not None:
            source = xml.text(part)
            if not source:
                reader.problem("timer.empty", element, f"the {kind} is empty")
                return None
            return EventDefinition("timer", timer=kind, expression=reader.value(source, part))
    reader.problem("timer.empty", element, "the timer has no date, duration or cycle")
    return None


def message(reader: Reader, element: Element) -> EventDefinition | None:
    """Read a message event definition, or the message of a receive task."""
    if xml.local(element) == "messageEventDefinition" and _implemented(element):
        reader.problem("event.implementation", element, "events that call code: not supported yet")
        return None
    name, target = reader.named(element, "message")
    if name is None or target is None:
        return None
    subscription = xml.extension(target, "subscription")
    key = None if subscription is None else subscription.get("correlationKey")
    expression = None if key is None else reader.value(str(key), target)
    return EventDefinition("message", name=name, expression=expression)


def _implemented(element: Element) -> bool:
    return xml.vendor(element, "class", "topic", "delegateExpression", "expression") is not None


def _signal(reader: Reader, element: Element) -> EventDefinition | None:
    name, _ = reader.named(element, "signal")
    return None if name is None else EventDefinition("signal", name=name)


def _coded(kind: str) -> Callable[[Reader, Element], EventDefinition | None]:
    def read(reader: Reader, element: Element) -> EventDefinition | None:
        target = reader.reference(element, f"{kind}Ref", kind)
        if target is None and element.get(f"{kind}Ref") is not None:
            return None
        code = None if target is None else target.get(f"{kind}Code") or target.get("name")
        return EventDefinition(
            kind,
            code=None if code is None else str(code),
            code_variable=xml.vendor(element, f"{kind}CodeVariable"),
            message_variable=xml.vendor(element, f"{kind}MessageVariable"),
        )

    return read


def _link(reader: Reader, element: Element) -> EventDefinition | None:
    name = element.get("name")
    if not name:
        reader.problem("link.unnamed", element, "the link has no name")
        return None
    return EventDefinition("link", name=Expression(str(name), "text"))


_DEFINITIONS: dict[str, Callable[[Reader, Element], EventDefinition | None]] = {
    "timer": _timer,
    "message": message,
    "signal": _signal,
    "error": _coded("error"),
    "escalation": _coded("escalation"),
    "link": _link,
    "terminate": lambda reader, element: EventDefinition("terminate"),
}
