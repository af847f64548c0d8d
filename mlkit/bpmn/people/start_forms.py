"""The form of a start event: what is asked of who starts a process."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlkit.bpmn.definition.model import FormField, Process
from mlkit.bpmn.people import tasks
from mlkit.bpmn.people.forms import Entry, Form
from mlkit.errors import BadData
from mlkit.workers.child.values import Unstorable, pack


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
        raise BadData(f"start form: {'; '.join(problems)}")
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
