"""Processor time of a live run of 1,000 tickers with a bar a second, everything on.

    python benchmarks/pairs/whole_run.py [--tickers 1000] [--seconds 60] [--json FILE]

`mlkit pairs live run -` as a user starts it, fed through a pipe with the bar of each second: all
pairs watched at every bar, screened for evidence every 20, promoted pairs traded, the page served
and asked for every second, statements, the log on the disk. Most tickers are random walks; one in
twenty follows another one, so that there are pairs to be found. What counts is the processor time
of its processes once they have taken in the first bars.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np

BEGIN = 1_700_000_000
HISTORY = 130
"""Bars that come at once, so that pairs have been found when the measurement begins."""
EVIDENCE = "correlation > 0.3 and half_life in 1..60"


def closes(tickers: int, bars: int) -> np.ndarray:
    """Return random walks, of which some follow others."""
    draws = np.random.default_rng(7)
    walks = np.cumsum(draws.normal(0.0, 1e-3, (bars, tickers)), axis=0)
    for leader in range(0, tickers - 1, 20):
        gap = np.zeros(bars)
        for bar in range(1, bars):
            gap[bar] = 0.8 * gap[bar - 1] + draws.normal(0.0, 1e-3)
        walks[:, leader + 1] = walks[:, leader] + gap
    return np.round(100.0 * np.exp(walks), 4)


def lines(second: int, row: np.ndarray) -> bytes:
    """Return a bar as JSON Lines."""
    form = '{{"time":{},"ticker":"T{:04}","close":{}}}\n'
    some = (form.format((BEGIN + second) * 1000, n, close) for n, close in enumerate(row.tolist()))
    return "".join(some).encode()


def start(folder: Path, tickers: int) -> subprocess.Popen[bytes]:
    """Start the run."""
    command = [sys.executable, "-m", "mlkit", "pairs", "live", "run", "-", "--state", str(folder),
               "--universe", str(tickers), "--evidence", EVIDENCE, "--formation", "120",
               "--lookback", "30", "--entry", "1.5", "--rescreen", "20", "--fdr", "bh",
               "--lateness", "0", "--bars-per-year", "5896800",
               "--limit", "gross=10000000"]  # fmt: skip
    with (folder.parent / "messages").open("w") as messages:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=messages, start_new_session=True
        )


def processor(session: int) -> float:
    """Return the seconds that the processes of a session have computed."""
    ticks = 0
    for each in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = each.read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15])) if int(fields[3]) == session else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> float:
    """Return the memory of a process, in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def address(folder: Path) -> str:
    """Return where the page is, once it is there."""
    for _ in range(600):
        if found := re.search(r"http://[\d.:]+", (folder.parent / "messages").read_text()):
            return found[0]
        time.sleep(0.1)
    raise SystemExit((folder.parent / "messages").read_text())


def status(folder: Path) -> dict:
    """Return what the run says of itself."""
    command = [sys.executable, "-m", "mlkit", "pairs", "live", "status", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout or "{}")


def wait_for(folder: Path, bars: int) -> dict:
    """Wait until a run has taken in so many bars, and return what it says of itself then."""
    for _ in range(300):
        if (found := status(folder)).get("bars", 0) >= bars:
            return found
        time.sleep(1)
    raise SystemExit(f"{found.get('bars')} bars of {bars}")


def feed(process: subprocess.Popen[bytes], rows: np.ndarray, first: int, url: str | None) -> None:
    """Hand over bars: at once, or one a second while somebody looks at the page."""
    assert process.stdin is not None
    for n, row in enumerate(rows):
        begun = time.monotonic()
        process.stdin.write(lines(first + n, row))
        process.stdin.flush()
        if url is not None:
            urllib.request.urlopen(f"{url}/status", timeout=60).read()
            time.sleep(max(0.0, 1.0 - (time.monotonic() - begun)))


def measure(folder: Path, tickers: int, seconds: int) -> dict[str, float]:
    """Return what a run costs a second, and what it did."""
    rows = closes(tickers, HISTORY + seconds)
    process = start(folder, tickers)
    try:
        feed(process, rows[:HISTORY], 0, None)
        url = address(folder)
        wait_for(folder, HISTORY - 1)
        spent, before, begun = processor(process.pid), memory(process.pid), time.monotonic()
        feed(process, rows[HISTORY:], HISTORY, url)
        found = wait_for(folder, HISTORY + seconds - 1)
        passed = time.monotonic() - begun  # longer where the run cannot keep up
        spent, after = processor(process.pid) - spent, memory(process.pid)
    finally:
        process.kill()
        process.wait()
    return {
        "cores": spent / seconds, "seconds": passed, "pairs_live": found["pair_count"],
        "memory_mb": after, "grown_mb": after - before, "load": os.getloadavg()[0],
    }  # fmt: skip


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tickers", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(measure(Path(folder) / "run", asked.tickers, asked.seconds), indent=2)
    print(text)
    if asked.json:
        asked.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
