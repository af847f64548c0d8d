"""Write the approved model where the serving side reads it."""

import json
from pathlib import Path

target = Path("model.json").resolve()
content = {
    "columns": model["columns"],
    **{name: model[name].tolist() for name in ("weights", "mean", "spread")},
}
target.write_text(json.dumps(content))
deployed_to = str(target)
print(f"deployed to {target.name}")
del content, target
