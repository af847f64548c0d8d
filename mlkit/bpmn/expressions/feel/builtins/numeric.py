"""Functions of numbers (DMN 1.5, 10.3.4.5)."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any

from mlkit.bpmn.expressions.feel.arithmetic import negative
from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.builtins.arguments import numeric
from mlkit.bpmn.expressions.feel.builtins.registry import Table, declare
from mlkit.bpmn.expressions.feel.numbers import CONTEXT, WIDE, round_to, whole
from mlkit.bpmn.expressions.feel.values import Days, Months, Refused

NUMERIC: Table = {}
_EXPENSIVE = 100
_ZERO = Decimal(0)


def _rounding(name: str, signature: str, mode: str) -> None:
    @declare(NUMERIC, name, signature)
    def _rounded(run: Run, number: Any, scale: Any = Decimal(0)) -> Decimal:
        return round_to(numeric(number), whole(scale), mode)


_rounding("decimal", "n, scale", decimal.ROUND_HALF_EVEN)
_rounding("floor", "n, scale?", decimal.ROUND_FLOOR)
_rounding("ceiling", "n, scale?", decimal.ROUND_CEILING)
_rounding("round up", "n, scale", decimal.ROUND_UP)
_rounding("round down", "n, scale", decimal.ROUND_DOWN)
_rounding("round half up", "n, scale", decimal.ROUND_HALF_UP)
_rounding("round half down", "n, scale", decimal.ROUND_HALF_DOWN)


@declare(NUMERIC, "abs", "n")
def _abs(run: Run, number: Any) -> Any:
    if type(number) is Days or type(number) is Months:
        return number if number[0] >= 0 else negative(number)
    return numeric(number).copy_abs()


@declare(NUMERIC, "modulo", "dividend, divisor")
def _modulo(run: Run, dividend: Any, divisor: Any) -> Decimal:
    """Return the remainder with the sign of the divisor: a - b * floor(a / b)."""
    digits = numeric(dividend).adjusted() - numeric(divisor).adjusted() + 1
    context = CONTEXT if digits <= CONTEXT.prec else WIDE  # That of the quotient's digits.
    run.charge(max(digits, 0) >> 4)
    rest = context.remainder(dividend, divisor)
    return CONTEXT.add(rest, divisor if rest and (rest < 0) != (divisor < 0) else _ZERO)


@declare(NUMERIC, "sqrt", "number")
def _sqrt(run: Run, number: Any) -> Decimal:
    run.charge(_EXPENSIVE // 10)
    return CONTEXT.sqrt(numeric(number))


@declare(NUMERIC, "log", "number")
def _log(run: Run, number: Any) -> Decimal:
    if numeric(number) <= 0:
        raise Refused
    run.charge(_EXPENSIVE)
    return CONTEXT.ln(number)


@declare(NUMERIC, "exp", "number")
def _exp(run: Run, number: Any) -> Decimal:
    run.charge(_EXPENSIVE)
    return CONTEXT.exp(numeric(number))


@declare(NUMERIC, "odd", "number")
def _odd(run: Run, number: Any) -> bool:
    return _is_whole(number) and _parity(number) == 1


@declare(NUMERIC, "even", "number")
def _even(run: Run, number: Any) -> bool:
    return _is_whole(number) and _parity(number) == 0


def _is_whole(number: Any) -> bool:
    return bool(numeric(number) == number.to_integral_value())


def _parity(number: Decimal) -> int:
    if number.as_tuple().exponent > 0:  # type: ignore[operator]
        return 0  # A multiple of ten.
    return int(number) % 2
