"""Workflows of ten durable steps by DBOS on PostgreSQL; prints how many a second.

python benchmarks/bpmn/dbos_peer.py URL COUNT
"""

from __future__ import annotations

import concurrent.futures
import sys
import time

from dbos import DBOS

IN_FLIGHT = 32
STEPS = 10


@DBOS.step()
def add(number: int) -> int:
    """Return the next number."""
    return number + 1


@DBOS.workflow()
def ten(number: int) -> int:
    """Take ten steps, each of them durable."""
    for _ in range(STEPS):
        number = add(number)
    return number


def main() -> None:
    """Run workflows, so many at once."""
    url, count = sys.argv[1], int(sys.argv[2])
    DBOS(config={"name": "peer", "system_database_url": url, "log_level": "ERROR"})
    DBOS.launch()
    try:
        ten(0)
        with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as pool:
            begin = time.perf_counter()
            found = list(pool.map(ten, range(count)))
            seconds = time.perf_counter() - begin
        assert found == [number + STEPS for number in range(count)]
    finally:
        DBOS.destroy()
    print(count / seconds)


if __name__ == "__main__":
    main()
