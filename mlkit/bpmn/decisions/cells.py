"""Values of decisions as cells of a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from mlkit.bpmn.decisions.answers import format_value
from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.interchange import Unfit, enter, leave
from mlkit.bpmn.expressions.feel.numbers import format_number
from mlkit.errors import BadData

_KINDS = ({bool}, {str}, {date}, {datetime}, {int}, {float}, {int, float})
_MAX_INTEGER = 1 << 63


def text_of(value: Any) -> str:
    """Return a value as a text: nothing for null, what is not text in FEEL's notation."""
    if value is None:
        return ""
    if type(value) is str:
        return value
    if type(value) is Decimal:
        return format_number(value)
    try:
        return format_value(enter(Run("cell", datetime.now(UTC)), value))
    except (BadData, LimitReached):
        return "(too large)"


def unify(values: Sequence[Any]) -> list[Any]:
    """Return the values of a column of one type: of their own if they share one, else as texts."""
    run = Run("column", datetime.now(UTC), len(values) + 1)
    try:
        plain = [leave(run, each) for each in values]
    except (Unfit, LimitReached):
        plain = [object()]
    kinds = {type(each) for each in plain if each is not None}
    if kinds in _KINDS and not any(type(e) is int and abs(e) >= _MAX_INTEGER for e in plain):
        return [float(e) if type(e) is int else e for e in plain] if float in kinds else plain
    return [None if each is None else text_of(each) for each in values]
