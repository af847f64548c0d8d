"""Read a posterior table all the time, as a worker process does, until standard input ends.

Prints "ready", and at the end the number of arms seen last and the first fault, if any.
"""

from __future__ import annotations

import json
import sys
import threading

import numpy as np

from mlkit.bandit._posterior_table import PosteriorTable


def look(reader: PosteriorTable, seen: int) -> tuple[int, str]:
    """Return the arms that are known now, and what is wrong: every look must be whole."""
    fetched = reader.fetch("u", [f"arm-{i}" for i in range(400)])
    known = len(fetched) - fetched.unknown_arms
    every = reader.fetch("u", None)
    if known < seen or len(every) < known:
        return known, f"{known} arms after {seen}"
    if not all(name.startswith("arm-") for name in every.candidates):
        return known, "a broken id"
    if not (np.all(fetched.a >= 1) and np.all(fetched.b >= 0.5)):
        return known, "a broken posterior"
    return known, ""


def main(path: str) -> None:
    reader = PosteriorTable.open(path)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    print("ready", flush=True)
    seen, fault = 0, ""
    while not stop.is_set() and not fault:
        seen, fault = look(reader, seen)
    print(json.dumps([seen, fault]))


if __name__ == "__main__":
    main(sys.argv[1])
