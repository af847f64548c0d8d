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

HEAD = """\
| stack | profile | before, MB | after, MB | verdict | routes that work | seconds |
|---|---|---|---|---|---|---|"""


def read(paths: list[str]) -> list[dict[str, Any]]:
    """Return the last result of each stack and profile."""
    found = {}
    for path in paths:
        for line in Path(path).read_text().splitlines():
            each = json.loads(line)
            found[each["stack"], each["profile"]] = each
    return [found[key] for key in sorted(found)]


def line(each: dict[str, Any]) -> str:
    """Return a row of the table."""
    sizes = f"{each['before'] / 1e6:.1f} | {each['after'] / 1e6:.1f}"
    works = f"{each['works']} of {each['asked']}"
    head = f"| {each['stack']} | {each['profile']} | {sizes}"
    return f"{head} | {each['verdict']} | {works} | {each['seconds']:.0f} |"


def main() -> None:
    """Print the table."""
    if not sys.argv[1:]:
        sys.exit(__doc__)
    print(HEAD, *map(line, read(sys.argv[1:])), sep="\n")


if __name__ == "__main__":
    main()
