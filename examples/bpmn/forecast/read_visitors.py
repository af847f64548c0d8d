"""Read the visitors of each month."""

import csv
from pathlib import Path

with (Path(execution.folder) / "visitors.csv").open(newline="") as _file:
    visitors = [int(row["visitors"]) for row in csv.DictReader(_file)]
print(f"{len(visitors)} months")
