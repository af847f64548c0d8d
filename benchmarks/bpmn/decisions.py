"""Expressions and decisions a second, and large tables.

    python benchmarks/bpmn/decisions.py [--seconds 1] [--json out.json]

All in one process, on one core: FEEL, JUEL and Python expressions that are compiled already, a
table of 10 rules by 4 columns, and one of 5,000. Tables are made of ranges and texts at random.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mlkit.bpmn import Decisions
from mlkit.bpmn.expressions import Expression

INPUTS = {"x0": 500, "x1": "v7", "x2": 300, "x3": "v9"}
NOW = datetime(2026, 1, 2, tzinfo=UTC)
VALUES = {"n": 3, "region": "EU", "items": list(range(10)), "order": {"total": 9}}
EXPRESSIONS = {
    "feel condition": ('=n > 2 and region = "EU"', "feel"),
    "feel filter": ("=count(items[item > n])", "feel"),
    "feel dates": ('=@"2024-01-31" + @"P1M" < date("2024-03-01")', "feel"),
    "juel condition": ("${n > 2 && region == 'EU'}", "juel"),
    "python condition": ("n > 2 and region == 'EU'", "python"),
}


def rate(act: Callable[[], object], seconds: float) -> float:
    """Return how often a second something can be done."""
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        for _ in range(20):
            act()
        count += 20
    return count / elapsed


def table(rules: int, columns: int = 4) -> str:
    """Return a model with one table of ranges and texts."""
    source = random.Random(1)

    def cell(column: int) -> str:
        low = source.randint(0, 1000)
        return f'"v{source.randint(0, 50)}"' if column % 2 else f"[{low}..{low + 50}]"

    rows = "".join(
        "<rule>"
        + "".join(f"<inputEntry><text>{cell(at)}</text></inputEntry>" for at in range(columns))
        + f"<outputEntry><text>{number}</text></outputEntry></rule>"
        for number in range(rules)
    )
    names = [f"x{at}" for at in range(columns)]
    data = "".join(f'<inputData id="{each}" name="{each}"/>' for each in names)
    needs = "".join(
        f'<informationRequirement><requiredInput href="#{each}"/></informationRequirement>'
        for each in names
    )
    inputs = "".join(
        f"<input><inputExpression><text>{each}</text></inputExpression></input>" for each in names
    )
    return (
        '<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" name="m" namespace="u">'
        f'{data}<decision id="d" name="d">{needs}<decisionTable hitPolicy="FIRST">{inputs}<output/>'
        f"{rows}</decisionTable></decision></definitions>"
    )


def measure(seconds: float) -> dict[str, float]:
    """Return all figures by name."""
    found = {}
    for name, (text, language) in EXPRESSIONS.items():
        each = Expression(text, language)
        found[f"{name}, evaluations/s"] = rate(
            lambda each=each: each.evaluate(VALUES.__getitem__, NOW), seconds
        )
    with tempfile.TemporaryDirectory() as folder:
        for rules in (10, 5000):
            path = Path(folder) / f"{rules}.dmn"
            path.write_text(table(rules))
            start = time.perf_counter()
            decisions = Decisions(path)
            found[f"{rules} rules, load, s"] = time.perf_counter() - start
            found[f"{rules} rules, decisions/s"] = rate(
                lambda d=decisions: d.evaluate("d", INPUTS, NOW), seconds
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.seconds)
    for name, value in found.items():
        print(f"{name:40} {value:14,.3f}" if value < 10 else f"{name:40} {value:14,.0f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
