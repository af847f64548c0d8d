"""Write which share of the traffic the candidate gets, where the serving side reads it."""

import json
from pathlib import Path

target = Path("rollout.json").resolve()
target.write_text(json.dumps({"region": region, "share": rollout["share"]}))
deployed_to = str(target)
print(f"{rollout['share']:.0%} of {region} gets the candidate")
del target
