"""What every part of the parser needs: the file's tables, its dialect, its problems."""

from __future__ import annotations

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.library import Library
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.definition.problem import Problem
from mlkit.bpmn.expressions import Expression, ExpressionError, javascript
from mlkit.errors import ServiceUnavailable

_LANGUAGES = {"python": "python", "juel": "juel", "feel": "feel"}


class Reader:
    """The context of one parse.

    Args:
        root: The `definitions` element.
        library: The files beside the diagram.
        prefix: Stands before each id of a called file, so that no two are the same.

    Attributes:
        declared: The root elements by id.
        groups: By node id, the lane.
        data: By id, the variable that a data element stands for.
        stores: By id of a reference, the name of its data store; "" where it is drawn only.
        handlers: By id of a boundary event, what an association leads to.
        flows: By id, the pools and nodes that message flows lead to.
        flow_names: By node id, the name of the message of its message flow.
        calls: The ids of the processes of this file that are called.
        taken: The ids of processes, flow nodes and flows so far.
    """

    def __init__(self, root: Element, library: Library, prefix: str = "") -> None:
        self.root = root
        self.library = library
        self.prefix = prefix
        self.problems: list[Problem] = []
        spaces = set(root.nsmap.values())
        self.zeebe = xml.ZEEBE in spaces
        self.camunda = not self.zeebe and bool(spaces & set(xml.VENDORS[1:-1]))
        # Camunda (7 and 8) reads cron lines as Spring does, Activiti and Flowable as Quartz.
        self.spring = self.zeebe or bool(spaces & xml.CAMUNDA_7)
        # Camunda 7 maps the outputs of a call that an error ends; Activiti and Flowable do not.
        self.maps_after_error = bool(spaces & xml.CAMUNDA_7)
        self.declared = {
            str(each.get("id")): each for each in root if each.get("id") and xml.is_bpmn(each)
        }
        self.groups: dict[str, str] = {}
        self.data: dict[str, str] = {}
        self.stores: dict[str, str] = {}
        self.handlers: dict[str, str] = {}
        self.flows: dict[str, list[str]] = {}
        self.flow_names: dict[str, str] = {}
        self.calls: set[str] = set()
        self.taken: set[str] = set()

    def name(self, identifier: object) -> str:
        """Return the id by which an element of this file is known."""
        return f"{self.prefix}{identifier}" if identifier else ""

    def takes(self, identifier: str) -> bool:
        """Return whether an id is there and new: one file has each only once."""
        new = bool(identifier) and identifier not in self.taken
        self.taken.add(identifier)
        return new

    def problem(self, rule: str, element: Element, message: str, severity: str = "error") -> None:
        """Note a problem with an element, under its id or that of the one around it."""
        named = element
        while not named.get("id") and (outer := named.getparent()) is not None:
            named = outer
        whole = named is self.root and element is not self.root
        name = self.prefix + str((not whole and named.get("id")) or xml.local(element))
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

    def attribute(self, source: str | None, element: Element) -> Expression | None:
        """Read an attribute as `value` does, whatever language a script beside it is in."""
        return self.expression(source, element, "text", apart=True) if source else None

    def expression(
        self, source: str, element: Element, plain: str, apart: bool = False
    ) -> Expression | None:
        """Read an expression in the dialect that it is marked with.

        Args:
            source: Its text.
            element: Where it is.
            plain: What unmarked text is: `python` or `text`.
            apart: Whether the language that the element declares is that of something else.
        """
        language = self._language(source, element, plain, apart)
        if language is None:
            return None
        expression = Expression(source, language, xml.line(element))
        try:
            expression.check()
        except ServiceUnavailable as error:
            self.problem("script.javascript", element, error.message)
        except ExpressionError as error:
            self.problem("expression.broken", element, error.message)
        return expression

    def _language(self, source: str, element: Element, plain: str, apart: bool) -> str | None:
        declared = element.get("language") or element.get("scriptFormat")
        if declared and not apart:
            return self._recognize_language(str(declared), element)
        if "${" in source or "#{" in source:
            return "juel"
        if self.zeebe and source.lstrip().startswith("="):
            return "feel"
        return plain

    def _recognize_language(self, declared: str, element: Element) -> str | None:
        if declared.strip().lower() in javascript.NAMES:
            return "javascript"
        for word, language in _LANGUAGES.items():
            if word in declared.lower():
                return language
        self.problem("expression.language", element, f"no evaluator for {declared!r}")
        return None

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

    def read_name(self, element: Element, kind: str) -> tuple[Expression | None, Element | None]:
        """Return the name of the message or signal that an element refers to."""
        if element.get(f"{kind}Ref") is None:
            self.problem("reference.missing", element, f"no {kind} is chosen")
            return None, None
        target = self.reference(element, f"{kind}Ref", kind)
        if target is None:
            return None, None
        return self.value(str(target.get("name") or target.get("id")), target), target
