"""The pools of a process that runs instances with several interpreters and limits."""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from mlkit.errors import MlkitError
from mlkit.workers.pool import Limits, Printing, Result, ScriptPool, poll

T = TypeVar("T")


class RuntimeConfiguration(NamedTuple):
    """What scripts run with."""

    python: str | None
    rscript: str | None
    limits: Limits


class Pools:
    """One pool of scripts for each set of means, waited for together.

    Args:
        size: How many scripts of a pool run at once; None for one a processor.
        artifacts: The folder of stored values.
        on_failure: Called with a pool that cannot run scripts any more, and why.
    """

    def __init__(
        self,
        size: int | None,
        artifacts: Path,
        on_failure: Callable[[ScriptPool, MlkitError], None],
    ) -> None:
        self._size = size
        self._artifacts = artifacts
        self._on_failure = on_failure
        self._pools: dict[RuntimeConfiguration, ScriptPool] = {}
        self._selector = selectors.DefaultSelector()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def of(self, means: RuntimeConfiguration) -> ScriptPool:
        """Return the pool of some means.

        Raises:
            ServiceUnavailable: There is no such interpreter.
        """
        found = self._pools.get(means)
        if found is None:
            found = ScriptPool(
                self._size, means.python, means.limits, self._artifacts, means.rscript
            )
            self._pools[means] = found
            self._selector.register(found.selector, selectors.EVENT_READ, found)
        return found

    @property
    def idle(self) -> bool:
        """Whether no job is open."""
        return all(each.idle for each in self._pools.values())

    def wake(self) -> None:
        """Let a thread that waits go on."""
        os.eventfd_write(self._wakeup, 1)

    def send(self) -> None:
        """Hand queued jobs to the workers."""
        for each in list(self._pools.values()):
            self._attempt(each, each.send)

    def wait(self, timeout: float | None, bell: int | None = None) -> list[Result]:
        """Wait for results of any pool, for `wake`, or at most `timeout` seconds.

        `bell` is a file descriptor that ends the wait, too, once it can be read.
        """
        self.send()
        if any(each.limits.timeout and each.sent for each in self._pools.values()):
            timeout = min(timeout if timeout is not None else 1.0, 0.05)
        for key, _ in poll(self._selector, timeout, bell):
            if key.fileobj == self._wakeup:
                os.eventfd_read(self._wakeup)
        results: list[Result] = []
        for each in list(self._pools.values()):
            if not each.idle or each.workers:
                results += self._attempt(each, lambda pool=each: pool.wait(0)) or []  # type: ignore[misc]
        return results

    def _attempt(self, pool: ScriptPool, act: Callable[[], T]) -> T | None:
        """Let a pool act; one that fails is closed, and the others go on."""
        try:
            return act()
        except MlkitError as error:
            self._close(pool)
            self._on_failure(pool, error)
            return None

    def stop(self, job: int) -> None:
        """End a job, whichever pool has it."""
        for each in self._pools.values():
            each.stop(job)

    def withdraw(self) -> None:
        """Drop the jobs that no worker has yet."""
        for each in self._pools.values():
            each.waiting.clear()

    def running(self) -> Iterator[Printing]:
        """Yield the jobs that workers run, with the end of what each has printed so far."""
        for each in self._pools.values():
            yield from each.running()

    def output(self, job: int) -> str:
        """Return the end of what a running job has printed so far."""
        return "".join(each.output(job) for each in self._pools.values())

    def _close(self, pool: ScriptPool) -> None:
        self._selector.unregister(pool.selector)
        self._pools = {means: each for means, each in self._pools.items() if each is not pool}
        pool.close()

    def close(self) -> None:
        """End all workers."""
        for each in list(self._pools.values()):
            self._close(each)
        self._selector.close()
        os.close(self._wakeup)
