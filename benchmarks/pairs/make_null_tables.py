"""Simulates mlkit/pairs/null_tables.json: the null distributions that `mlkit pairs screen` uses.

    python benchmarks/pairs/make_null_tables.py [TREND ...]

About a quarter of an hour a core for all trends; the same seeds give the same tables.
"""

from __future__ import annotations

import json
import sys

from mlkit.pairs.screen.null import TABLES, simulate

LENGTHS = (30, 36, 45, 60, 80, 110, 150, 200, 252, 350, 504, 756, 1260, 2520, 5040)
SHORT, PAIRS_SHORT, PAIRS_LONG = 1000, 2_000_000, 500_000


def main() -> None:
    tables = json.loads(TABLES.read_text(encoding="utf-8")) if TABLES.exists() else {}
    for trend in sys.argv[1:] or ["c", "ct", "ctt"]:
        tables[trend] = {}
        for length in LENGTHS:
            pairs = PAIRS_SHORT if length < SHORT else PAIRS_LONG
            null = simulate(length, pairs, trend=trend, seed=length)
            quantiles = [round(float(each), 4) for each in null.quantiles]
            tables[trend][length] = {"pairs": null.pairs, "quantiles": quantiles}
            print(trend, length, quantiles[0], flush=True)
        TABLES.write_text(json.dumps(tables).replace('"pairs"', '\n"pairs"') + "\n")


if __name__ == "__main__":
    main()
