"""Functions that turn values into others, and ask about them (DMN 1.5, 10.3.4.1, 10.3.4.2)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.builtins.arguments import text
from mlkit.bpmn.expressions.feel.builtins.registry import Table, declare
from mlkit.bpmn.expressions.feel.comparison import equal
from mlkit.bpmn.expressions.feel.json import read_json, write_json
from mlkit.bpmn.expressions.feel.numbers import number
from mlkit.bpmn.expressions.feel.values import DateTime, Refused, Time
from mlkit.bpmn.expressions.feel.writing import write

CONVERSION: Table = {}
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,10})?", re.ASCII)
_SEPARATORS = (" ", ",", ".", None)


@declare(CONVERSION, "number", "from, grouping separator?, decimal separator?")
def _number(run: Run, value: Any, grouping: Any = None, point: Any = None) -> Decimal | None:
    if type(value) is Decimal:
        return value
    written = text(value)
    if grouping not in _SEPARATORS or point not in (",", ".", None):
        raise Refused
    if grouping is not None and grouping == (point or "."):
        raise Refused
    written = written.replace(grouping, "") if grouping else written
    written = written.replace(point, ".") if point else written
    if not _NUMBER.fullmatch(written):
        raise Refused
    return number(written)


@declare(CONVERSION, "string", "from")
def _string(run: Run, value: Any) -> str | None:
    return None if value is None else write(run, value)


@declare(CONVERSION, "not", "negand")
def _not(run: Run, negand: Any) -> bool | None:
    return not negand if type(negand) is bool else None


@declare(CONVERSION, "is", "value1, value2")
def _is(run: Run, one: Any = None, other: Any = None) -> bool:
    """Return whether two values are the same in the domain: of one type, zones and all."""
    if type(one) is Time or type(one) is DateTime:
        return type(one) is type(other) and one == other
    return equal(run, one, other) is True


# A missing argument counts as null here (10.3.4.13).
CONVERSION["is"].append(CONVERSION["is"][0]._replace(required=1))
CONVERSION["is"].append(
    CONVERSION["is"][0]._replace(
        parameters=("value2",), required=1, function=lambda run, other: other is None
    )
)


@declare(CONVERSION, "is defined", "value")
def _is_defined(run: Run, value: Any) -> bool:
    return value is not None


@declare(CONVERSION, "get or else", "value, default")
def _get_or_else(run: Run, value: Any, default: Any) -> Any:
    return default if value is None else value


@declare(CONVERSION, "assert", "value, condition, cause?")
def _assert(run: Run, value: Any, condition: Any, cause: Any = None) -> Any:
    return value if condition is True else None


@declare(CONVERSION, "to json", "value")
def _to_json(run: Run, value: Any) -> str:
    return write_json(run, value)


@declare(CONVERSION, "from json", "value")
def _from_json(run: Run, value: Any) -> Any:
    return read_json(run, text(value))
