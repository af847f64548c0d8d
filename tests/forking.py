"""Runs files of tests in forks of a process that has collected all tests once.

A worker of pytest-xdist imports and collects all tests by itself: that takes each 16 s, and the
memory for it. What one fork cannot share with others is made in each: captured output, folders of
caches and of tests, fixtures of the session.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest

_context = multiprocessing.get_context("fork")
PATIENCE = 300.0


class Forks:
    """Runs the tests of a session in so many forks, each a file of tests after the other.

    A test whose process has ended before it did is a failure.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run all, unless there is nothing to run or an error to tell."""
        if session.testsfailed or session.config.option.collectonly:
            return None
        files: dict[Any, list[pytest.Item]] = {}
        for item in session.items:
            files.setdefault(item.path, []).append(item)
        _run(session, sorted(files.values(), key=len, reverse=True), self._count)
        return True


def _run(session: pytest.Session, files: list[list[pytest.Item]], count: int) -> None:
    unfinished = {item.nodeid: item.location for item in session.items}
    order, filled = os.pipe()
    os.write(filled, b"".join(number.to_bytes(2, "big") for number in range(len(files))))
    os.close(filled)
    processes: dict[Connection, Any] = {}
    # Made here, so that its lock goes with the process that stays.
    folder = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    for number in range(count):
        reader, writer = _context.Pipe(duplex=False)
        process = _context.Process(
            target=_work, args=(session, files, order, writer, folder / f"fork-{number}")
        )
        process.start()
        writer.close()  # the only one is theirs: when they end, reading does
        processes[reader] = process
    os.close(order)
    try:
        for nodeid, report in _told(session, list(processes)):
            if report is None:
                del unfinished[nodeid]
            else:
                _log(session, report)
    except BaseException:
        for process in processes.values():
            process.terminate()
        raise
    finally:
        for process in processes.values():
            process.join(PATIENCE)
    codes = sorted({process.exitcode for process in processes.values()} - {0}, key=str)
    for nodeid, location in unfinished.items():
        text = f"its process, or all, ended before it did: {codes}"
        _log(session, pytest.TestReport(nodeid, location, {}, "failed", text, "call"))


def _told(session: pytest.Session, readers: list[Connection]) -> Iterator[tuple[str, Any]]:
    """Give each report, and None for a test that has ended, as forks tell it."""
    while readers:
        for reader in wait(readers):
            assert isinstance(reader, Connection)
            try:
                nodeid, data = reader.recv()
            except (EOFError, OSError):
                readers.remove(reader)
                continue
            hook, config = session.config.hook, session.config
            yield nodeid, data and hook.pytest_report_from_serializable(config=config, data=data)


def _log(session: pytest.Session, report: Any) -> None:
    session.config.hook.pytest_runtest_logreport(report=report)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)


class _Telling:
    """Tells the first process of reports, in a fork."""

    def __init__(self, config: pytest.Config, writer: Connection) -> None:
        self._config, self._writer = config, writer

    def pytest_runtest_logreport(self, report: Any) -> None:
        to_data = self._config.hook.pytest_report_to_serializable
        self._writer.send((report.nodeid, to_data(config=self._config, report=report)))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._writer.send((nodeid, None))


class _Terminal:
    """In the place of what shows results: where pytest-timeout writes the threads' stacks."""

    def __init__(self, shown: Any) -> None:
        self._tw = shown._tw


def _work(
    session: pytest.Session,
    files: list[list[pytest.Item]],
    order: int,
    writer: Connection,
    folder: Path,
) -> None:
    """Run files of tests until none is left to take."""
    folder.mkdir(mode=0o700)
    session.config._tmp_path_factory._basetemp = folder  # type: ignore[attr-defined]
    plugins = session.config.pluginmanager
    capture: Any = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()  # the file with the output is the same in all forks
    capture.start_global_capturing()
    capture.suspend_global_capture()
    shown = plugins.unregister(name="terminalreporter")
    plugins.register(_Terminal(shown), "terminalreporter")
    plugins.register(_Telling(session.config, writer))
    items = (item for number in _taken(order) for item in files[number])
    with tempfile.TemporaryDirectory(prefix="mlkit-test-cache-") as caches:
        os.environ["XDG_CACHE_HOME"] = caches
        item = next(items, None)
        while item is not None:
            following = next(items, None)  # what only the next file needs stays up to that
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            item = following
    with contextlib.suppress(OSError):
        writer.close()


def _taken(order: int) -> Iterator[int]:
    """Take numbers that no other fork has."""
    while number := os.read(order, 2):
        yield int.from_bytes(number, "big")
