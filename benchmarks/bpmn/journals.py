"""Instances of ten durable script tasks a second over REST: PostgreSQL, SQLite and DBOS.

    python benchmarks/bpmn/journals.py [--instances 400] [--rounds 3] [--dbos PYTHON] [--json FILE]

`mlkit bpmn serve` of the same settings, one server after the other, in turns, 32 starts in flight.
PostgreSQL is Debian's, in a temporary folder, with every commit synced. `--dbos` names an
interpreter that has DBOS (`pip install dbos`; default: this one), which does workflows of ten
durable steps on the same PostgreSQL, 32 at once. Without DBOS the benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rest import TASKS, drawing, over_rest
from served import load, new_schema, postgresql, serving

from mlkit.bpmn import Client

PEER = Path(__file__).parent / "dbos_peer.py"


def instances(state: Path, diagram: Path, journal: str | None, count: int) -> float:
    """Return how many instances a second a new server completes."""
    with serving(state, journal) as server:
        with Client(server.url) as client:
            client.deploy([diagram])
            client.start("ten", {"n": 0})
        return over_rest(server.url, count)


def require_dbos(python: str) -> None:
    """Fail where the peer is missing."""
    command = [python, "-c", "import dbos"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise SystemExit(
            "missing: DBOS (pip install dbos; --dbos names an interpreter that has it)"
        )


def workflows(python: str, url: str, count: int) -> float:
    """Return how many workflows a second DBOS completes."""
    command = [python, str(PEER), url, str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure in turns, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dbos", metavar="PYTHON", default=sys.executable)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    require_dbos(chosen.dbos)
    count = chosen.instances
    found: dict[str, list[float]] = {"sqlite": [], "postgresql": [], "dbos": []}
    with tempfile.TemporaryDirectory(prefix="mlkit-") as name:
        folder = Path(name)
        diagram = folder / "ten.bpmn"
        diagram.write_text(drawing())
        with postgresql(folder) as server:
            for turn in range(chosen.rounds):
                url = new_schema(server)
                state = folder / f"state{turn}"
                found["sqlite"].append(instances(state / "sqlite", diagram, None, count))
                found["postgresql"].append(instances(state / "postgresql", diagram, url, count))
                rate = workflows(chosen.dbos, server.url(), max(count // 10, 20))
                found["dbos"].append(rate)
    medians = {place: statistics.median(values) for place, values in found.items()}
    ratios = {place: medians["postgresql"] / medians[place] for place in medians}
    print(f"{TASKS} durable scripts, instances per second (load {load():.1f})")
    for place, value in medians.items():
        print(f"{place:>10} {value:8.1f}   PostgreSQL is {ratios[place]:.2f} times as fast")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({**medians, "ratios": ratios, "load": load()}, indent=1))


if __name__ == "__main__":
    main()
