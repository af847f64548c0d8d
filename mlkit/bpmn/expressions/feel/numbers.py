"""Numbers: decimal128 with 34 digits (DMN 1.5, 10.3.2.3.1)."""

from __future__ import annotations

from decimal import (
    ROUND_HALF_EVEN,
    Clamped,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from typing import Any

from mlkit.bpmn.expressions.feel.values import Refused

MIN_SCALE, MAX_SCALE = -6111, 6176

CONTEXT = Context(
    prec=34,
    Emin=-6143,
    Emax=6144,
    rounding=ROUND_HALF_EVEN,
    traps=[InvalidOperation, DivisionByZero, Overflow],
)
# Wide enough to round at any scale that is allowed, and for the quotient of any two numbers.
WIDE = Context(prec=13_000, Emin=-20_000, Emax=20_000, traps=[InvalidOperation, Clamped])
_ONE = Decimal(1)


def number(value: int | str | Decimal) -> Decimal | None:
    """Return a number rounded to 34 digits; None where its exponent does not fit."""
    try:
        found = CONTEXT.create_decimal(value)
    except ArithmeticError:
        return None
    return found if found.is_finite() else None


def power(base: Decimal, exponent: Decimal) -> Decimal | None:
    """Return base to an exponent; None where that is not a number."""
    if not exponent:
        return _ONE
    try:
        return CONTEXT.power(base, exponent)
    except ArithmeticError:
        return None


def round_to(value: Decimal, scale: int, mode: str) -> Decimal:
    """Return a number rounded to a scale.

    Raises:
        Refused: The scale is outside of -6111..6176.
    """
    if not MIN_SCALE <= scale <= MAX_SCALE:
        raise Refused
    if value.adjusted() + scale >= CONTEXT.prec:
        return value  # All of its digits stay, and no more zeros fit.
    found = value.quantize(Decimal((0, (1,), -scale)), mode, WIDE)
    return _settle(found)


def _settle(value: Decimal) -> Decimal:
    """Return a rounded number in plain notation: 120, never 1.2E+2."""
    if value.as_tuple().exponent > 0:  # type: ignore[operator]
        value = CONTEXT.create_decimal(value.normalize(WIDE))
        if value.adjusted() < CONTEXT.prec:
            return value.quantize(_ONE, context=WIDE)
    return CONTEXT.create_decimal(value)


def whole(value: Any) -> int:
    """Return the whole part of a number of ordinary size.

    Raises:
        Refused: It is not a number, or has more than 18 digits: no position, count or part of
            a date is that large.
    """
    if type(value) is not Decimal or value.adjusted() > 17:
        raise Refused
    return int(value)


def format_number(value: Decimal) -> str:
    """Return a number without an exponent."""
    return format(value, "f") if value else format(abs(value), "f")
