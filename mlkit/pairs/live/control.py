"""Commands to a run from outside: they go through its log, and so are part of what it is."""

from __future__ import annotations

import time

from mlkit.errors import UsageError
from mlkit.pairs.feeds.records import iso
from mlkit.pairs.live.folder import RunFolder
from mlkit.pairs.live.run import GROUP, PLACE
from mlkit.pairs.live.topics import COMMANDS, INPUTS, Input, encode_input


def send(
    folder: RunFolder, command: str, pair: str = "", *, by: str = "", timeout: float = 10.0
) -> bool:
    """Send a command to a run, and wait until the run has obeyed it.

    Args:
        folder: The run.
        command: One of `COMMANDS`.
        pair: The pair, `Y/X`; empty: all.
        by: Who sends it.
        timeout: Seconds to wait.

    Returns:
        Whether it has been obeyed; otherwise it will be, once the run goes on.

    Raises:
        UsageError: There is no such command, or no such pair in the run.
        InputMissing: There is no run.
    """
    if command not in COMMANDS:
        raise UsageError(f"no command '{command}'", hint=", ".join(COMMANDS))
    plan = folder.plan()
    pair = pair.replace(",", "/")
    legs = pair.split("/")
    if pair and (len(legs) != 2 or not set(legs) <= set(plan.tickers)):
        raise UsageError(f"{folder.path}: no pair '{pair}'", hint="Y/X, as `status` lists them")
    log = folder.open_log()
    try:
        given = Input(command=command, pair=pair, by=by, at=iso(time.time_ns() // 10**9 * 10**9))
        log.append(INPUTS, [encode_input(given)])
        _, end = log.bounds(PLACE)
        deadline = time.monotonic() + timeout
        while folder.is_owned() and time.monotonic() < deadline:
            if (log.committed(GROUP, PLACE) or 0) >= end:
                return True
            time.sleep(0.02)
        return (log.committed(GROUP, PLACE) or 0) >= end
    finally:
        log.close()
