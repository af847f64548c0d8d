"""A table of whole stacks, slimmed in both profiles, out of the results of `make test-stacks`.

MLKIT_STACKS=results.jsonl make test-stacks
python benchmarks/image/stacks.py results.jsonl [MORE...]

The last result of a stack and profile counts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PROFILES = ("balanced", "safe")
OF_A_PROFILE = ("verdict", "routes that work", "s")
NOTHING = "| | | | "

Results = dict[str, dict[str, dict[str, Any]]]
"""The last result of each stack and profile."""


def read(paths: list[str]) -> Results:
    """Return the last result of each stack and profile."""
    found: Results = {}
    for path in paths:
        for line in Path(path).read_text().splitlines():
            each = json.loads(line)
            found.setdefault(each["stack"], {})[each["profile"]] = each
    return dict(sorted(found.items()))


def cells(each: dict[str, Any] | None) -> str:
    """Return the cells of one profile."""
    if each is None:
        return NOTHING
    works = f"{each['works']} of {each['asked']}"
    return f"| {each['after'] / 1e6:.1f} | {each['verdict']} | {works} | {each['seconds']:.0f} "


def row(name: str, of: dict[str, dict[str, Any]]) -> str:
    """Return the row of a stack."""
    before = max(each["before"] for each in of.values())
    return f"| {name} | {before / 1e6:.1f} {''.join(cells(of.get(each)) for each in PROFILES)}|"


def head() -> str:
    """Return the first lines of the table."""
    names = ["stack", "before, MB"]
    for profile in PROFILES:
        names += [f"{profile}, MB", *OF_A_PROFILE]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def main() -> None:
    """Print the table."""
    if not sys.argv[1:]:
        sys.exit(__doc__)
    print(head(), *(row(*each) for each in read(sys.argv[1:]).items()), sep="\n")


if __name__ == "__main__":
    main()
