"""Read the forms of user tasks."""

from __future__ import annotations

import re

from mlkit.bpmn.definition.model import FormField
from mlkit.bpmn.definition.parser import form_js, xml
from mlkit.bpmn.definition.parser.reader import Reader
from mlkit.bpmn.definition.parser.xml import Element

_FIELD_TYPES = {"string", "long", "double", "boolean", "date", "enum", "file"}
_EMBEDDED = "camunda-forms:bpmn:"


def read(reader: Reader, element: Element) -> tuple[FormField, ...]:
    """Read the form fields of a user task: those of its form-js form, or those within it."""
    definition = xml.extension(element, "formDefinition")
    key = xml.vendor(element, "formKey") or _attribute(definition, "formKey")
    wanted = xml.vendor(element, "formRef") or _attribute(definition, "formId")
    if wanted is not None or (key or "").endswith(".form") or (key or "").startswith(_EMBEDDED):
        return _of_form_js(reader, element, key, wanted)
    if key is not None:
        reader.warn("form.key", element, f"the form {key!r} is not shown; --set gives values")
    data = xml.extension(element, "formData")
    fields = [] if data is None else [each for each in data if xml.local(each) == "formField"]
    fields += xml.extensions(element, "formProperty")
    return tuple(_field(reader, element, each) for each in fields)


def _attribute(element: Element | None, name: str) -> str | None:
    value = None if element is None else element.get(name)
    return None if value is None else str(value)


def start(reader: Reader, element: Element) -> tuple[FormField, ...]:
    """Read the form of a start event: a server asks it, and commands take `--var` instead.

    One that cannot be read stops nobody, since the values may come without it.
    """
    before = len(reader.problems)
    form = read(reader, element)
    wrong = [each for each in reader.problems[before:] if each.severity == "error"]
    del reader.problems[before:]
    if wrong:
        reader.warn("form.start", element, f"the start form is not asked: {wrong[0].message}")
        return ()
    if xml.extension(element, "formData") is not None or xml.vendor(element, "formKey"):
        reader.warn("form.start", element, "a start form is for servers: --var gives the values")
    return form


def _of_form_js(
    reader: Reader, element: Element, key: str | None, wanted: str | None
) -> tuple[FormField, ...]:
    name = f"the form {key or wanted}"
    try:
        text = _source(reader, key, wanted)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        reader.problem("form.missing", element, f"{name}: {reason}")
        return ()

    def note(rule: str, message: str) -> None:
        reader.problem(rule, element, f"{name}: {message}")

    return form_js.read(text, note)


def _source(reader: Reader, key: str | None, wanted: str | None) -> str:
    """Find a form: by its id, within the diagram, or by the name of its file.

    Raises:
        ValueError: There is none, or it is not beside the diagram.
        OSError: It cannot be read.
    """
    if wanted is not None:
        return reader.library.form(wanted)
    assert key is not None
    if key.startswith(_EMBEDDED):
        for each in reader.root.iter(f"{{{xml.ZEEBE}}}userTaskForm"):
            if each.get("id") == key.removeprefix(_EMBEDDED):
                return xml.text(each)
        raise ValueError("it is not in the diagram")
    return reader.library.text(key.rpartition(":")[2])


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
    default = element.get("defaultValue") or element.get("default") or element.get("expression")
    return FormField(
        id=_path(element),
        label=str(element.get("label") or element.get("name") or element.get("id")),
        type=kind,
        default=reader.value(None if default is None else str(default), element),
        required="required" in constraints or element.get("required") == "true",
        readonly="readonly" in constraints or element.get("writable") == "false",
        options={
            str(v.get("id")): str(v.get("name") or v.get("id")) for v in element.iter("{*}value")
        },
        limits=_limits(reader, task, constraints),
        secret=_is_secret(element),
    )


def _is_secret(element: Element) -> bool:
    """Return whether a field is marked: by `mlkit:secret`, or a property that editors can set."""
    if element.get(f"{{{xml.MLKIT}}}secret") == "true":
        return True
    properties = element.iter("{*}property")
    return any(each.get("id") == "secret" and each.get("value") == "true" for each in properties)


def _path(element: Element) -> str:
    """Return what a field sets: a form property may name a variable, or a path in an expression."""
    bound = re.fullmatch(r"[$#]\{\s*([A-Za-z_][\w.]*)\s*\}", str(element.get("expression") or ""))
    return str(element.get("variable") or (bound and bound[1]) or element.get("id"))


def _limits(reader: Reader, task: Element, constraints: dict[str, str]) -> dict[str, float]:
    limits: dict[str, float] = {}
    for name in ("min", "max", "minlength", "maxlength"):
        if name in constraints:
            try:
                limits[name] = float(constraints[name])
            except ValueError:
                reader.problem(
                    "form.constraint", task, f"{name} {constraints[name]!r} is not a number"
                )
    return limits
