"""Read the input file; refuse what is not a table of sales."""

import csv
from pathlib import Path

_path = Path(execution.folder) / input_file
try:
    with _path.open(newline="") as _file:
        _rows = list(csv.DictReader(_file))
    sales = [[row["shop"], float(row["amount"])] for row in _rows]
except (OSError, UnicodeDecodeError) as error:
    raise BpmnError("NOT_READABLE", f"{_path.name}: {error}")
except (KeyError, TypeError, ValueError) as error:
    raise BpmnError("NOT_READABLE", f"{_path.name}: no table with shop and amount: {error}")
print(f"{len(sales)} rows")
