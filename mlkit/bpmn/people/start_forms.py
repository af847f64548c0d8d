"""The form of a start event: what is asked of who starts a process."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlkit.bpmn.definition.model import FormField, Process
from mlkit.bpmn.people import tasks
from mlkit.bpmn.people.forms import Entry, Form, flat, nest, pack_variables
from mlkit.errors import BadData
from mlkit.workers.child.values import Unstorable, pack

_HINT = "its fields: GET /api/v1/definitions/PROCESS/form; files are uploaded on its page"


def form_of(process: Process) -> Form:
    """Return the form of the plain start event of a process; empty: it has none."""
    for node in process.body.nodes.values():
        if node.type == "startEvent" and (node.event is None or node.event.kind == "none"):
            return node.form
    return ()


def entry(form: Form, given: Mapping[str, Any]) -> Entry:
    """Return a form with some values filled in; there are no variables yet."""
    found = {each.id: _default(each) for each in form}
    return Entry(form, given, {name: e for name, e in found.items() if e is not None}, {})


def fill(form: Form, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the values that somebody gives; return them as they are stored.

    Raises:
        BadData: A value is wrong or missing; the message goes field by field.
    """
    values, problems = entry(form, given).values()
    if problems:
        raise BadData(f"start form: {'; '.join(problems)}", hint=_HINT)
    return values


def fill_with_others(form: Form, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the values that a form asks for, among others that it does not know.

    Returns:
        All variables to start with, as they are stored.

    Raises:
        BadData: A value of the form is wrong or missing, or another cannot be stored.
    """
    if not form:
        return pack_variables(given)
    known = {each.id for each in form}
    objects = {each.partition(".")[0] for each in known if "." in each}
    for name in sorted(objects - known):
        if not isinstance(given.get(name, {}), dict):
            raise BadData(f"start form: {name}: is not an object with its fields")
    outside = {name: e for name, e in given.items() if name not in known | objects}
    asked = flat({name: e for name, e in given.items() if name not in outside}, known)
    values = fill(form, {name: e for name, e in asked.items() if name in known})
    beside = pack_variables(nest((n, e) for n, e in asked.items() if n not in known))
    return _merge({**pack_variables(outside), **values}, beside)


def _merge(values: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Add what others have within the same objects."""
    for name, each in others.items():
        here = values.get(name)
        values[name] = _merge(here, each) if isinstance(here, dict) else each
    return values


def describe(form: Form) -> list[dict[str, Any]]:
    """Describe the fields that are shown at first, as documents have them."""
    start = entry(form, {})
    return [tasks.field_document(each, start.defaults.get(each.id)) for each in start.list_shown()]


def _default(field: FormField) -> Any:
    if field.default is None:
        return None

    def lookup(name: str) -> Any:
        raise KeyError(name)

    with contextlib.suppress(BadData, Unstorable):
        return pack(field.default.evaluate(lookup, datetime.now(UTC)))
    return None
