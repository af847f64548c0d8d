"""Values as tagged JSON: what JSON lacks is an object with one key.

Numbers are `{"n": "1.5"}`, dates `{"d"}`, times `{"t"}`, dates and times `{"dt"}`, durations
`{"ym": "P14M"}` and `{"dd": "seconds"}`, contexts `{"c": {...}}`, ranges
`{"r": ["[", low, high, ")"]}`, functions `{"f": number of parameters}`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel import temporal
from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.numbers import CONTEXT
from mlkit.bpmn.expressions.feel.values import (
    SECOND,
    Date,
    DateTime,
    Days,
    Function,
    Months,
    Range,
    Time,
)
from mlkit.bpmn.expressions.feel.writing import MAX_LEVELS


def tag(run: Run, value: Any, level: int = 0) -> Any:
    """Return a value as tagged JSON.

    Raises:
        LimitReached: It is too large, or nests too deeply.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    run.charge(1)
    if level > MAX_LEVELS:
        raise LimitReached("values nest too deeply")
    if kind is str:
        run.charge(len(value) >> 4)
        return value
    if kind is list:
        return [tag(run, each, level + 1) for each in value]
    if kind is dict:
        return {"c": {name: tag(run, each, level + 1) for name, each in value.items()}}
    if kind is Range:
        low, high = (tag(run, each, level + 1) for each in (value.start, value.end))
        opening, closing = "[" if value.start_included else "(", "]" if value.end_included else ")"
        return {"r": [opening, low, high, closing]}
    return _TAGS[kind](value)


def _seconds(length: Days) -> str:
    whole, fraction = divmod(abs(length.nanos), SECOND)
    text = f"{whole}.{fraction:09d}".rstrip("0").rstrip(".")
    return f"-{text}" if length.nanos < 0 else text


def _months(length: Months) -> str:
    return f"{'-' if length.months < 0 else ''}P{abs(length.months)}M"


_TAGS: dict[type, Callable[[Any], Any]] = {
    Decimal: lambda value: {"n": str(value.normalize(CONTEXT)) if value else "0"},
    Date: lambda value: {"d": temporal.write_date(value)},
    Time: lambda value: {"t": temporal.write_time(value)},
    DateTime: lambda value: {"dt": temporal.write_date_time(value)},
    Days: lambda value: {"dd": _seconds(value)},
    Months: lambda value: {"ym": _months(value)},
    Function: lambda value: {"f": len(value.parameters)},
}
