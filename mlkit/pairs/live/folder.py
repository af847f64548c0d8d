"""The folder of a run: its lock, its log, its plan, its kill switch and what it shows of itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mlkit import streams
from mlkit.errors import ConfigurationError, InputMissing
from mlkit.files import make_folder, replacing
from mlkit.pairs.live import plan as plans
from mlkit.pairs.live.plan import RunPlan
from mlkit.pairs.live.topics import TOPICS
from mlkit.streams import Log

KILL = "KILL"
"""A file of this name in the folder stops the run, whatever else works."""


_decode_status = msgspec.json.Decoder(dict[str, Any]).decode


class RunFolder:
    """The folder of a run.

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.resolve().name

    def create(self) -> None:
        """Make the folder, with access for its owner only.

        Raises:
            InputMissing: It cannot be made.
        """
        try:
            make_folder(self.path, 0o700)
        except FileExistsError as error:
            raise InputMissing(f"{self.path}: not a folder", hint="name a new one") from error
        except OSError as error:
            raise InputMissing(f"{self.path}: cannot be written: {error.strerror}") from error

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """Own the run while the block runs; the system ends it when the process dies.

        Raises:
            ConfigurationError: Another process owns it.
        """
        file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(file, 32, 0).decode("ascii", "replace").strip()
                raise ConfigurationError(
                    f"{self.path}: another process runs it ({owner})",
                    hint="one run has one owner: name another folder with --state",
                ) from None
            with contextlib.suppress(OSError):  # who it is serves messages only
                os.ftruncate(file, 0)
                os.pwrite(file, b"%d\n" % os.getpid(), 0)
            yield
        finally:
            os.close(file)

    def is_owned(self) -> bool:
        """Return whether a process runs it."""
        try:
            with self.own():
                return False
        except ConfigurationError:
            return True
        except FileNotFoundError:
            return False

    def has_plan(self) -> bool:
        """Return whether a run has been started in it."""
        return (self.path / plans.FILE).exists()

    def plan(self) -> RunPlan:
        """Read the plan; see `plan.read`."""
        return plans.read(self.path)

    def log_url(self) -> str:
        """Return where the run's log is."""
        try:
            return (self.path / "log.url").read_text(encoding="utf-8").strip()
        except OSError:
            return str(self.path / "log")

    def set_log(self, url: str) -> None:
        """Keep the topics in a log elsewhere.

        Raises:
            ConfigurationError: The run has begun with another log.
        """
        if (self.path / plans.FILE).exists() and self.log_url() != url:
            raise ConfigurationError(f"{self.path}: its log is {self.log_url()}, not {url}")
        with replacing(self.path / "log.url", mode=0o600) as file:
            file.write(url.encode() + b"\n")

    def open_log(self) -> Log:
        """Open the log of the run."""
        log = streams.open(self.log_url())
        return _Prefixed(log, f"{self.name}.") if "://" in self.log_url() else log

    def create_topics(self, log: Log, retention_ms: int | None) -> None:
        """Create the topics that are not there."""
        there = log.topics()
        for topic in TOPICS:
            if topic not in there:
                log.create(topic, 1, retention_ms)

    def is_killed(self) -> bool:
        """Return whether the kill switch is set."""
        return (self.path / KILL).exists()

    def show(self, status: dict[str, Any]) -> None:
        """Write what the run shows of itself; it is a view, not synced, and stops nobody."""
        temporary = self.path / f".status.{os.getpid()}"
        with contextlib.suppress(OSError):
            temporary.write_bytes(msgspec.json.encode(status))
            temporary.replace(self.path / "status.json")

    def status(self) -> dict[str, Any]:
        """Read what the run showed last.

        Raises:
            InputMissing: It has shown nothing.
        """
        try:
            found = _decode_status((self.path / "status.json").read_bytes())
            found["status"]
        except (OSError, msgspec.DecodeError, RecursionError, KeyError) as error:
            hint = "mlkit pairs live FEED --state DIR starts a run"
            raise InputMissing(f"{self.path}: no live run", hint=hint) from error
        return found


class _Prefixed:
    """A log that several runs share: each has its topics under its own name."""

    def __init__(self, log: Log, prefix: str) -> None:
        self._log, self._prefix = log, prefix

    def topics(self) -> dict[str, int]:
        length = len(self._prefix)
        return {
            name[length:]: count
            for name, count in self._log.topics().items()
            if name.startswith(self._prefix)
        }

    def create(self, topic: str, partitions: int = 1, retention_ms: int | None = None) -> None:
        self._log.create(self._prefix + topic, partitions, retention_ms)

    def append(self, topic: str, messages: Any) -> None:
        self._log.append(self._prefix + topic, messages)

    def read(self, partition: streams.Partition, offset: int, most: int = 1000) -> Any:
        return self._log.read(self._place(partition), offset, most)

    def bounds(self, partition: streams.Partition) -> tuple[int, int]:
        return self._log.bounds(self._place(partition))

    def offset_at(self, partition: streams.Partition, timestamp: int) -> int:
        return self._log.offset_at(self._place(partition), timestamp)

    def committed(self, group: str, partition: streams.Partition) -> int | None:
        return self._log.committed(self._prefix + group, self._place(partition))

    def consume(self, group: str, topics: Any, **options: Any) -> Any:
        names = [self._prefix + topic for topic in topics]
        member = self._log.consume(self._prefix + group, names, **options)
        return _PrefixedMember(member, self._prefix)

    def close(self) -> None:
        self._log.close()

    def _place(self, partition: streams.Partition) -> streams.Partition:
        return streams.Partition(self._prefix + partition.topic, partition.number)


class _PrefixedMember:
    def __init__(self, member: Any, prefix: str) -> None:
        self._member, self._prefix = member, prefix

    @property
    def assignment(self) -> frozenset[streams.Partition]:
        return frozenset(map(self._own, self._member.assignment))

    def poll(self, most: int = 1000, timeout: float = 1.0) -> Any:
        found = self._member.poll(most, timeout)
        return [each._replace(partition=self._own(each.partition)) for each in found]

    def is_at_end(self, partition: streams.Partition) -> bool:
        return bool(self._member.is_at_end(self._place(partition)))

    def state(self, partition: streams.Partition) -> bytes | None:
        found: bytes | None = self._member.state(self._place(partition))
        return found

    def commit(self, output: streams.Output | None = None) -> None:
        if output is not None:
            output = streams.Output(
                {self._prefix + topic: each for topic, each in output.messages.items()},
                {self._place(place): state for place, state in output.states.items()},
            )
        self._member.commit(output)

    def close(self) -> None:
        self._member.close()

    def _place(self, partition: streams.Partition) -> streams.Partition:
        return streams.Partition(self._prefix + partition.topic, partition.number)

    def _own(self, partition: streams.Partition) -> streams.Partition:
        return streams.Partition(partition.topic[len(self._prefix) :], partition.number)
