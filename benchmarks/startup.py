"""Time of `mlkit --help` beside `import typer`: `python benchmarks/startup.py [--json FILE]`.

Both are new processes, in turns, so that a swing of the machine meets both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

COMMANDS = {
    "import typer": [sys.executable, "-c", "import typer"],
    "mlkit --help": [str(Path(sys.executable).with_name("mlkit")), "--help"],
    "mlkit --version": [str(Path(sys.executable).with_name("mlkit")), "--version"],
    "mlkit bandit --help": [str(Path(sys.executable).with_name("mlkit")), "bandit", "--help"],
}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(options.rounds):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    table = Table(title="A new process, ms")
    for column in ("command", "min", "median", "ratio to import typer"):
        table.add_column(column, justify="left" if column == "command" else "right")
    found = {}
    for name, each in times.items():
        ratios = [mine / peer for mine, peer in zip(each, times["import typer"], strict=True)]
        found[name] = {
            "min": min(each),
            "median": statistics.median(each),
            "ratio": statistics.median(ratios),
        }
        table.add_row(
            name,
            f"{min(each) * 1e3:.0f}",
            f"{found[name]['median'] * 1e3:.0f}",
            f"{found[name]['ratio']:.2f}",
        )
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
