"""Cut the excerpt of the Open Bandit Dataset that stands beside this file.

pip download obp==0.4.1 --no-deps
python -m zipfile -e obp-0.4.1-py3-none-any.whl obp
python excerpt.py obp/obp/dataset/obd
"""

import csv
import gzip
import io
import sys
from pathlib import Path

CAMPAIGNS = [("random", "men"), ("bts", "men")]
COLUMNS = {
    "timestamp": "timestamp",
    "item_id": "item_id",
    "position": "position",
    "click": "click",
    "propensity_score": "propensity_score",
    "user_feature_1": "segment",
}


def excerpt(dataset: Path, policy: str, campaign: str) -> bytes:
    """Return six columns of a campaign's log as CSV; segments are named by their first digits."""
    text = io.StringIO()
    with (dataset / policy / campaign / f"{campaign}.csv").open(newline="") as file:
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS.values())
        for row in csv.DictReader(file):
            rows.writerow([*(row[name] for name in list(COLUMNS)[:-1]), row["user_feature_1"][:8]])
    return text.getvalue().encode()


def main() -> None:
    """Write one gzip file a campaign, without a time in it: the bytes are always the same."""
    for policy, campaign in CAMPAIGNS:
        path = Path(__file__).with_name(f"{policy}_{campaign}.csv.gz")
        path.write_bytes(gzip.compress(excerpt(Path(sys.argv[1]), policy, campaign), mtime=0))


if __name__ == "__main__":
    main()
