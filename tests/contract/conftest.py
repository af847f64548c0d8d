"""The journals and posterior stores that pass the suites, and those that are only here to do so.

A new store adds itself to `STORES`; the suite asks nothing but the interface.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.journals import Hosts

from mlkit.bandit._posterior_table import Fetched, PosteriorTable
from mlkit.bandit.stores.store import PosteriorStore, settle
from mlkit.bpmn.journal import open_journal
from mlkit.bpmn.journal.protocol import Journal

PRIOR = 1.0, 3.0
SHRINKAGE = 8.0
LOWEST, HIGHEST = 1e-300, 1e15


class InMemory:
    """The reference: plain dictionaries, in plain Python."""

    def __init__(self) -> None:
        self._arms: dict[str, list[float]] = {}
        self._pairs: dict[tuple[str, str], list[float]] = {}
        self._removed: set[str] = set()

    @property
    def prior(self) -> tuple[float, float]:
        return PRIOR

    def fetch(self, context: str | None, candidates: list[str] | None) -> Fetched:
        names = list(self._arms) if candidates is None else candidates
        for index, name in enumerate(names):
            _check(name, f"candidates[{index}]")
        if context is not None:
            _check(context, "context")
        rows = [self._row(context, name) for name in names]
        a, b = np.array([row[:2] for row in rows] or np.empty((0, 2))).T
        unknown = sum(name not in self._arms for name in names)
        fell_back = 0
        if context is not None:
            fell_back = sum((context, name) not in self._pairs for name in names)
        return Fetched(names, a, b, fell_back, unknown)

    def _row(self, context: str | None, arm: str) -> list[float]:
        if context is not None and (context, arm) in self._pairs:
            return self._pairs[context, arm]
        return self._arms.get(arm, [*PRIOR, 0.0])

    def arm(self, arm: str) -> tuple[float, float, float] | None:
        _check(arm, "arm")
        row = self._arms.get(arm)
        return None if row is None else (row[0], row[1], row[2])

    def arms(
        self, after: str | None = None, limit: int = 1000
    ) -> list[tuple[str, float, float, float]]:
        names = sorted(name for name in self._arms if after is None or name > after)
        return [(name, *map(float, self._arms[name])) for name in names[:limit]]  # type: ignore[misc]

    def size(self) -> tuple[int, int]:
        return len(self._arms), len(self._pairs)

    def knows(self, arm: str) -> bool:
        return arm in self._arms or arm in self._removed

    def put_arm(self, arm: str, a: float, b: float, pulls: float = 0.0) -> None:
        _check(arm, "arm")
        self._removed.discard(arm)
        self._arms[arm] = [a, b, pulls]

    def remove_arm(self, arm: str) -> bool:
        _check(arm, "arm")
        if arm not in self._arms:
            return False
        del self._arms[arm]
        self._removed.add(arm)
        self._pairs = {pair: row for pair, row in self._pairs.items() if pair[1] != arm}
        return True

    def add_reward(self, context: str | None, arm: str, reward: float) -> bool:
        _check(arm, "arm")
        if not 0 <= reward <= 1:
            raise ValueError("reward: must be from 0 to 1")
        if arm in self._removed:
            return False
        row = self._arms.setdefault(arm, [*PRIOR, 0.0])
        if context is not None:
            _check(context, "context")
            mean = row[0] / (row[0] + row[1])
            start = [SHRINKAGE * mean, SHRINKAGE * (1 - mean), 0.0]
            _add(self._pairs.setdefault((context, arm), start), reward)
        _add(row, reward)
        return True


def _add(row: list[float], reward: float) -> None:
    row[:] = [row[0] + reward, row[1] + 1 - reward, row[2] + 1]


def _check(text: str, place: str) -> None:
    if not 1 <= len(text.encode()) <= 256:
        raise ValueError(f"{place}: an id has 1 to 256 bytes of UTF-8")


class Awaited:
    """A store that answers later, as one behind a network: every method is a coroutine."""

    def __init__(self, store: InMemory) -> None:
        self._store = store
        self.prior = store.prior

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def later(*arguments: Any, **named: Any) -> Any:
            await asyncio.sleep(0)
            return method(*arguments, **named)

        return later


def memory_mapped(directory: Path) -> PosteriorTable:
    return PosteriorTable.create(
        str(directory / "table"),
        arms=100,
        contexts=100,
        posteriors=100,
        id_bytes=10_000,
        prior=PRIOR,
        shrinkage=SHRINKAGE,
    )


STORES: dict[str, Callable[[Path], PosteriorStore]] = {
    "memory-mapped": memory_mapped,
    "in memory": lambda directory: InMemory(),
    "asynchronous": lambda directory: Awaited(InMemory()),
}


class Asked:
    """A store whose answers are waited for."""

    def __init__(self, store: PosteriorStore) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            async def settled() -> Any:
                return await settle(getattr(self.store, name)(*arguments))

            return asyncio.run(settled())

        return ask


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Asked:
    """Return each store in turn, empty."""
    return Asked(STORES[request.param](tmp_path))


@pytest.fixture(params=["sqlite", "postgresql"])
def hosts(request, tmp_path) -> Iterator[Hosts]:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgresql")
    found = Hosts(lambda: open_journal(tmp_path / "state", create=True, url=url))
    yield found
    for each in found.opened:
        each.close()


@pytest.fixture
def journal(hosts) -> Journal:
    return hosts.host()
