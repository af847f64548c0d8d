"""A model in shared memory: one process writes, all others read the state that is whole.

The file has a header of JSON, then arrays: the model's, each at a multiple of 64 bytes. A sequence
lock keeps readers from a state that is half written: its number is odd while the writer writes, and
who reads compares it before and after (Lameter, "Effective Synchronization on Linux/NUMA Systems",
2005).
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlkit.bandit.models.features import FeatureSchema
from mlkit.bandit.models.model import ModelHeader, PolicyModel
from mlkit.bandit.policies import catalog
from mlkit.bandit.posteriors.forgetting import Forgetting

_ALIGNED = 64
_PATIENCE = 200
"""Attempts to read a state that is whole, the later ones after a pause."""
_PAUSE = 0.0005
_LOCK, _COUNT = 0, 1
_ID_BYTES = 64
"""Bytes reserved for an id, on average."""
T = TypeVar("T")


class _Header(msgspec.Struct):
    """What a reader needs to know of the arrays."""

    model: str
    policy: str
    features: dict[str, Any]
    capacity: int
    id_bytes: int
    half_life: float | None = None


class Unreadable(RuntimeError):
    """The writer changes the model all the time, or has died while it did."""


class SharedModel:
    """A model in a file that processes share.

    Attributes:
        model: The writer's own model, or a reader's view of the file.

    Args:
        model: The model.
        arrays: The arrays of the file, by name.
    """

    def __init__(self, model: PolicyModel, arrays: dict[str, NDArray[Any]]) -> None:
        self.model = model
        self._arrays = arrays
        self._control = arrays["control"]

    @staticmethod
    def create(path: Path, model: PolicyModel) -> SharedModel:
        """Write a model to a new file and be its only writer.

        Raises:
            OSError: The file cannot be made, or the disk has no room for it.
        """
        used = sum(len(name.encode()) for name in model.ids)
        capacity = model.pulls.size
        header = _Header(
            model.header.model,
            str(model.header.spec),
            msgspec.to_builtins(model.header.features.declared()),
            capacity,
            2 * used + capacity * _ID_BYTES,
            None if model.header.forgetting is None else model.header.forgetting.half_life,
        )
        path.unlink(missing_ok=True)
        shared = SharedModel(model, _arrays(_map(path, header), header, model))
        shared.publish(range(len(model.ids)))
        return shared

    @staticmethod
    def open(path: Path) -> SharedModel:
        """Open a file for reading: its model shows what the writer publishes.

        Raises:
            OSError: The file cannot be opened.
        """
        with path.open("rb") as file:
            memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        size = int.from_bytes(memory[:8])
        header = msgspec.json.decode(memory[8 : 8 + size], type=_Header)
        model = _empty(header)
        arrays = _arrays(memory, header, model)
        model.pulls, model.removed = arrays["pulls"], arrays["removed"]
        model.vectors, model.times = arrays["vectors"], arrays["times"]
        catalog.assign(model.policy, {name: arrays[f"state {name}"] for name in _state(model)})
        return SharedModel(model, arrays)

    def fits(self) -> bool:
        """Return whether the file has room for the writer's model."""
        used = sum(len(name.encode()) for name in self.model.ids)
        capacity: int = self._arrays["pulls"].size
        return self.model.pulls.size <= capacity and used <= self._arrays["ids"].size

    # Writing

    def publish(self, places: Iterable[int]) -> None:
        """Show the writer's state of some arms, all at once; new arms are shown in any case."""
        self._control[_LOCK] += 1
        try:
            for place in sorted(set(places)):
                self._copy(place)
            self._add_ids()
        finally:
            self._control[_LOCK] += 1

    def _copy(self, place: int) -> None:
        model, arrays, row = self.model, self._arrays, self.model.row(place)
        for name, values in _state(model).items():
            arrays[f"state {name}"][row] = values[row]
        for name in ("pulls", "removed", "vectors", "times"):
            arrays[name][place] = getattr(model, name)[place]

    def _add_ids(self) -> None:
        count, ends, ids = int(self._control[_COUNT]), self._arrays["ends"], self._arrays["ids"]
        begin = int(ends[count - 1]) if count else 0
        for place in range(count, len(self.model.ids)):
            text = self.model.ids[place].encode()
            ids[begin : begin + len(text)] = np.frombuffer(text, np.uint8)
            begin += len(text)
            ends[place] = begin
        self._control[_COUNT] = len(self.model.ids)

    # Reading

    def read(self, function: Callable[[PolicyModel], T]) -> T:
        """Return what a function computes from a state that is whole.

        It may be called several times, and must change nothing.

        Raises:
            Unreadable: There was no such state for a long time.
        """
        for attempt in range(_PATIENCE):
            before = int(self._control[_LOCK])
            if before % 2 == 0:
                error = None
                try:
                    self._name_arms()
                    found = function(self.model)
                except Exception as raised:  # of a state that is half written, perhaps
                    error = raised
                if int(self._control[_LOCK]) == before:
                    if error is not None:
                        raise error
                    return found
            if attempt > 3:
                time.sleep(_PAUSE)
        raise Unreadable

    def _name_arms(self) -> None:
        count, ends = int(self._control[_COUNT]), self._arrays["ends"]
        for place in range(len(self.model.ids), count):
            begin = int(ends[place - 1]) if place else 0
            self.model.name(self._arrays["ids"][begin : int(ends[place])].tobytes().decode())


def _state(model: PolicyModel) -> dict[str, NDArray[Any]]:
    return dict(catalog.arrays(model.policy))


def _empty(header: _Header) -> PolicyModel:
    """Return a model that nothing is known of."""
    spec, schema = catalog.parse(header.policy), FeatureSchema.of(header.features)
    aging = None if header.half_life is None else Forgetting(header.half_life, 0.0)
    return PolicyModel(ModelHeader(header.model, spec, schema, (), aging), header.capacity)


def _map(path: Path, header: _Header) -> mmap.mmap:
    """Make a file of the right size, with the header at its begin."""
    text = msgspec.json.encode(header)
    model = _empty(header)
    size = _end(header, model, len(text))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
        memory = mmap.mmap(descriptor, size)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    memory[:8] = len(text).to_bytes(8)
    memory[8 : 8 + len(text)] = text
    return memory


def _layout(header: _Header, model: PolicyModel) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return type and shape of each array."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        "control": ("<u8", (2,)),
        "pulls": ("<f8", model.pulls.shape),
        "removed": ("?", model.removed.shape),
        "vectors": ("<f8", model.vectors.shape),
        "times": ("<f8", model.times.shape),
        "ends": ("<u8", (header.capacity,)),
        "ids": ("u1", (header.id_bytes,)),
    }
    return found | {f"state {name}": ("<f8", each.shape) for name, each in _state(model).items()}


def _end(header: _Header, model: PolicyModel, text: int) -> int:
    end = _next(8 + text)
    for kind, shape in _layout(header, model).values():
        end = _next(end + np.dtype(kind).itemsize * int(np.prod(shape, dtype=np.int64)))
    return end + _ALIGNED


def _arrays(memory: mmap.mmap, header: _Header, model: PolicyModel) -> dict[str, NDArray[Any]]:
    end, found = _next(8 + int.from_bytes(memory[:8])), {}
    for name, (kind, shape) in _layout(header, model).items():
        size = int(np.prod(shape, dtype=np.int64))
        found[name] = np.frombuffer(memory, kind, size, end).reshape(shape)
        end = _next(end + np.dtype(kind).itemsize * size)
    return found


def _next(end: int) -> int:
    return -(-end // _ALIGNED) * _ALIGNED
