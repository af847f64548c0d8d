"""Compare with the prices of the last time."""

import json
from pathlib import Path

_last = json.loads((Path(execution.folder) / "last_prices.json").read_text())
changes = [
    f"{each['name']}: {_last.get(each['name'], 'new')} -> {each['price']}"
    for each in offers
    if _last.get(each["name"]) != each["price"]
]
report = "\n".join(changes)
print(report or "nothing new")
