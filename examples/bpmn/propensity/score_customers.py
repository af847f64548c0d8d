"""Predict how likely each customer of the segment is to click; keep those above the threshold."""

import csv
import json
import math
from pathlib import Path

_folder = Path(execution.folder)
_model = json.loads((_folder / "model.json").read_text())
with (_folder / "customers.csv").open(newline="") as _file:
    _customers = [row for row in csv.DictReader(_file) if segment in ("all", row["segment"])]
_chances = {}
for _row in _customers:
    _score = _model["intercept"]
    _score += sum(weight * float(_row[name]) for name, weight in _model["weights"].items())
    _chances[_row["customer"]] = 1 / (1 + math.exp(-_score))
chosen = sorted((c for c in _chances if _chances[c] >= threshold), key=_chances.get, reverse=True)
chosen = chosen[:budget]
expected_clicks = round(sum(_chances[c] for c in chosen), 1)
selected = len(chosen)
print(f"{selected} of {len(_customers)} customers, {expected_clicks} clicks expected")
