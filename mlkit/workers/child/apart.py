"""Run a task in a process of its own, a fork of the worker, and end with it all that it started.

The worker is the reaper of what a task leaves behind (PR_SET_CHILD_SUBREAPER): whoever loses its
parent becomes a child of the worker, whatever session it moved to, and is killed there. When the
engine goes away, the socket of jobs hangs up; then too the worker ends its task, and itself.

This file uses the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
import warnings
from collections.abc import Callable, Iterable
from typing import NamedTuple

from printed import Printed  # type: ignore[import-not-found]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PRCTL = ctypes.CDLL(None).prctl
_CHUNK = 1 << 16
_LINGER = 1.0


class Ended(NamedTuple):
    """How the process of a task ended.

    Attributes:
        status: Its exit status, negative for a signal.
        reply: What it had to say, empty where it was ended.
        peak: Its most memory in bytes.
    """

    status: int
    reply: bytes
    peak: int


def adopt() -> None:
    """Become the parent of what tasks leave behind."""
    _PRCTL(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(alive: bool) -> None:
    """End when the parent does, at once; or not, to clean up first."""
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL if alive else 0)


class Apart:
    """Runs tasks apart.

    Args:
        engine: A descriptor that hangs up when the engine goes away.
        printed: What a task prints on its standard output and error.
        began: Called with the number of the task's process, and with 0 after its end.
    """

    def __init__(
        self, engine: int, printed: tuple[Printed, Printed], began: Callable[[int], None]
    ) -> None:
        self.engine = engine
        self.printed = printed
        self.began = began
        self.answer = os.memfd_create("mlkit-answer")
        adopt()

    def run(self, task: Callable[[], bytes]) -> Ended:
        """Run a task to its end; return its reply.

        Raises:
            SystemExit: The engine has gone away.
        """
        os.ftruncate(self.answer, 0)
        os.lseek(self.answer, 0, os.SEEK_SET)
        pipes = os.pipe(), os.pipe()
        die_with_parent(False)
        with warnings.catch_warnings():
            # A library that the worker has imported may have threads; the child needs none of them.
            warnings.simplefilter("ignore", DeprecationWarning)
            parent, child = os.getpid(), os.fork()
        if child == 0:
            self._perform(task, parent, pipes)
        self.began(child)
        for _, write in pipes:
            os.close(write)
        ended = self._wait(child, [read for read, _ in pipes])
        die_with_parent(True)
        return ended

    def _perform(
        self, task: Callable[[], bytes], parent: int, pipes: Iterable[tuple[int, int]]
    ) -> None:
        """Be the process of a task, from its begin to its end."""
        try:
            os.setsid()
            die_with_parent(True)
            if os.getppid() != parent:
                return
            for number, (read, write) in enumerate(pipes, 1):
                os.dup2(write, number)
                os.close(read)
                os.close(write)
            reply = task()
            while reply:
                reply = reply[os.write(self.answer, reply) :]
        finally:
            os._exit(0)

    def _wait(self, child: int, outputs: list[int]) -> Ended:
        handle = os.pidfd_open(child)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.register(self.engine, 0)  # only to hear that it hangs up
        streams = dict(zip(outputs, self.printed, strict=True))
        for each in outputs:
            poll.register(each, select.POLLIN)
        try:
            while True:
                for number, _ in poll.poll():
                    if number in streams:
                        _drain(poll, streams, number)
                    elif number == self.engine:
                        _kill_session(child)
                        _kill_children()
                        raise SystemExit
                    else:
                        return self._finish(child, streams)
        finally:
            os.close(handle)
            for each in outputs:
                os.close(each)

    def _finish(self, child: int, streams: dict[int, Printed]) -> Ended:
        """Reap a task's process and end what it left; take the last of what it printed."""
        self.began(0)
        _kill_session(child)  # before the number can be another's
        _, status, usage = os.wait4(child, 0)
        _kill_children()
        for number, printed in streams.items():
            os.set_blocking(number, False)
            _exhaust(number, printed)
        size = os.fstat(self.answer).st_size
        return Ended(
            os.waitstatus_to_exitcode(status),
            os.pread(self.answer, size, 0),
            usage.ru_maxrss * 1024,
        )


def _drain(poll: select.poll, streams: dict[int, Printed], number: int) -> None:
    data = os.read(number, _CHUNK)
    if data:
        streams[number].write(data)
    else:
        poll.unregister(number)
        del streams[number]


def _exhaust(number: int, printed: Printed) -> None:
    """Take what is left in a pipe; nobody can write to it any more."""
    try:
        while data := os.read(number, _CHUNK):
            printed.write(data)
    except BlockingIOError:
        pass


def _kill_session(leader: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(leader, signal.SIGKILL)


def _kill_children() -> None:
    """Kill whoever has become our child: what a task left that moved to another session."""
    until = time.monotonic() + _LINGER
    while (found := _children()) and time.monotonic() < until:
        for each in found:
            try:
                os.kill(each, signal.SIGKILL)
                os.waitpid(each, 0)
            except OSError:
                pass


def _children() -> list[int]:
    """List our children; where the system does not say, those that have ended are reaped."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(each) for each in file.read().split()]
    except OSError:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        return []
