"""CPU time of `--help` beside a Typer program with two commands: `python benchmarks/startup.py`.

Each is a new process, in turns, so that a swing of the machine meets all. They write to a pipe
and, once more, to a terminal, where frames are drawn: by rich in the peer, by `cli/frames.py` here.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

PROGRAM = """
import typer
app = typer.Typer({settings})
@app.command()
def hello(name: str, count: int = 1) -> None: "Greet."
@app.command()
def bye(name: str, formal: bool = False) -> None: "Part."
app()
"""
PEER = "two commands of typer --help"
MLKIT = str(Path(sys.executable).with_name("mlkit"))


def _peer(settings: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM.format(settings=settings), *arguments]


COMMANDS = {
    PEER: _peer("", "--help"),
    "two commands of typer hello --help": _peer("", "hello", "--help"),
    "the same, without rich --help": _peer("rich_markup_mode=None", "--help"),
    "the same, without rich hello --help": _peer("rich_markup_mode=None", "hello", "--help"),
    "import typer": [sys.executable, "-c", "import typer"],
    "mlkit --help": [MLKIT, "--help"],
    "mlkit bandit --help": [MLKIT, "bandit", "--help"],
    "mlkit bandit fit --help": [MLKIT, "bandit", "fit", "--help"],
    "mlkit pairs --help": [MLKIT, "pairs", "--help"],
    "mlkit pairs backtest --help": [MLKIT, "pairs", "backtest", "--help"],
    "mlkit bpmn --help": [MLKIT, "bpmn", "--help"],
    "mlkit bpmn run --help": [MLKIT, "bpmn", "run", "--help"],
    "mlkit image --help": [MLKIT, "image", "--help"],
    "mlkit image slim --help": [MLKIT, "image", "slim", "--help"],
}


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _on_a_terminal(command: list[str]) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs) as child:
        os.close(theirs)
        while child.poll() is None:
            try:
                os.read(ours, 65536)
            except OSError:  # the terminal has gone with the program
                break
    os.close(ours)


def seconds(command: list[str], terminal: bool) -> float:
    """Run a command and return the seconds of CPU time that it took."""
    before = _used()
    if terminal:
        _on_a_terminal(command)
    else:
        subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return _used() - before


def measure(rounds: int, terminal: bool) -> dict[str, dict[str, float]]:
    """Return the median of each command, and of its ratio to the peer in the same round."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command, terminal))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return {
        name: {
            "median": statistics.median(each),
            "ratio": statistics.median(a / b for a, b in zip(each, times[PEER], strict=True)),
        }
        for name, each in times.items()
    }


def _table(found: dict[str, dict[str, dict[str, float]]]) -> Table:
    table = Table(title="CPU time of a new process, ms, and its ratio to the first row")
    table.add_column("command")
    for place in found:
        table.add_column(place, justify="right")
        table.add_column("ratio", justify="right")
    for name in COMMANDS:
        cells = [(each[name]["median"] * 1e3, each[name]["ratio"]) for each in found.values()]
        table.add_row(
            name, *(text for ms, ratio in cells for text in (f"{ms:.0f}", f"{ratio:.2f}"))
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {
        "pipe": measure(options.rounds, terminal=False),
        "terminal": measure(options.rounds, terminal=True),
    }
    Console().print(_table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
