"""What forms accept: values checked field by field, by what the other fields hold.

A value is data. Whatever somebody fills in, nothing here evaluates it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from mlkit.bpmn.definition.model import FormField
from mlkit.bpmn.expressions import Expression
from mlkit.bpmn.expressions.paths import value_at
from mlkit.bpmn.journal.artifacts import is_hash
from mlkit.errors import BadData
from mlkit.workers.child.values import Unstorable, pack, unpack

MAX_ROWS = 1_000
# Patterns come with the diagram: one that backtracks without end must not hang who fills the form.
_PATTERN_SECONDS = 1.0
_TRUE = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
Form = tuple[FormField, ...]


def pack_variables(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Make variables ready to be stored.

    Raises:
        BadData: One cannot be.
    """
    packed = {}
    for name, value in variables.items():
        if not name.isidentifier() or name.startswith("_"):
            raise BadData(f"variable {name!r}: not a name that a script could use")
        try:
            packed[name] = pack(value)
        except Unstorable as error:
            raise BadData(f"variable {name!r} cannot be stored: {error}") from error
    return packed


class Entry:
    """A form with what somebody gives for it.

    Args:
        form: The fields.
        given: By a field's id, or as nested objects.
        defaults: By a field's id, as stored.
        variables: What expressions see beside the fields, as stored.
    """

    def __init__(
        self,
        form: Form,
        given: Mapping[str, Any],
        defaults: Mapping[str, Any],
        variables: Mapping[str, Any],
    ) -> None:
        self.form = form
        self.given = flat(given, {each.id for each in form})
        self.defaults = {name: _plain(each) for name, each in defaults.items()}
        self.variables = variables
        self.data = nest((each.id, self._get_value(each)) for each in form if each.value is None)

    def _get_value(self, field: FormField) -> Any:
        value = self.raw(field)
        try:
            return None if value is None else _convert(field, value)
        except ValueError:
            return value

    def raw(self, field: FormField) -> Any:
        """Return what is there for a field: given, or its default."""
        return self.given.get(field.id, self.defaults.get(field.id))

    def list_shown(self) -> list[FormField]:
        """Return the fields that are not hidden, with the present values of their expressions.

        Where one fails, the field is shown as it is; `values` tells the problem.
        """
        found = []
        for each in self.form:
            with contextlib.suppress(ValueError):
                if self._is_hidden(each):
                    continue
                each = self._resolve(each)
            found.append(each)
        return found

    def _is_hidden(self, field: FormField) -> bool:
        return any(self.evaluate(field, each) is True for each in field.hidden)

    def _resolve(self, field: FormField) -> FormField:
        """Put the values of a field's expressions in their place."""
        locked = field.locked is not None and self.evaluate(field, field.locked) is True
        limits = {
            name: self.evaluate(field, each) if isinstance(each, Expression) else each
            for name, each in field.limits.items()
        }
        limits = {n: each for n, each in limits.items() if isinstance(each, int | float)}
        options = field.options
        if field.choices is not None:
            options = _options(self.evaluate(field, field.choices))
        return replace(field, readonly=field.readonly or locked, limits=limits, options=options)

    def evaluate(self, field: FormField, expression: Expression) -> Any:
        """Return the value of an expression of a field.

        Raises:
            ValueError: It fails.
        """
        here = self.data
        names = [here]
        for part in field.id.split(".")[:-1]:
            inner = here.get(part)
            here = inner if isinstance(inner, dict) else {}
            names.append(here)

        def lookup(name: str) -> Any:
            if name == "this":
                return unpack(here)
            for each in (*reversed(names), self.variables):
                if name in each:
                    return unpack(each[name])
            raise KeyError(name)

        try:
            return expression.evaluate(lookup, datetime.now(UTC))
        except BadData as error:
            raise ValueError(error.message) from error

    def values(self) -> tuple[dict[str, Any], list[str]]:
        """Return the values to store, and a line for each that is wrong or missing."""
        known = {each.id for each in self.form}
        problems = [f"{name}: no such field" for name in self.given if name not in known]
        found: dict[str, Any] = {}
        shown = set()
        for each in self.form:
            try:
                if self._is_hidden(each):
                    continue
                shown.add(each.id)
                found |= self._check(self._resolve(each))
            except ValueError as error:
                problems.append(f"{each.id}: {error}")
        hidden = [n for n in self.given if n in known and n not in shown]
        named = {each.partition(":")[0] for each in problems}
        problems += [f"{name}: is hidden, by the values of other fields" for name in hidden
                     if name not in named]  # fmt: skip
        return nest(found.items()), problems

    def _check(self, field: FormField) -> dict[str, Any]:
        if field.value is not None or field.readonly:
            if field.id in self.given:
                raise ValueError("is read-only")
            if field.value is None:
                return self._get_fixed(field)
            return {field.id: pack(self.evaluate(field, field.value))}
        if field.fields:
            return {field.id: self._rows(field)}
        value = self.raw(field)
        if value is None or value in ("", []):
            if field.required:
                raise ValueError("is required")
            return {field.id: False if field.type == "boolean" else None}
        return {field.id: _check_limits(field, _convert(field, value))}

    def problem(self, field: FormField) -> str | None:
        """Return what is wrong with the value of a field; None where nothing is."""
        try:
            self._check(field)
        except ValueError as error:
            return str(error)
        return None

    def _get_fixed(self, field: FormField) -> dict[str, Any]:
        """Return the default of a read-only field that shows no variable."""
        default = self.defaults.get(field.id)
        if default in (None, "") or value_at(self.variables, field.id) is not None:
            return {}
        return {field.id: _convert(field, default)}

    def _rows(self, field: FormField) -> list[dict[str, Any]]:
        rows = self.raw(field) or []
        if not isinstance(rows, list) or len(rows) > MAX_ROWS:
            raise ValueError(f"is not a list of at most {MAX_ROWS} objects")
        found = []
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise ValueError(f"row {number + 1} is not an object")
            outer = {**self.variables, **self.data, "i": number + 1}
            defaults = {each.id: each.default.text for each in field.fields if each.default}
            values, problems = Entry(field.fields, row, defaults, outer).values()
            if problems:
                raise ValueError(f"row {number + 1}: {', '.join(problems)}")
            found.append(values)
        return found


