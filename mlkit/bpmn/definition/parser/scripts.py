"""Read scripts: in which language they are, and their text, in the diagram or beside it."""

from __future__ import annotations

import re

from mlkit.bpmn.definition.parser import xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element
from mlkit.bpmn.expressions import javascript

_PYTHON = ("", "python", "python3", "text/x-python", "application/x-python")
_R = ("r", "text/x-r", "application/x-r")
_FORMATS = {
    **dict.fromkeys(_PYTHON, "python"),
    **dict.fromkeys(_R, "r"),
    **dict.fromkeys(javascript.NAMES, "javascript"),
    "juel": "juel",
}


def format_of(element: Element) -> str | None:
    """Return the language of a script; None for one that cannot be run."""
    return _FORMATS.get(_read_language(element))


def program(reader: Reader, element: Element) -> str | None:
    """Return the language of a script; another one is a problem."""
    found = format_of(element)
    if found is None:
        problem = (
            f"scripts in {_read_language(element)!r} cannot be run: use Python, R or JavaScript"
        )
        reader.problem("script.format", element, problem)
    return found


def _read_language(element: Element) -> str:
    written = (
        element.get("scriptFormat") or element.get("scriptLanguage") or element.get("language")
    )
    return str(written or "").strip().lower()


def source(reader: Reader, element: Element) -> str | None:
    """Return the text of a script; none is a problem."""
    resource = xml.vendor(element, "resource") or element.get("resource")
    if resource is not None:
        return _resource(reader, element, str(resource))
    own = xml.local(element) == "script"
    inner = element if own else xml.child(element, "script")
    found = "" if inner is None else "".join(map(str, inner.itertext()))
    found = found or str(element.get("script") or xml.vendor(element, "script") or "")
    if not found.strip():
        reader.problem("script.empty", element, "the script is empty")
        return None
    return found


def _resource(reader: Reader, element: Element, resource: str) -> str | None:
    try:
        return reader.library.text(resource)
    except (OSError, ValueError) as error:
        reader.problem("script.resource", element, f"{resource!r} cannot be read: {error}")
        return None


def plain_name(text: str) -> str:
    """Return the name of a callable, without the brackets of an expression."""
    return re.sub(r"^[$#]\{\s*(.*?)\s*\}$", r"\1", text)
