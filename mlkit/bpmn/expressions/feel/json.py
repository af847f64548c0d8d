"""Values as JSON, for `to json` and `from json`."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel.budget import LimitReached, Run
from mlkit.bpmn.expressions.feel.numbers import format_number, number
from mlkit.bpmn.expressions.feel.values import Refused
from mlkit.bpmn.expressions.feel.writing import MAX_LEVELS, write


def write_json(run: Run, value: Any) -> str:
    """Return a value as JSON; what JSON does not know is written as text.

    Raises:
        LimitReached: It would be too long, or nests too deeply.
    """
    parts: list[str] = []
    _write(run, value, parts, 0)
    run.charge_text(sum(map(len, parts)))
    return "".join(parts)


def _write(run: Run, value: Any, parts: list[str], level: int) -> None:
    if level > MAX_LEVELS:
        raise LimitReached("values nest too deeply")
    run.charge(1)
    kind = type(value)
    if kind is list:
        parts.append("[")
        for at, each in enumerate(value):
            parts += [","] if at else []
            _write(run, each, parts, level + 1)
        parts.append("]")
    elif kind is dict:
        _write_context(run, value, parts, level)
    else:
        parts.append(_simple(run, value))
        run.charge(len(parts[-1]) >> 4)


def _write_context(run: Run, value: dict[str, Any], parts: list[str], level: int) -> None:
    parts.append("{")
    for at, (name, each) in enumerate(value.items()):
        parts.append(f"{',' if at else ''}{json.dumps(name, ensure_ascii=False)}:")
        _write(run, each, parts, level + 1)
    parts.append("}")


def _simple(run: Run, value: Any) -> str:
    if type(value) is Decimal:
        return format_number(value)
    if value is None or type(value) is bool:
        return write(run, value)
    return json.dumps(write(run, value), ensure_ascii=False)


def read_json(run: Run, text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        Refused: It is not JSON.
        LimitReached: It nests too deeply, or is too large.
    """
    run.charge(len(text))
    if _levels(text) > MAX_LEVELS:
        raise LimitReached("values nest too deeply")
    try:
        return json.loads(text, parse_int=number, parse_float=number, parse_constant=_refuse)
    except ValueError:
        raise Refused from None


def _levels(text: str) -> int:
    """Return how deep brackets nest, those inside of texts counted too."""
    level = deepest = 0
    for each in text:
        if each in "[{":
            level += 1
            deepest = max(deepest, level)
        elif each in "]}":
            level -= 1
    return deepest


def _refuse(name: str) -> Any:
    raise Refused
