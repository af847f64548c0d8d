"""Estimate a policy's value from the log of another one, and print it beside what it earned.

    python examples/bandit/beside_truth.py random_men.csv.gz bts_men.csv.gz

The first log was made by random choices, the second one by the policy that is to be judged. Its
probabilities are taken to be the shares in which it showed each arm at each position, and are
left in bts.csv. The estimates are those of `mlkit bandit evaluate`, which sees none of the
second log's rewards.
"""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

SHOWN = ("ips", "snips", "dm", "dr", "switch-dr")
TABLE = Path("bts.csv")


def rows_of(path: str) -> list[dict[str, str]]:
    """Read a log."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_shares(rows: list[dict[str, str]], path: Path) -> None:
    """Write the share of each arm at each position as a table of probabilities."""
    shown = Counter((row["position"], row["item_id"]) for row in rows)
    places = Counter(row["position"] for row in rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["position", "arm", "probability"])
        for (position, arm), count in sorted(shown.items()):
            table.writerow([position, arm, count / places[position]])


def evaluate(log: str, policy: str) -> dict:
    """Run `mlkit bandit evaluate` and return its document."""
    command = ["mlkit", "bandit", "evaluate", log, "--policy", policy, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def line(name: str, estimate: dict) -> str:
    """Return a line of the table, in rewards per 1,000 arms shown."""
    low, high = (1000 * end for end in estimate["bootstrap"])
    return f"{name:<38}{1000 * estimate['value']:5.2f}   {low:5.2f} to {high:5.2f}"


def main(random_log: str, policy_log: str) -> None:
    """Print the estimates and the truth."""
    write_shares(rows_of(policy_log), TABLE)
    judged = evaluate(random_log, str(TABLE))
    policy = judged["policies"][0]
    truth = evaluate(policy_log, "uniform")["log"]["value"]
    print("clicks per 1,000 arms shown            value   95 % interval")
    print(line("random choices, as logged", judged["log"]["value"]))
    for each in policy["estimates"]:
        if each["estimator"] in SHOWN:
            print(line(f"the policy, estimated ({each['estimator']})", each))
    print(line("the policy, what it earned: the truth", truth))
    for warning in policy["warnings"]:
        print(f"warning: {warning}")
    low, high = next(e["bootstrap"] for e in policy["estimates"] if e["estimator"] == "dr")
    where = "inside" if low <= truth["value"] <= high else "outside"
    print(f"the truth is {where} the interval of the doubly robust estimate")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
