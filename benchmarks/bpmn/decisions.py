"""Expressions and decisions a second, and large tables.

    python benchmarks/bpmn/decisions.py [--seconds 1] [--rows 1000000] [--json out.json]

All in one process, on one core, by the processor's time: FEEL, JUEL and Python expressions that are
compiled already, a table of 10 rules by 4 columns, one of 5,000, and a CSV of many rows. Tables are
made of ranges and texts at random.
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

from tables import table

from mlkit.bpmn import Decisions
from mlkit.bpmn.decisions.rows import decide_rows
from mlkit.bpmn.expressions import Expression
from mlkit.progress import silent

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
    """Return how often a second of the processor's time something can be done."""
    count, start = 0, time.process_time()
    while (elapsed := time.process_time() - start) < seconds:
        for _ in range(20):
            act()
        count += 20
    return count / elapsed


def _rows(folder: Path, rows: int) -> float:
    """Return how many rows of a CSV file are decided in a second of the processor's time."""
    asked, source = table(10), random.Random(2)

    def cell(like: int | str) -> str:
        return like if isinstance(like, str) else f"{like + source.randint(-50, 100) / 2}"

    with (folder / "rows.csv").open("w") as file:
        file.write("x0,x1,x2,x3\n")
        for _ in range(rows):
            file.write(",".join(map(cell, source.choice(asked.rows))) + "\n")
    decisions = Decisions(folder / "10.dmn")
    start = time.process_time()
    decide_rows(decisions, "d", folder / "rows.csv", folder / "out.csv", {}, silent)
    return rows / (time.process_time() - start)


def measure(seconds: float, rows: int) -> dict[str, float]:
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
            asked = table(rules)
            path.write_text(asked.dmn())
            start = time.process_time()
            decisions = Decisions(path)
            found[f"{rules} rules, load, s"] = time.process_time() - start
            found[f"{rules} rules, decisions/s"] = rate(
                lambda d=decisions, a=asked.inputs: d.evaluate("d", a, NOW), seconds
            )
        found["rows of a CSV through 10 rules, rows/s"] = _rows(Path(folder), rows)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.seconds, options.rows)
    for name, value in found.items():
        print(f"{name:40} {value:14,.3f}" if value < 10 else f"{name:40} {value:14,.0f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
