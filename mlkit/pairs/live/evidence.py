"""Rules of evidence: conditions on a pair's figures, as text or as a function in Python."""

from __future__ import annotations

import importlib
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mlkit.errors import BadData, InputMissing, UsageError

RUNNING = ("correlation", "distance", "zscore", "crossings")
"""Figures that the monitor has of all pairs at every bar."""
FITTED = ("half_life", "hurst", "r_squared", "hedge_ratio", "adjusted_p")
"""Figures of the pairs that the screen lets pass, from their history."""

_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_CONDITION = re.compile(
    rf"(?P<name>[a-z_]+)\s*(?:(?P<sign><=|>=|<|>)\s*(?P<value>{_NUMBER})"
    rf"|in\s+(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER}))"
)


class Condition(NamedTuple):
    """One condition: a figure within bounds.

    Attributes:
        name: The figure.
        holds: Whether a value satisfies it.
        text: As it was written.
    """

    name: str
    holds: Callable[[float], bool]
    text: str


@dataclass(frozen=True)
class Evidence:
    """What a pair has to satisfy to be traded.

    Attributes:
        conditions: All of them have to hold.
        function: Asked besides with all figures by name; None: there is none.
    """

    conditions: tuple[Condition, ...] = ()
    function: Callable[[Mapping[str, float]], bool] | None = None

    def against(self, figures: Mapping[str, float]) -> str | None:
        """Return the first reason against a pair; None if there is none.

        Conditions on figures that are not given are left out.

        Raises:
            BadData: The function failed.
        """
        for condition in self.conditions:
            value = figures.get(condition.name)
            if value is not None and not (not math.isnan(value) and condition.holds(value)):
                return f"{condition.text} does not hold: {condition.name} is {value:.6g}"
        if self.function is None:
            return None
        try:
            return None if self.function(dict(figures)) else "the rule of evidence is false"
        except (Exception, SystemExit) as error:
            raise BadData(f"the rule of evidence: {type(error).__name__}: {error}") from error


def parse(text: str) -> Evidence:
    """Read a rule: conditions joined by `and`, or `MODULE:FUNCTION`.

    A condition is `NAME < NUMBER` (also `<=`, `>`, `>=`) or `NAME in LOW..HIGH`, bounds included;
    a name is one of `RUNNING` and `FITTED`.

    Raises:
        UsageError: It is neither.
        InputMissing: The function cannot be imported.
    """
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text.strip()):
        return Evidence(function=_function(text.strip()))
    return Evidence(tuple(_condition(each) for each in re.split(r"\band\b", text)))


def _function(text: str) -> Callable[[Mapping[str, float]], bool]:
    module, name = text.split(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise InputMissing(f"--evidence {text}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise UsageError(f"--evidence {text}: not a function")
    return found  # type: ignore[no-any-return]


def _condition(text: str) -> Condition:
    found = _CONDITION.fullmatch(text.strip())
    if found is None:
        hint = "correlation > 0.8 and half_life in 2..40"
        raise UsageError(f"--evidence: '{text.strip()}' is not a condition", hint=hint)
    name = found["name"]
    if name not in (*RUNNING, *FITTED):
        hint = "one of " + ", ".join((*RUNNING, *FITTED))
        raise UsageError(f"--evidence: no figure '{name}'", hint=hint)
    if found["sign"] is not None:
        compare, bound = _COMPARE[found["sign"]], float(found["value"])
        return Condition(name, lambda value: compare(value, bound), found[0])
    low, high = float(found["low"]), float(found["high"])
    if low > high:
        raise UsageError(f"--evidence: {found[0]}: the bounds are the wrong way round")
    return Condition(name, lambda value: low <= value <= high, found[0])
