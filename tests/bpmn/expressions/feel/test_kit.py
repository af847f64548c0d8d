"""FEEL against the public compatibility kit, and where two well-kept engines agree."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from mlkit.bpmn.expressions.feel import compile_expression
from mlkit.bpmn.expressions.feel.temporal import parse_duration
from mlkit.bpmn.expressions.feel.values import Months
from mlkit.bpmn.expressions.tree import ExpressionError

HERE = Path(__file__).parent
NOW = datetime(2026, 1, 2, tzinfo=UTC)
KIT = [
    json.loads(line)
    for line in (HERE / "kit" / "literals.jsonl").read_text("utf-8").split("\n")[:-1]
]
ORACLES = [
    json.loads(line) for line in (HERE / "oracles.jsonl").read_text("utf-8").split("\n")[:-1]
]


def answer(text, variables=None):
    """Return the value as tagged JSON; what is not an expression counts as null, as in the kit."""
    try:
        return compile_expression(text).evaluate_tagged((variables or {}).__getitem__, NOW)
    except ExpressionError:
        return None


def is_as_expected(found, expected):
    """Compare as the kit does: numbers to eight digits."""
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(map(is_as_expected, found, expected))
        )
    if not isinstance(expected, dict):
        return type(found) is type(expected) and found == expected
    ((tag, value),) = expected.items()
    if tag == "dur":
        return is_duration(found, parse_duration(value))
    if not isinstance(found, dict) or tag not in found:
        return False
    if tag == "n":
        wanted = Decimal(value)
        return abs(Decimal(found["n"]) - wanted) <= Decimal("1e-8") * max(1, abs(wanted))
    if tag == "c":
        return found["c"].keys() == value.keys() and all(
            is_as_expected(found["c"][name], each) for name, each in value.items()
        )
    return found[tag] == value


def is_duration(found, wanted):
    if isinstance(wanted, Months):
        return found == {"ym": f"{'-' * (wanted.months < 0)}P{abs(wanted.months)}M"}
    return "dd" in found and Decimal(found["dd"]) * 10**9 == wanted.nanos


@pytest.mark.parametrize("group", KIT, ids=lambda group: group["source"])
def test_literal_decisions_of_the_kit(group):
    wrong = [
        (text, found, expected)
        for text, expected in group["cases"]
        if not is_as_expected(found := answer(text), expected)
    ]
    assert wrong == []


@pytest.mark.parametrize("case", ORACLES, ids=lambda case: case["expr"])
def test_two_engines_agree(case):
    assert is_as_expected(answer(case["expr"], case["context"]), case["expected"])
