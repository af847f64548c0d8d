"""Random expressions on which Kie and feel-scala agree: ours agrees too."""

from __future__ import annotations

import random
import re
import subprocess
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from mlkit.bpmn.expressions.feel import compile_expression
from mlkit.bpmn.expressions.feel.budget import Run
from mlkit.bpmn.expressions.feel.numbers import format_number as plain
from mlkit.bpmn.expressions.feel.values import Date, Days, Months
from mlkit.bpmn.expressions.tree import ExpressionError

NOW = datetime(2026, 1, 2, tzinfo=UTC)
COUNT = 600
ATOMS = {
    "n": ["0", "1", "2", "-1", "1.5", "10", "-2.5", "null"],
    "s": ['"a"', '"foobar"', '""', '"A b"'],
    "b": ["true", "false", "null"],
    "l": ["[1, 2, 3]", "[]", "[3, 1, 2]", "[1, null]"],
    "d": ['@"2024-01-31"', 'date("2023-12-25")', '@"2024-02-29"'],
    "t": ['@"P1D"', '@"PT1H30M"', '@"-PT5M"'],
    "m": ['@"P1Y"', '@"P14M"', '@"-P1M"'],
}
FORMS = {
    "n": ["{n} + {n}", "{n} - {n}", "{n} * {n}", "{n} / {n}", "abs({n})", "floor({n})",
          "sum({l})", "min({l})", "max({l})", "count({l})", "modulo({n}, {n})", "{l}[1]", "-{n}",
          "string length({s})", "({d}).month", "({t}).hours", "if {b} then {n} else {n}",
          "{{k: {n}, j: k + 1}}.j", "decimal({n}, 1)", "round up({n}, 0)"],
    "s": ["{s} + {s}", "substring({s}, 2)", "upper case({s})", "substring before({s}, {s})",
          "day of week({d})", 'replace({s}, "[ao]", "-")', "string({b})"],
    "b": ["{n} < {n}", "{n} = {n}", "{s} = {n}", "({b} and {b})", "({b} or {b})", "not({b})",
          "{n} in (1..5)", "{n} in (> 2)", "contains({s}, {s})", "list contains({l}, {n})",
          "{d} < {d}", "{t} >= {t}", "{m} = {m}", "{d} instance of date"],
    "l": ["append({l}, {n})", "reverse({l})", "distinct values({l})", "{l}[item > {n}]",
          "for x in [1, 2] return x + {n}", "concatenate([{n}], [{n}])", "[{b}, {s}]",
          "sort([{n}, {n}], function(p, q) p < q)", "flatten([{l}, [{n}]])"],
    "d": ["({d} + {t})", "({d} - {m})", "({d} + {m})", "date(2024, 2, {n})"],
    "t": ["({t} + {t})", "({d} - {d})", "({t} * 2)", "abs({t})"],
    "m": ["({m} + {m})", "({m} * 3)", "years and months duration({d}, {d})"],
}  # fmt: skip


def expression(source, kind, depth):
    if depth == 0:
        return source.choice(ATOMS[kind])
    form = source.choice(FORMS[kind])
    filled = re.sub(r"(?<!\{)\{([a-z])\}", lambda m: expression(source, m[1], depth - 1), form)
    return filled.replace("{{", "{").replace("}}", "}")


def written(value):
    """Write a value as `Answers.java` does."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, Decimal):
        return plain(value.normalize()) if value else "0"
    if isinstance(value, Date):
        return f"{value.year:04d}-{value.month:02d}-{value.day:02d}"
    if isinstance(value, Days):
        return f"{value.nanos} nanoseconds"
    if isinstance(value, Months):
        return f"{value.months} months"
    if isinstance(value, dict):
        parts = sorted((name, written(each)) for name, each in value.items())
        return "{" + ", ".join(f"{name}={each}" for name, each in parts) + "}"
    return f"[{', '.join(map(written, value))}]"


def ours(text):
    try:
        return written(compile_expression(text).value(Run(text, NOW), {}.__getitem__))
    except ExpressionError:
        return "failed"


def near(one, other):
    """Compare; feel-scala hands numbers out as binary floats."""
    number = re.compile(r"-?\d+(?:\.\d+)?")
    if number.sub("#", one) != number.sub("#", other):
        return False
    pairs = zip(number.findall(one), number.findall(other), strict=True)
    return all(
        abs(Decimal(a) - Decimal(b)) <= Decimal("1e-12") * max(1, abs(Decimal(a))) for a, b in pairs
    )


@pytest.mark.slow
def test_where_two_engines_agree_ours_does(engines):
    source = random.Random(2026)
    asked = [
        expression(source, source.choice("nsbldtm"), source.choice([1, 2, 2])) for _ in range(COUNT)
    ]
    java = ["java", "-XX:+UseSerialGC", "-Duser.timezone=UTC", "-cp", ".:lib/*", "Answers"]
    done = subprocess.run(
        java, cwd=engines, input="\n".join(asked), capture_output=True, text=True, check=True
    )
    answers = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(answers) == COUNT
    agreed = [
        (text, kie) for text, (kie, scala) in zip(asked, answers, strict=True) if near(kie, scala)
    ]
    assert len(agreed) > COUNT / 2
    different = [(text, ours(text), kie) for text, kie in agreed if not near(ours(text), kie)]
    assert different == []
