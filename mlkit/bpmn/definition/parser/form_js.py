"""Forms of form-js (bpmn.io): JSON documents beside a diagram, or inside a zeebe one.

What a terminal can ask becomes a field; layout and text are passed over; the rest is a problem.
The schema is that of form-js 1 (https://github.com/bpmn-io/form-js).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlkit.bpmn.definition.model import FormField
from mlkit.bpmn.expressions import Expression
from mlkit.errors import BadData

Note = Callable[[str, str], None]
"""Takes a rule (such as `form.type`) and what is wrong."""

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
    """Return the id of a form; None for what is not a form."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return str(document.get("id")) if isinstance(document, dict) else None


def read(text: str, note: Note) -> tuple[FormField, ...]:
    """Read the fields of a form."""
    try:
        document = json.loads(text)
        return tuple(_fields(document["components"], _Place(note)))
    except json.JSONDecodeError as error:
        note("form.broken", f"line {error.lineno}, column {error.colno}: {error.msg}")
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        note("form.broken", f"it is not a form-js form: {type(error).__name__} {error}")
    return ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where components stand.

    Attributes:
        path: The objects that they are parts of, outermost first.
        hidden: When the groups around them are hidden.
        depth: How many groups these are.
    """

    note: Note
    path: tuple[str, ...] = ()
    hidden: tuple[Expression, ...] = ()
    depth: int = 0

    def name(self, key: str) -> str:
        """Return the path of a key, which may be one itself."""
        parts = (*self.path, *(each for each in key.split(".") if each))
        wrong = [each for each in parts if not each.isidentifier() or each.startswith("_")]
        if wrong:
            self.note("form.name", f"field {key!r}: {wrong[0]!r} is not the name of a variable")
        return ".".join(parts)

    def inside(self, component: dict[str, Any]) -> _Place:
        """Return the place inside a group.

        Raises:
            ValueError: It is too deep.
        """
        if self.depth == MAX_DEPTH:
            raise ValueError(f"groups deeper than {MAX_DEPTH}")
        path = tuple(each for each in str(component.get("path") or "").split(".") if each)
        hidden = (*self.hidden, *_conditions(component, self.note))
        return _Place(self.note, (*self.path, *path), hidden, self.depth + 1)


def _fields(components: list[dict[str, Any]], place: _Place) -> Iterator[FormField]:
    for each in components:
        kind = str(each["type"])
        if kind == "group":
            yield from _fields(each.get("components", []), place.inside(each))
        elif kind == "dynamiclist":
            yield from _rows(each, place)
        elif kind not in _SILENT:
            field = _field(kind, each, place)
            if field is not None:
                yield field


def _rows(component: dict[str, Any], place: _Place) -> Iterator[FormField]:
    """Read a list of objects that all have the same fields."""
    path = str(component.get("path") or "")
    if not path:
        place.note("form.name", f"list {component.get('label')!r}: it has no path")
        return
    inner = _Place(place.note, depth=place.inside(component).depth)
    yield FormField(
        id=place.name(path),
        label=str(component.get("label") or path),
        type="rows",
        hidden=(*place.hidden, *_conditions(component, place.note)),
        fields=tuple(_fields(component.get("components", []), inner)),
    )


def _conditions(component: dict[str, Any], note: Note) -> tuple[Expression, ...]:
    condition = component.get("conditional") or {}
    found = _feel(condition.get("hide"), component, note)
    return () if found is None else (found,)


def _feel(text: Any, component: dict[str, Any], note: Note) -> Expression | None:
    """Read a property that may hold an expression: it does if it begins with `=`."""
    if not isinstance(text, str) or not text.startswith("="):
        return None
    found = Expression(text, "feel")
    try:
        found.check()
    except BadData as error:
        name = component.get("key") or component.get("path") or component.get("label")
        note("form.expression", f"field {name!r}: {error.message}")
        return None
    return found


def _field(kind: str, component: dict[str, Any], place: _Place) -> FormField | None:
    note, read = place.note, _KINDS.get(kind)
    if read is None or not component.get("key"):
        note("form.type", f"field {component.get('key')!r}: no type {kind!r}")
        return None
    key, rules = str(component["key"]), component.get("validate") or {}
    given = component.get("defaultValue")
    label = str(component.get("label") or component.get("dateLabel") or key)
    return FormField(**{
        "id": place.name(key),
        "label": key if label.startswith("=") else label,
        "default": None if given is None else Expression(_text(given), "text"),
        "required": rules.get("required") is True,
        "readonly": component.get("disabled") is True or component.get("readonly") is True,
        "locked": _feel(component.get("readonly"), component, note),
        "hidden": (*place.hidden, *_conditions(component, note)),
        "limits": dict(_limits(rules, component, note)),
        "pattern": _pattern(key, rules, note),
        "secret": str((component.get("properties") or {}).get("secret")).lower() == "true",
        **read(kind, component, note),
    })  # fmt: skip


def _limits(
    rules: Mapping[str, Any], component: dict[str, Any], note: Note
) -> Iterator[tuple[str, float | Expression]]:
    for its, ours in _LIMITS.items():
        limit = rules.get(its)
        expression = _feel(limit, component, note)
        if expression is not None:
            yield ours, expression
        elif isinstance(limit, int | float):
            yield ours, float(limit)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _pattern(name: str, rules: Mapping[str, Any], note: Note) -> str | None:
    pattern = rules.get("pattern") or _KNOWN_TEXTS.get(str(rules.get("validationType")))
    if pattern is None:
        return None
    import regex

    try:
        return str(regex.compile(str(pattern)).pattern)
    except regex.error as error:
        note("form.pattern", f"field {name!r}: {pattern!r}: {error}")
        return None


def _string(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    return {"type": "string"}


def _boolean(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    return {"type": "boolean"}


def _number(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    whole = component.get("decimalDigits") == 0
    textual = component.get("serializeToString") is True
    return {"type": "long" if whole else "double", "textual": textual}


def _time(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    name, pattern = _TIMES[str(component.get("subtype", "date"))]
    return {"type": name} if pattern is None else {"type": name, "pattern": pattern}


def _choice(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    values, name = component.get("values"), _CHOICES[kind]
    if values is None:
        key = component.get("valuesKey")
        listed = _feel(component.get("valuesExpression"), component, note)
        listed = Expression(str(key), "name") if listed is None and key else listed
        if listed is None:
            note("form.options", f"field {component['key']!r}: it has no options")
        return {"type": name, "choices": listed}
    options = {_text(each["value"]): str(each.get("label") or each["value"]) for each in values}
    return {"type": name, "options": options}


def _read_computed(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    value = _feel(component.get("expression"), component, note)
    if value is None:
        note("form.expression", f"field {component['key']!r}: it has no expression")
    return {"value": value}


def _files(kind: str, component: dict[str, Any], note: Note) -> dict[str, Any]:
    return {"type": "files" if component.get("multiple") is True else "file", "limits": {}}


_KINDS: dict[str, Callable[[str, dict[str, Any], Note], dict[str, Any]]] = {
    "textfield": _string,
    "textarea": _string,
    "number": _number,
    "checkbox": _boolean,
    "datetime": _time,
    "expression": _read_computed,
    "filepicker": _files,
    **dict.fromkeys(_CHOICES, _choice),
}
