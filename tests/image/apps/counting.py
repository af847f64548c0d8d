"""A job that opens another file each time that it is started."""

from pathlib import Path

counter = Path("/count/starts")
starts = len(counter.read_text()) if counter.exists() else 0
counter.write_text("x" * (starts + 1))
print(Path("/opt/late", str(starts % 2)).read_text()[:1] != "")
