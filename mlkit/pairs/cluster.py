"""A cluster that takes parts of a screen, a sweep or a backtest: Dask's distributed engine.

Work is cut where one machine cuts it, and its parts are put together in the same order, so that
results have the same bits. What parts have in common is sent to each worker once.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import numpy as np

from mlkit import __version__
from mlkit.errors import (
    ConfigurationError,
    MlkitError,
    PackageMissing,
    ServiceUnavailable,
    UsageError,
)
from mlkit.progress import Progress, silent

SCHEME = "dask"
FORM = f"{SCHEME}://HOST:PORT"
TIMEOUT = 10.0
"""Seconds to wait for the scheduler and for its first worker."""
WITHOUT_WORKERS = 60.0
"""Seconds after which a cluster that has lost all of its workers is given up."""
LOOK = 1.0

Task = TypeVar("Task")
Result = TypeVar("Result")


class Cluster(Protocol):
    """Machines that work on parts."""

    @property
    def workers(self) -> int:
        """The number of parts that are worked on at a time."""
        ...

    def work(
        self,
        function: Callable[..., Result],
        common: tuple[object, ...],
        tasks: Sequence[object],
        progress: Progress = silent,
    ) -> Iterator[tuple[int, Result]]:
        """Work on tasks; yield the number of each that is done, and its result.

        Args:
            function: A function of a module; it gets what is common, and a task.
            common: What all tasks need. Each object is sent to each worker once, and is known by
                its identity to later calls.
            tasks: The tasks.
            progress: Called with the number of tasks done, and of all.

        Raises:
            MlkitError: What the function raised.
            ServiceUnavailable: The cluster is lost, or cannot do the work.
        """
        ...


def in_order(done: Iterable[tuple[int, Result]]) -> list[Result]:
    """Return results in the order of their tasks."""
    return [result for _, result in sorted(done, key=lambda each: each[0])]


@contextlib.contextmanager
def connect(url: str) -> Iterator[Cluster]:
    """Connect to a cluster for the time of a block.

    Args:
        url: `dask://HOST:PORT` of a scheduler of Dask.

    Raises:
        UsageError: It is no such URL.
        ServiceUnavailable: Dask is not installed, the scheduler does not answer, it has no
            workers, or they have no mlkit.
        ConfigurationError: A worker has another version of mlkit or NumPy, or other arithmetic.
    """
    address = _address(url)
    try:
        from distributed import Client
    except ImportError as error:
        raise PackageMissing.of("--cluster needs the package distributed", "dask") from error
    # It would write of each connection that is lost, beside the error that reports it.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client: Any = Client(address, timeout=TIMEOUT, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        hint = "start one: dask scheduler; dask worker tcp://HOST:8786"
        raise ServiceUnavailable(f"{url}: no scheduler answers", hint=hint) from error
    with contextlib.closing(client):
        found = _Dask(client, url)
        found.require_workers()
        yield found


def _address(url: str) -> str:
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        port = None
    if port is None or found.scheme != SCHEME or not found.hostname or found.path.strip("/"):
        raise UsageError(f"--cluster {url}: not the address of a scheduler", hint=FORM)
    host = f"[{found.hostname}]" if ":" in found.hostname else found.hostname
    return f"tcp://{host}:{port}"


class _Dask:
    def __init__(self, client: Any, url: str) -> None:
        self._client, self._url = client, url
        self._sent: dict[int, tuple[object, Any]] = {}

    @property
    def workers(self) -> int:
        threads: dict[str, int] = self._client.nthreads()
        return max(1, sum(threads.values()))

    def require_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=TIMEOUT)
        except TimeoutError as error:
            hint = "dask worker tcp://HOST:PORT"
            raise ServiceUnavailable(f"{self._url}: it has no workers", hint=hint) from error
        with self._failures():
            there = self._client.run(arithmetic)
        here = arithmetic()
        for worker, other in sorted(there.items()):
            unlike = [f"{name} {other.get(name)}, not {own}" for name, own in here.items()
                      if other.get(name) != own]  # fmt: skip
            if unlike:
                hint = "results are the same to the bit from the same versions and kind of CPU only"
                raise ConfigurationError(f"{worker} has {'; '.join(unlike)}", hint=hint)

    def work(
        self,
        function: Callable[..., Result],
        common: tuple[object, ...],
        tasks: Sequence[object],
        progress: Progress = silent,
    ) -> Iterator[tuple[int, Result]]:
        if not tasks:
            return
        futures: list[Any] = []
        with self._failures():
            try:
                given = [self._scatter(each) for each in common]
                for each in tasks:
                    futures.append(self._client.submit(function, *given, each, pure=False))
                yield from self._gather(futures, progress)
            finally:
                self._client.cancel(futures, force=True)

    def _scatter(self, value: object) -> Any:
        """Return the handle of a value that each worker has."""
        if id(value) not in self._sent:
            # Not by content: a hash of the prices would cost more than it could save.
            handle = self._client.scatter([value], broadcast=True, hash=False)[0]
            self._sent[id(value)] = value, handle
        return self._sent[id(value)][1]

    def _gather(self, futures: list[Any], progress: Progress) -> Iterator[tuple[int, Any]]:
        numbers = {future: number for number, future in enumerate(futures)}
        waiting, alive = set(futures), time.monotonic()
        progress(0, len(futures))
        while waiting:
            try:
                done = self._wait(waiting)
            except TimeoutError:
                alive = self._still_alive(alive)
                continue
            alive = time.monotonic()
            for future in done:
                yield numbers[future], future.result()
            waiting -= done
            progress(len(futures) - len(waiting), len(futures))

    def _wait(self, waiting: set[Any]) -> set[Any]:
        """Return the futures that are done, one at least.

        Raises:
            TimeoutError: None is, after a while.
        """
        from distributed import wait

        with self._client.as_current():
            found: Any = wait(waiting, timeout=LOOK, return_when="FIRST_COMPLETED")  # type: ignore[no-untyped-call]
        return set(found.done)

    def _still_alive(self, alive: float) -> float:
        """Return when there were workers last."""
        if self._client.status == "running" and self._client.nthreads():
            return time.monotonic()
        if time.monotonic() - alive > WITHOUT_WORKERS:
            raise ServiceUnavailable(f"{self._url}: it has lost all of its workers")
        return alive

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn what the engine raises into errors of the cluster."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            yield
        except MlkitError:
            raise
        except ModuleNotFoundError as error:
            hint = f"pip install mlkit=={__version__} where the workers run"
            raise ServiceUnavailable(f"{self._url}: on a worker: {error}", hint=hint) from error
        except KilledWorker as error:
            hint = "a worker may need more memory, or fewer threads: dask worker --nthreads 1"
            raise ServiceUnavailable(f"{self._url}: workers died at work", hint=hint) from error
        except (OSError, TimeoutError, CancelledError, RuntimeError) as error:
            text = str(error) or type(error).__name__
            raise ServiceUnavailable(f"{self._url}: the cluster failed: {text}") from error


def arithmetic() -> dict[str, str]:
    """Return what the bits of results depend on: versions, and what this CPU computes with them.

    Logarithms and products of matrices are computed by instructions that differ between CPUs.
    """
    draws = np.random.default_rng(1).random((64, 200))
    parts = np.log(draws), draws.T @ draws, draws.mean(axis=0), draws.std(axis=0)
    found = hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in parts))
    return {"mlkit": __version__, "NumPy": np.__version__, "arithmetic": found.hexdigest()[:8]}
