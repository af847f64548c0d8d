"""The supervisor: it starts the processes of a server, keeps them alive and stops them.

It is the parent of all processes of a server and does nothing else, so it can be the first
process of a container: it reaps every child, its own and adopted ones, and it handles each
signal that it wants to obey (a first process has no default actions).
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import msgspec

from mlkit.errors import MlkitError

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_STABLE = 1.0
_SHORTEST_WAIT, _LONGEST_WAIT = 0.05, 5.0
_FIRST_SHARE = 0.8
_FILES = 65536
logger = logging.getLogger("mlkit.web")


class _Report(msgspec.Struct):
    """What a child reports: that the server is ready, or why the child cannot work."""

    child: str
    exit_code: int = 0
    message: str = ""
    hint: str | None = None


class Process:
    """What the code of a role has of its process.

    Attributes:
        parent: The read end of the parent-death pipe: it ends when the supervisor dies.
    """

    def __init__(self, name: str, parent: int, reports: int) -> None:
        self.parent = parent
        self._name = name
        self._reports = reports

    def report_ready(self) -> None:
        """Report that the server can be used."""
        self.report(_Report(self._name))

    def report_failure(self, error: MlkitError) -> None:
        """Report why this process cannot work."""
        self.report(_Report(self._name, error.exit_code, error.message, error.hint))

    def report(self, report: _Report) -> None:
        """Send a report to the supervisor."""
        os.write(self._reports, msgspec.json.encode(report) + b"\n")


@dataclass(frozen=True)
class Role:
    """One process of a server.

    Attributes:
        name: Its name in messages.
        run: What it does; it returns after SIGTERM. An `MlkitError` of it ends the server, if
            the server was not ready yet, and is logged otherwise.
        stops_last: Whether it is stopped only when the roles that are not are gone.
        reloads: Whether it gets the SIGHUP of the supervisor.
    """

    name: str
    run: Callable[[Process], None]
    stops_last: bool = False
    reloads: bool = False


@dataclass
class _Child:
    """A process that is kept alive."""

    role: Role
    pid: int = 0
    started: float = 0.0
    wait: float = 0.0
    due: float = 0.0
    complaint: str = ""
    is_asked: bool = False


class Supervisor:
    """Runs the processes of a server.

    Args:
        roles: The processes, in the order of their start.
        drain_timeout: Seconds to finish the requests in flight on SIGTERM.
        on_ready: Called when a process has reported that the server can be used.
        on_stop: Called when the stop begins.
        on_restart: Called when a process that has ended is started again.
    """

    def __init__(
        self,
        roles: Sequence[Role],
        *,
        drain_timeout: float,
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
        on_restart: Callable[[], None],
    ) -> None:
        self._children = [_Child(role) for role in roles]
        self._drain_timeout = drain_timeout
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._on_restart = on_restart
        self.is_ready = False
        self._signal = 0
        self._deadline = float("inf")

    def run(self) -> int:
        """Serve until a signal.

        Returns:
            The exit code: 128 + the signal's number.

        Raises:
            MlkitError: The server could not start; no process of it is left.
        """
        self._open()
        try:
            self._loop()
        finally:
            self._kill(*self._children)
            self._close()
        logger.info("stopped")
        return 128 + self._signal

    def _open(self) -> None:
        _raise_file_limit()
        self._parent, self._parent_end = os.pipe()
        self._reports, self._report_to = os.pipe()
        self._wakeup, self._wakeup_end = socket.socketpair()
        for end in (self._wakeup, self._wakeup_end):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wakeup_end.fileno(), warn_on_full_buffer=False)
        self._handlers = {n: signal.signal(n, lambda *_: None) for n in _HANDLED}

    def _close(self) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for descriptor in (self._parent, self._parent_end, self._reports, self._report_to):
            os.close(descriptor)
        for end in (self._wakeup, self._wakeup_end):
            end.close()

    # The loop

    def _loop(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakeup, selectors.EVENT_READ, self._on_signals)
            selector.register(self._reports, selectors.EVENT_READ, self._on_report)
            while not (self._signal and not any(child.pid for child in self._children)):
                self._start_due()
                self._enforce_drain()
                for key, _ in selector.select(self._patience()):
                    key.data()

    def _patience(self) -> float | None:
        """Return the seconds until something is due."""
        now = time.monotonic()
        due = [child.due for child in self._children if not child.pid and not self._signal]
        if self._signal:
            due.append(now + 0.1)
        return max(0.0, min(due) - now) if due else None

    def _on_signals(self) -> None:
        for number in self._wakeup.recv(4096):
            if number == signal.SIGHUP:
                self._send(signal.SIGHUP, *(c for c in self._children if c.role.reloads))
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop(number)
        self._reap()

    def _on_report(self) -> None:
        for line in os.read(self._reports, 1 << 16).splitlines():
            report = msgspec.json.decode(line, type=_Report)
            if report.exit_code:
                self._on_failure(report)
            elif not self.is_ready:
                self.is_ready = True
                self._on_ready()

    def _on_failure(self, report: _Report) -> None:
        if not self.is_ready:
            raise _error_of(report)
        child = next(each for each in self._children if each.role.name == report.child)
        if child.complaint != report.message:  # it is started again and again: once is enough
            logger.error("the %s cannot start: %s", report.child, report.message)
        child.complaint = report.message

    # Children

    def _start_due(self) -> None:
        if self._signal:
            return
        now = time.monotonic()
        for child in self._children:
            if not child.pid and child.due <= now:
                child.started = now
                child.pid = self._fork(child.role)

    def _fork(self, role: Role) -> int:
        sys.stderr.flush()
        # A signal must not meet the supervisor's handlers in the child, and be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        pid = os.fork()
        if pid == 0:
            self._become(role)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        return pid

    def _become(self, role: Role) -> NoReturn:
        """Be a child, and never return into the code of the parent."""
        code = 70
        process = Process(role.name, self._parent, self._report_to)
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            os.close(self._parent_end)
            os.close(self._reports)
            role.run(process)
            code = 0
        except MlkitError as error:
            code = error.exit_code
            process.report_failure(error)
        except BaseException as error:
            logger.exception("the %s failed", role.name)
            if not self.is_ready:  # it would fail again and again
                text = f"the {role.name} failed: {type(error).__name__}: {error}"
                process.report_failure(MlkitError(text, hint="see the log above"))
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        """Wait for every child that has ended, adopted ones too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.pid == pid:
                    self._handle_end(child, os.waitstatus_to_exitcode(status))

    def _handle_end(self, child: _Child, code: int) -> None:
        child.pid = 0
        if self._signal:
            return
        now = time.monotonic()
        stable = now - child.started > _STABLE
        child.wait = _SHORTEST_WAIT if stable else min(2 * child.wait + 0.01, _LONGEST_WAIT)
        child.due = now + child.wait
        self._on_restart()
        if stable:
            child.complaint = ""
        if not child.complaint:
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            logger.error("%s ended by %s; it starts again", child.role.name, how)

    # Stopping

    def _stop(self, number: int) -> None:
        """Let those who answer finish, then the others; a second signal does not wait."""
        if self._signal:
            self._deadline = 0.0
            return
        self._signal = number
        self._deadline = time.monotonic() + self._drain_timeout
        self._on_stop()
        self._ask(*self._first())

    def _first(self) -> list[_Child]:
        return [child for child in self._children if not child.role.stops_last]

    def _enforce_drain(self) -> None:
        if not self._signal:
            return
        left = self._deadline - time.monotonic()
        if left <= self._drain_timeout * (1 - _FIRST_SHARE):
            self._kill(*self._first())
        if not any(child.pid for child in self._first()):
            self._ask(*self._children)
        if left <= 0:
            self._kill(*self._children)

    def _ask(self, *children: _Child) -> None:
        """Ask to stop, once: a process that is finishing may not handle signals any more."""
        for child in children:
            if not child.is_asked:
                child.is_asked = True
                self._send(signal.SIGTERM, child)

    @staticmethod
    def _send(number: int, *children: _Child) -> None:
        for child in children:
            if child.pid:
                os.kill(child.pid, number)

    @staticmethod
    def _kill(*children: _Child) -> None:
        for child in children:
            if child.pid:
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
                child.pid = 0


def _error_of(report: _Report) -> MlkitError:
    error = MlkitError(report.message, hint=report.hint)
    error.exit_code = report.exit_code  # type: ignore[misc]
    return error


def _raise_file_limit() -> None:
    """Allow as many open files as this user may have: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
