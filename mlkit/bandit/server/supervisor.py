"""The supervisor: it starts the writer and the workers, keeps them alive and stops them.

It is the parent of all processes of a server and does nothing else, so it can be the first
process of a container: it reaps every child, its own and adopted ones, and it handles each
signal that it wants to obey (a first process has no default actions).
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec

from mlkit.bandit.server import listeners, metrics, worker, writer
from mlkit.bandit.server.model import Model
from mlkit.bandit.server.settings import Settings
from mlkit.bandit.server.state import StateDirectory
from mlkit.errors import MlkitError

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_STABLE = 1.0
_SHORTEST_WAIT, _LONGEST_WAIT = 0.05, 5.0
_WORKERS_SHARE = 0.8
logger = logging.getLogger("mlkit.bandit.server")


class _Report(msgspec.Struct):
    """What the writer tells the supervisor: that it is ready, or why it cannot be."""

    exit_code: int = 0
    message: str = ""
    hint: str | None = None


@dataclass
class _Child:
    """A process that is kept alive."""

    name: str
    role: Callable[[], None]
    pid: int = 0
    started: float = 0.0
    wait: float = 0.0
    due: float = 0.0


class Supervisor:
    """Runs a server.

    Args:
        settings: The server's settings.
        on_ready: Called with the URL when predictions can be served.
    """

    def __init__(self, settings: Settings, on_ready: Callable[[str], None]) -> None:
        self._settings = settings
        self._on_ready = on_ready
        self._state = StateDirectory(settings.state)
        self._started = time.monotonic()
        self._ready = False
        self._signal = 0
        self._deadline = float("inf")

    def run(self) -> int:
        """Serve until a signal.

        Returns:
            The exit code: 128 + the signal's number.

        Raises:
            MlkitError: The server could not start; no process of it is left.
        """
        self._lock = self._state.lock()
        self._key = self._state.key()
        self._open()
        try:
            self._loop()
        finally:
            self._kill(*self._children)
        logger.info("stopped")
        return 128 + self._signal

    def _open(self) -> None:
        """Make what the processes share, and start them."""
        settings = self._settings
        if settings.log is not None:
            _make_directory(settings.log)
        self._listeners = listeners.listen(settings.host, settings.port, settings.workers)
        self._writer_listener, self._writer_path = listeners.listen_unix(self._state.path)
        self._lifeline, self._lifeline_end = os.pipe()
        self._reports, self._report_to = os.pipe()
        self._wakeup, self._wakeup_end = socket.socketpair()
        for end in (self._wakeup, self._wakeup_end):
            end.setblocking(False)
        self._counters = metrics.SharedCounters(settings.workers + 2)
        self._own = self._counters.row(settings.workers + 1)
        self._writer = _Child("writer", self._be_writer)
        numbers = range(settings.workers)
        self._workers = [_Child(f"worker {n}", self._worker_role(n)) for n in numbers]
        self._children = [self._writer, *self._workers]
        signal.set_wakeup_fd(self._wakeup_end.fileno(), warn_on_full_buffer=False)
        for number in _HANDLED:
            signal.signal(number, lambda *_: None)

    # The loop

    def _loop(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakeup, selectors.EVENT_READ, self._on_signals)
            selector.register(self._reports, selectors.EVENT_READ, self._on_report)
            while not (self._signal and not any(child.pid for child in self._children)):
                self._start_due()
                self._enforce_grace()
                for key, _ in selector.select(self._patience()):
                    key.data()

    def _patience(self) -> float | None:
        """Give the seconds until something is due."""
        now = time.monotonic()
        due = [child.due for child in self._children if not child.pid and not self._signal]
        if self._signal:
            due.append(now + 0.1)
        return max(0.0, min(due) - now) if due else None

    def _on_signals(self) -> None:
        for number in self._wakeup.recv(4096):
            if number == signal.SIGHUP and self._writer.pid:
                os.kill(self._writer.pid, signal.SIGHUP)
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop(number)
        self._reap()

    def _on_report(self) -> None:
        for line in os.read(self._reports, 1 << 16).splitlines():
            report = msgspec.json.decode(line, type=_Report)
            if report.exit_code and self._ready:
                logger.error("the writer cannot start: %s", report.message)
            elif report.exit_code:
                raise _error_of(report)
            elif not self._ready:
                self._ready = True
                self._on_ready(listeners.url(self._listeners[0]))

    # Children

    def _start_due(self) -> None:
        if self._signal:
            return
        now = time.monotonic()
        for child in self._children:
            if not child.pid and child.due <= now:
                child.started = now
                child.pid = self._fork(child.role)

    def _fork(self, role: Callable[[], None]) -> int:
        sys.stderr.flush()
        # A signal must not meet the supervisor's handlers in the child, and be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        pid = os.fork()
        if pid == 0:
            self._become(role)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        return pid

    def _become(self, role: Callable[[], None]) -> NoReturn:
        """Be a child, and never return into the code of the parent."""
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            os.close(self._lifeline_end)
            os.close(self._reports)
            role()
            code = 0
        except BaseException:
            logger.exception("a process of the server failed")
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _worker_role(self, number: int) -> Callable[[], None]:
        def be_worker() -> None:
            self._writer_listener.close()
            for other, listener in enumerate(self._listeners):
                if other != number:
                    listener.close()
            worker.run(
                worker.WorkerContext(
                    self._settings,
                    number,
                    self._listeners[number],
                    self._writer_path,
                    self._key,
                    self._counters,
                    self._lifeline,
                    self._started,
                )
            )

        return be_worker

    def _be_writer(self) -> None:
        for listener in self._listeners:
            listener.close()
        settings = self._settings
        try:
            model = Model(
                self._state,
                settings.posteriors,
                window=settings.dedupe_window,
                adopt=settings.adopt,
                resume=self._ready,
            )
        except MlkitError as error:
            self._report(_Report(error.exit_code, error.message, error.hint))
            os._exit(error.exit_code)
        writer.run(
            model,
            self._writer_listener,
            self._counters.row(settings.workers),
            lifeline=self._lifeline,
            on_used=self._report_all_ready,
        )

    def _report_all_ready(self, workers: int) -> None:
        if workers == self._settings.workers:
            self._report(_Report())

    def _report(self, report: _Report) -> None:
        os.write(self._report_to, msgspec.json.encode(report) + b"\n")

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
                    self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: _Child, code: int) -> None:
        child.pid = 0
        if self._signal:
            return
        now = time.monotonic()
        stable = now - child.started > _STABLE
        child.wait = _SHORTEST_WAIT if stable else min(2 * child.wait + 0.01, _LONGEST_WAIT)
        child.due = now + child.wait
        self._own.add(metrics.RESTARTS)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        logger.error("%s ended by %s; it starts again", child.name, how)

    # Stopping

    def _stop(self, number: int) -> None:
        """Let the workers finish, then the writer; a second signal does not wait."""
        if self._signal:
            self._deadline = 0.0
            return
        self._signal = number
        self._deadline = time.monotonic() + self._settings.grace
        for listener in self._listeners:
            listener.close()
        self._terminate(*self._workers)

    def _enforce_grace(self) -> None:
        if not self._signal:
            return
        left = self._deadline - time.monotonic()
        if left <= self._settings.grace * (1 - _WORKERS_SHARE):
            self._kill(*self._workers)
        if not any(child.pid for child in self._workers):
            self._terminate(self._writer)
        if left <= 0:
            self._kill(self._writer)

    @staticmethod
    def _terminate(*children: _Child) -> None:
        for child in children:
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)

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


def _make_directory(path: Any) -> None:
    from mlkit.errors import ConfigurationError

    try:
        path.mkdir(parents=True, exist_ok=True)
        usable = os.access(path, os.W_OK | os.X_OK)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", hint=_LOG_HINT) from error
    if not usable:
        raise ConfigurationError(f"{path}: not writable", hint=_LOG_HINT)


_LOG_HINT = "--log names a directory that the server may write"
