"""500 instances at once, half of them waiting for people: how responsive, how large.

    python benchmarks/bpmn/crowd.py [--instances 500] [--rounds 100] [--json out.json]

The instances begin in a state folder; `mlkit bpmn resume --all` runs them. Half of them wait in
a user task, the others loop through a short script. Meanwhile `mlkit bpmn list` is called from the
shell, and the memory of the engine and its workers is read (proportional set size). At the end
`mlkit bpmn run` of a diagram with one script is timed, alone, from the shell.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlkit.bpmn.runtime.session import Session

HEAD = (
    '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" id="d" targetNamespace="t">'
    '<process id="p" isExecutable="true"><startEvent id="s"/>'
)
TAIL = "</process></definitions>"
CROWD = f"""{HEAD}
<exclusiveGateway id="who" default="f2"/><userTask id="ask"/>
<exclusiveGateway id="again"/><scriptTask id="count"><script>n += 1</script></scriptTask>
<exclusiveGateway id="more" default="f6"/><endEvent id="e"/>
<sequenceFlow id="f1" sourceRef="s" targetRef="who"/>
<sequenceFlow id="f2" sourceRef="who" targetRef="again"/>
<sequenceFlow id="f3" sourceRef="who" targetRef="ask">
  <conditionExpression>n == 0</conditionExpression></sequenceFlow>
<sequenceFlow id="f4" sourceRef="again" targetRef="count"/>
<sequenceFlow id="f5" sourceRef="count" targetRef="more"/>
<sequenceFlow id="f6" sourceRef="more" targetRef="again"/>
<sequenceFlow id="f7" sourceRef="more" targetRef="e">
  <conditionExpression>n &gt; rounds</conditionExpression></sequenceFlow>
<sequenceFlow id="f8" sourceRef="ask" targetRef="e"/>{TAIL}"""
ONE = f"""{HEAD}<scriptTask id="t"><script>x = 1</script></scriptTask><endEvent id="e"/>
<sequenceFlow id="f1" sourceRef="s" targetRef="t"/>
<sequenceFlow id="f2" sourceRef="t" targetRef="e"/>{TAIL}"""
MLKIT = [sys.executable, "-m", "mlkit", "bpmn"]


def timed(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def memory(root: int) -> float:
    """Return the megabytes of a process and its children."""
    children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    total = 0.0
    for each in (root, *map(int, children)):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return total


def crowd(folder: Path, instances: int, rounds: int) -> dict[str, object]:
    diagram = folder / "crowd.bpmn"
    diagram.write_text(CROWD)
    with Session(folder / ".mlkit", create=True) as session:
        for number in range(instances):
            session.begin(diagram, {"n": number % 2, "rounds": rounds})
    start = time.perf_counter()
    lists, peak = [], 0.0
    with subprocess.Popen(
        [*MLKIT, "resume", "--all", "--no-input"], cwd=folder, stdout=subprocess.DEVNULL
    ) as engine:
        while engine.poll() is None:
            try:
                peak = max(peak, memory(engine.pid))
            except OSError:  # it has just ended
                break
            lists.append(timed([*MLKIT, "list"], folder))
    took = time.perf_counter() - start
    return {
        "instances": instances,
        "scripts a second": round(instances // 2 * rounds / took),
        "`list` meanwhile, s": [round(each(lists), 3) for each in (statistics.median, max)],
        "peak MB": round(peak),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--instances", type=int, default=500)
    arguments.add_argument("--rounds", type=int, default=100)
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        found = crowd(folder, options.instances, options.rounds)
        (folder / "one.bpmn").write_text(ONE)
        times = [timed([*MLKIT, "run", "one.bpmn"], folder) for _ in range(10)]
    found["`run` of one script, s"] = [round(each(times), 3) for each in (min, statistics.median)]
    for key, value in found.items():
        print(f"{key}: {value}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