def _plain(value: Any) -> Any:
    """Return a stored date or decimal as it would be filled in."""
    tagged = isinstance(value, dict) and len(value) == 1
    return next(iter(value.values())) if tagged else value


def nest(values: Iterator[tuple[str, Any]] | Any) -> dict[str, Any]:
    """Make objects of values whose names are paths, such as `address.street`."""
    found: dict[str, Any] = {}
    for path, value in values:
        here = found
        *outer, last = path.split(".")
        for part in outer:
            here = here.setdefault(part, {})
        here[last] = value
    return found


def flat(given: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    """Name values by their paths, where objects stand for the fields in them."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        inside = isinstance(value, dict) and any(each.startswith(f"{name}.") for each in known)
        if inside and name not in known:
            found |= flat({f"{name}.{key}": each for key, each in value.items()}, known)
        else:
            found[name] = value
    return found


def _options(listed: Any) -> dict[str, str]:
    """Read options out of data: values, or objects with a value and a label."""
    found: dict[str, str] = {}
    for each in listed if isinstance(listed, list) else []:
        value = each.get("value") if isinstance(each, dict) else each
        label = each.get("label", value) if isinstance(each, dict) else each
        if value is not None:
            found[str(value)] = str(label)
    return found


def stored_file(value: Any) -> dict[str, Any]:
    """Return the reference to an uploaded file, with nothing in it but what names a file.

    Raises:
        ValueError: It is none. What is not marked as a file would be loaded as an object.
    """
    name = value.get("$artifact") if isinstance(value, dict) else None
    if not isinstance(name, str) or not is_hash(name) or value.get("format") != "file":
        raise ValueError("is not an uploaded file")
    size = value.get("size", 0)
    return {
        "$artifact": name, "size": size if isinstance(size, int) else 0, "kind": "file",
        "format": "file", "name": str(value.get("name", "")), "media": str(value.get("media", "")),
    }  # fmt: skip


def _convert(form: FormField, value: Any) -> Any:
    if form.type in ("file", "files"):
        files = [stored_file(each) for each in (value if isinstance(value, list) else [value])]
        return files if form.type == "files" else files[-1]
    if form.type == "list":
        return _split_choices(form, value)
    if form.type == "rows":
        return value
    if isinstance(value, dict | list):
        raise ValueError(f"{str(value)[:60]} is not a {form.type}")
    text = str(value).strip()
    try:
        if form.type == "boolean":
            return value if isinstance(value, bool) else _TRUE[text.lower()]
        if form.type in ("long", "double"):
            return _number(form, text)
        if form.type == "date":
            return {"$date": date.fromisoformat(text).isoformat()}
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is not a {form.type}") from None
    return _of_text(form, text)


def _of_text(form: FormField, text: str) -> str:
    if form.type == "enum" and text not in form.options and form.choices is None:
        raise ValueError(f"{text!r} is not one of {', '.join(form.options)}")
    return text


def _number(form: FormField, text: str) -> Any:
    if not text.isascii() or "_" in text:  # Python would read more than people mean.
        raise ValueError("no number")
    value = int(text) if form.type == "long" else float(text)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("no number")
    return text if form.textual else value


def _split_choices(form: FormField, value: Any) -> list[str]:
    listed = value if isinstance(value, list) else str(value).split(",")
    return [str(each).strip() for each in listed if str(each).strip()]


def _check_limits(form: FormField, value: Any) -> Any:
    for each in value if form.type == "list" else [value] if form.type == "enum" else []:
        if each not in form.options:
            raise ValueError(f"{each!r} is not one of {', '.join(form.options)}")
    size: float = len(value) if isinstance(value, str) else 0
    number = value if isinstance(value, int | float) else None
    number = float(value) if form.textual else number
    for name, limit in form.limits.items():
        measured = size if name.endswith("length") else number
        if measured is None or isinstance(limit, Expression):
            continue
        if name.startswith("min") and measured < limit:
            raise ValueError(f"less than {name} {limit:g}")
        if name.startswith("max") and measured > limit:
            raise ValueError(f"more than {name} {limit:g}")
    if form.pattern is not None and isinstance(value, str) and not _fits(form.pattern, value):
        raise ValueError(f"{value!r} does not match {form.pattern}")
    return value


def _fits(pattern: str, value: str) -> bool:
    import regex

    try:
        return regex.search(pattern, value, timeout=_PATTERN_SECONDS) is not None
    except TimeoutError:
        raise ValueError(f"takes too long to compare with the pattern {pattern}") from None
