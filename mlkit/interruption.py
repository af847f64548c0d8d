"""Signals that stop a command: the clean-up runs, and no step that must be whole is cut."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mlkit.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _State:
    """Signals reach one thread, the main one: one state is enough."""

    depth = 0
    waiting: int | None = None


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn the signals that stop a command into `Interrupted` while the block runs.

    What is ignored stays ignored: `nohup` and background jobs rely on that. For the main thread.

    Raises:
        Interrupted: A signal came.
    """
    before = {each: signal.getsignal(each) for each in SIGNALS}
    ours = [each for each in SIGNALS if before[each] is not signal.SIG_IGN]
    try:
        for each in ours:
            signal.signal(each, _stop)
        yield
    finally:
        for each in ours:
            signal.signal(each, before[each])


@contextmanager
def whole() -> Iterator[None]:
    """Let signals wait until the end of the block, such as making a thing and noting it.

    Blocks may be nested; the outermost one counts. Without `stoppable` it changes nothing, nor
    does it in another thread than the main one, which no signal reaches.

    Raises:
        Interrupted: A signal came meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
        if not _State.depth and _State.waiting is not None:
            number, _State.waiting = _State.waiting, None
            raise Interrupted(number)


def _stop(number: int, frame: FrameType | None) -> None:
    del frame
    if _State.depth:
        _State.waiting = number
    else:
        raise Interrupted(number)
