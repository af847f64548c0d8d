"""Forms in a browser: what is shown of each field, and what a submitted form gives.

`forms` alone decides what is accepted: a browser, a terminal and a program get the same answers. A
form works without scripts: rows are added, and fields that depend on others appear, by a round
trip that keeps what was filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mlkit.bpmn.definition.model import FormField
from mlkit.bpmn.expressions.paths import value_at
from mlkit.bpmn.people import forms
from mlkit.bpmn.people.forms import Entry
from mlkit.bpmn.people.masking import MASKED, NO_MASK, Mask

PREFIX = "field."
"""Stands before the names of inputs, so that no field can be taken for something else."""
FEW_OPTIONS = 5
MOST_ROWS_SHOWN = 200
LONG_TEXT = 120
Keep = Callable[[Any], dict[str, Any]]
"""Stores an upload, or reads the token of one that came before; returns the reference to it."""


@dataclass(frozen=True, slots=True)
class Input:
    """A field as a page shows it.

    Attributes:
        id: The id of the element of the page.
        name: The name of the input.
        kind: `text`, `area`, `number`, `date`, `checkbox`, `radio`, `select`, `checklist`, `file`,
            `rows`, `password` for a secret, or `output` for what is read-only.
        value: Text; a list where several are chosen; whether it is checked.
        options: Values with their labels.
        hint: What is accepted, in a few words.
        problem: What is wrong with it; empty where nothing is.
        rows: The inputs of each row.
        kept: Names and tokens of the files that were uploaded already.
    """

    id: str
    name: str
    label: str
    kind: str
    value: Any = ""
    required: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    problem: str = ""
    rows: Sequence[Sequence[Input]] = ()
    kept: Sequence[tuple[str, str]] = ()
    several: bool = False

    @property
    def chosen(self) -> list[str]:
        """The values that are chosen."""
        return self.value if isinstance(self.value, list) else [str(self.value)]

    @property
    def described_by(self) -> str:
        """The ids of what describes it, as `aria-describedby` has them."""
        parts = [f"{self.id}-hint"] * bool(self.hint) + [f"{self.id}-problem"] * bool(self.problem)
        return " ".join(parts)


def decision_field(form: forms.Form) -> str | None:
    """Return the field that two buttons decide: the form's only boolean.

    "" where there is no form: the decision goes to `approved`. None: a form that decides nothing.
    """
    if not form:
        return ""
    booleans = [e.id for e in form if e.type == "boolean" and not e.readonly and e.value is None]
    return booleans[0] if len(booleans) == 1 else None


def is_dynamic(form: forms.Form) -> bool:
    """Return whether what a form shows depends on what is filled in."""
    return any(
        e.hidden or e.locked or e.choices or e.value
        or any(not isinstance(limit, int | float) for limit in e.limits.values())
        for e in form
    )  # fmt: skip


def read_submitted(
    form: forms.Form,
    submitted: Mapping[str, Sequence[Any]],
    keep: Keep,
    mask: Mask = NO_MASK,
    prefix: str = PREFIX,
) -> dict[str, Any]:
    """Return the values that a submitted form gives, by field.

    Args:
        form: The fields.
        submitted: The values of each name, in order; uploads are objects.
        keep: What stores an upload.
        mask: What was hidden when the form was shown: such a field that is left empty is kept.
        prefix: What precedes the fields' names.
    """
    found: dict[str, Any] = {}
    for each in form:
        name = prefix + each.id
        if each.readonly or each.value is not None:
            continue
        if each.fields:
            found[each.id] = _rows(each, submitted, keep, mask, name)
        elif each.type in ("file", "files"):
            files = [keep(value) for value in submitted.get(name, ()) if value != ""]
            found[each.id] = files if each.type == "files" else files[-1] if files else None
        elif each.type == "boolean":
            found[each.id] = "true" in submitted.get(name, ())
        elif each.type == "list":
            found[each.id] = [str(value) for value in submitted.get(name, ()) if value != ""]
        elif submitted.get(name) and (submitted[name][-1] != "" or not mask.hides_field(each)):
            found[each.id] = str(submitted[name][-1]).replace("\r\n", "\n")
    return found


def _rows(
    form: FormField, submitted: Mapping[str, Sequence[Any]], keep: Keep, mask: Mask, name: str
) -> list[dict[str, Any]]:
    numbers = [str(each) for each in submitted.get(f"{name}.row", ())][: forms.MAX_ROWS]
    removed = set(map(str, submitted.get("remove", ())))
    rows = [
        read_submitted(form.fields, submitted, keep, mask, f"{name}.{number}.")
        for number in numbers
        if number.isdecimal() and f"{name}.{number}" not in removed
    ]
    if name in submitted.get("add", ()):
        rows.append({})
    return rows


def drop_hidden(
    form: forms.Form, values: Mapping[str, Any], make: Callable[[Mapping[str, Any]], Entry]
) -> tuple[Entry, dict[str, Any]]:
    """Leave out what is given for fields that the other values hide or lock.

    Hiding one field may hide others, so it goes on until nothing changes.
    """
    left = dict(values)
    for _ in range(len(form) + 1):
        entry = make(left)
        open_fields = {e.id for e in entry.list_shown() if not e.readonly and e.value is None}
        kept = {name: value for name, value in left.items() if name in open_fields}
        if kept == left:
            break
        left = kept
    return entry, left


def problems_by_field(problems: Sequence[str]) -> dict[str, str]:
    """Return the problems that `Entry.values` found, by the field's id."""
    found: dict[str, str] = {}
    for each in problems:
        name, _, text = each.partition(": ")
        found.setdefault(name, text)
    return found


