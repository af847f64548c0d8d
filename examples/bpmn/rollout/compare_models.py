"""Measure the candidate and the model that serves on the rows that `answers` names."""

import csv
from pathlib import Path

path = Path(execution.folder) / answers
rows = list(csv.DictReader(path.read_text().splitlines()))


def accuracy(name):
    return round(sum(row[name] == row["clicked"] for row in rows) / len(rows), 4)


candidate_accuracy, serving_accuracy = accuracy("candidate"), accuracy("serving")
print(f"candidate {candidate_accuracy}, serving {serving_accuracy} on {len(rows)} rows")
del path, rows, accuracy
