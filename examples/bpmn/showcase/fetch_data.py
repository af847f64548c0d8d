"""Read the click log that `source` names (beside the diagram by default)."""

from pathlib import Path

path = Path(execution.folder) / source
try:
    lines = path.read_text().splitlines()
except OSError as error:
    raise BpmnError("FETCH_FAILED", f"{path.name}: {error.strerror}")
columns = lines[0].split(",")
rows = [[float(cell) for cell in line.split(",")] for line in lines[1:]]
print(f"fetched {len(rows)} rows of {', '.join(columns)}")