def inputs(
    entry: Entry,
    problems: Mapping[str, str] | None = None,
    token: Callable[[Mapping[str, Any]], str] = lambda reference: "",
    without: str | None = None,
    prefix: str = PREFIX,
    mask: Mask = NO_MASK,
) -> list[Input]:
    """Return what a page shows of a form in its present state; a secret is not in it.

    Args:
        entry: The form with what is filled in.
        problems: What is wrong, by field.
        token: Names an uploaded file in the form that comes back.
        without: A field that is not shown, since buttons decide it.
        prefix: What precedes the fields' names.
        mask: What is hidden of what is only shown.
    """
    known = problems or {}
    return [
        _input(each, entry, known.get(each.id, ""), token, prefix, mask)
        for each in entry.list_shown()
        if each.id != without
    ]


def _input(
    form: FormField,
    entry: Entry,
    problem: str,
    token: Callable[[Mapping[str, Any]], str],
    prefix: str,
    mask: Mask,
) -> Input:
    name = prefix + form.id
    shown = Input(name.replace(".", "-"), name, form.label, "output")
    if form.readonly or form.value is not None:
        hidden = mask.hides_field(form)
        return replace(shown, value=MASKED if hidden else mask.text(text_of(_output(form, entry))))
    value = entry.raw(form)
    shown = replace(shown, required=form.required, problem=problem, hint=hint_of(form))
    if form.fields:
        listed = value if isinstance(value, list) else []
        rows = _row_inputs(form, entry, listed, token, name, mask)
        return replace(shown, kind="rows", rows=rows)
    if form.type in ("file", "files"):
        listed = value if isinstance(value, list) else [value]
        kept = [(str(e.get("name", "")), token(e)) for e in listed if isinstance(e, dict)]
        return replace(shown, kind="file", kept=kept, several=form.type == "files")
    if mask.hides_field(form) and form.type not in ("boolean", "enum", "list"):
        given = "" if value in (None, "") else "it has a value: leave it empty to keep that"
        return replace(shown, kind="password", hint=", ".join(filter(None, (shown.hint, given))))
    kind = _kind(form, value)
    return replace(shown, kind=kind, value=_value(form, value), options=form.options)


def _row_inputs(
    form: FormField, entry: Entry, rows: list[Any],
    token: Callable[[Mapping[str, Any]], str], name: str, mask: Mask,
) -> list[list[Input]]:  # fmt: skip
    defaults = {each.id: each.default.text for each in form.fields if each.default}
    found = []
    for number, row in enumerate(rows[:MOST_ROWS_SHOWN]):
        outer = {**entry.variables, **entry.data, "i": number + 1}
        given_row = row if isinstance(row, Mapping) else {}
        inner = Entry(form.fields, given_row, defaults, outer)
        wrong = problems_by_field(inner.values()[1]) if given_row else {}
        found.append(inputs(inner, wrong, token, prefix=f"{name}.{number}.", mask=mask))
    return found


def _kind(form: FormField, value: Any) -> str:
    if form.type == "boolean":
        return "checkbox"
    if form.type == "enum":
        return "radio" if len(form.options) <= FEW_OPTIONS else "select"
    long = isinstance(value, str) and ("\n" in value or len(value) > LONG_TEXT)
    limit = form.limits.get("maxlength")
    if form.type == "string" and (long or (isinstance(limit, int | float) and limit > LONG_TEXT)):
        return "area"
    kinds = {"list": "checklist", "date": "date", "long": "number", "double": "number"}
    return kinds.get(form.type, "text")


def _value(form: FormField, value: Any) -> Any:
    if form.type == "boolean":
        return str(value).strip().lower() in ("true", "yes", "1")
    if form.type == "list":
        parts = value if isinstance(value, list) else str(value or "").split(",")
        return [str(each).strip() for each in parts]
    return text_of(value)


def _output(form: FormField, entry: Entry) -> Any:
    if form.value is None:
        value = entry.raw(form)
        return value_at(entry.variables, form.id) if value is None else value
    try:
        return entry.evaluate(form, form.value)
    except ValueError as error:
        return f"({error})"


def text_of(value: Any) -> str:
    """Return a value as people read it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e15 else repr(value)
    if isinstance(value, dict) and "$artifact" in value:
        return str(value.get("name") or value.get("kind") or "a stored value")
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith("$"):
        return str(next(iter(value.values())))
    if isinstance(value, list):
        return ", ".join(map(text_of, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}: {text_of(each)}" for name, each in value.items())
    return str(value)


def hint_of(form: FormField) -> str:
    """Describe what a field accepts, where a label cannot."""
    words = {
        "min": "at least {:g}", "max": "at most {:g}",
        "minlength": "at least {:g} characters", "maxlength": "at most {:g} characters",
    }  # fmt: skip
    limits = {n: e for n, e in form.limits.items() if isinstance(e, int | float)}
    parts = [words[name].format(limit) for name, limit in limits.items() if name in words]
    if form.type == "long":
        parts.insert(0, "a whole number")
    return ", ".join(parts)
