"""Forms of form-js (bpmn.io): JSON documents beside a diagram, or inside a zeebe one.

What a terminal can ask becomes a field; layout and text are passed over; the rest is a problem.
The schema is that of form-js 1 (https://github.com/bpmn-io/form-js).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlkit.bpmn.expressions import Expression
from mlkit.bpmn.model import FormField

Note = Callable[[str, str], None]
"""Takes a rule (`form.type`, say) and what is wrong."""

MAX_DEPTH = 30
"""Groups within groups."""
_SILENT = {"text", "html", "image", "button", "spacer", "separator", "iframe", "table",
           "documentPreview"}  # fmt: skip
_CHOICES = {"radio": "enum", "select": "enum", "checklist": "list", "taglist": "list"}
_TIMES = {
    "date": ("date", None),
    "time": ("string", r"^\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?$"),
    "datetime": ("string", r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?$"),
}
_KNOWN_TEXTS = {
    "email": r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
    "phone": r"^\+?[\d\s().-]{5,20}$",
}
_LIMITS = {"min": "min", "max": "max", "minLength": "minlength", "maxLength": "maxlength"}


def identifier(text: str) -> str | None:
    """Give the id of a form; None for what is no form."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return str(document.get("id")) if isinstance(document, dict) else None


def read(text: str, note: Note) -> tuple[FormField, ...]:
    """Read the fields of a form."""
    try:
        document = json.loads(text)
        components = document["components"]
        return tuple(_fields(components, note, MAX_DEPTH))
    except json.JSONDecodeError as error:
        note("form.broken", f"line {error.lineno}, column {error.colno}: {error.msg}")
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        note("form.broken", f"it is no form-js form: {type(error).__name__} {error}")
    return ()


def _fields(components: list[dict[str, Any]], note: Note, depth: int) -> Iterator[FormField]:
    if depth == 0:
        raise ValueError(f"groups deeper than {MAX_DEPTH}")
    for each in components:
        kind = str(each["type"])
        if kind == "group":
            if each.get("path"):
                note("form.type", f"group {each['path']!r}: fields in a path are not supported")
            yield from _fields(each.get("components", []), note, depth - 1)
        elif kind not in _SILENT:
            field = _field(kind, each, note)
            if field is not None:
                yield field


def _field(kind: str, component: dict[str, Any], note: Note) -> FormField | None:
    read = _KINDS.get(kind)
    if read is None or not component.get("key"):
        note("form.type", f"field {component.get('key')!r}: no type {kind!r}")
        return None
    name, rules = str(component["key"]), component.get("validate") or {}
    if component.get("conditional"):
        note("form.conditional", f"field {name!r} is always asked, and never required")
        rules = {**rules, "required": False}
    given = component.get("defaultValue")
    return FormField(**{
        "id": name,
        "label": str(component.get("label") or component.get("dateLabel") or name),
        "default": None if given is None else Expression(_text(given), "text"),
        "prefilled": True,
        "required": bool(rules.get("required")),
        "readonly": bool(component.get("disabled") or component.get("readonly")),
        "limits": {ours: float(rules[its]) for its, ours in _LIMITS.items()
                   if isinstance(rules.get(its), int | float)},
        "pattern": _pattern(name, rules, note),
        **read(kind, component, note),
    })  # fmt: skip


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _pattern(name: str, rules: Mapping[str, Any], note: Note) -> str | None:
    pattern = rules.get("pattern") or _KNOWN_TEXTS.get(str(rules.get("validationType")))
    try:
        return None if pattern is None else re.compile(str(pattern)).pattern
    except re.error as error:
        note("form.pattern", f"field {name!r}: {pattern!r}: {error}")
        return None


def _string(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    return {"type": "string"}


def _boolean(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    return {"type": "boolean"}


def _number(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    return {"type": "long" if component.get("decimalDigits") == 0 else "double"}


def _time(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    name, pattern = _TIMES[str(component.get("subtype", "date"))]
    return {"type": name} if pattern is None else {"type": name, "pattern": pattern}


def _choice(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    values = component.get("values")
    if values is None:
        note("form.options", f"field {component['key']!r}: options out of data; any value is taken")
        return {"type": "string" if _CHOICES[kind] == "enum" else "list"}
    options = {_text(each["value"]): str(each.get("label") or each["value"]) for each in values}
    return {"type": _CHOICES[kind], "options": options}


_KINDS: dict[str, Callable[[str, dict[str, Any], Note], dict[str, Any]]] = {
    "textfield": _string,
    "textarea": _string,
    "number": _number,
    "checkbox": _boolean,
    "datetime": _time,
    **dict.fromkeys(_CHOICES, _choice),
}
