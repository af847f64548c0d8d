"""Read the forms of user tasks."""

from __future__ import annotations

from mlkit.bpmn.model import FormField
from mlkit.bpmn.parser import xml
from mlkit.bpmn.parser.reader import Reader
from mlkit.bpmn.parser.xml import Element

_FIELD_TYPES = {"string", "long", "double", "boolean", "date", "enum"}


def read(reader: Reader, element: Element) -> tuple[FormField, ...]:
    """Read the form fields of a user task."""
    key = xml.vendor(element, "formKey", "formRef")
    if xml.extension(element, "formDefinition") is not None or (key or "").endswith(".form"):
        reader.problem("form.external", element, "form-js forms are not supported yet")
    elif key is not None:
        reader.warn("form.key", element, f"the form {key!r} is not shown; --set gives values")
    data = xml.extension(element, "formData")
    fields = [] if data is None else [each for each in data if xml.local(each) == "formField"]
    fields += xml.extensions(element, "formProperty")
    return tuple(_field(reader, element, each) for each in fields)


def _field(reader: Reader, task: Element, element: Element) -> FormField:
    kind = str(element.get("type") or "string")
    if kind not in _FIELD_TYPES:
        reader.problem("form.type", task, f"field {element.get('id')!r}: no type {kind!r}")
    constraints = {
        str(each.get("name")): str(each.get("config") or "")
        for each in element.iter("{*}constraint")
    }
    if "validator" in constraints:
        reader.problem("form.validator", task, "custom validators are not supported")
    default = element.get("defaultValue") or element.get("default")
    return FormField(
        id=str(element.get("id")),
        label=str(element.get("label") or element.get("name") or element.get("id")),
        type=kind,
        default=reader.value(None if default is None else str(default), element),
        required="required" in constraints or element.get("required") == "true",
        readonly="readonly" in constraints or element.get("writable") == "false",
        options={
            str(v.get("id")): str(v.get("name") or v.get("id")) for v in element.iter("{*}value")
        },
        limits=_limits(reader, task, constraints),
    )


def _limits(reader: Reader, task: Element, constraints: dict[str, str]) -> dict[str, float]:
    limits: dict[str, float] = {}
    for name in ("min", "max", "minlength", "maxlength"):
        if name in constraints:
            try:
                limits[name] = float(constraints[name])
            except ValueError:
                reader.problem(
                    "form.constraint", task, f"{name} {constraints[name]!r} is no number"
                )
    return limits
