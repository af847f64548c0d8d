"""The state folder as the other threads of a server use it: the host writes, and moves on."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from mlkit.bpmn.engine.engine import Engine
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.listings import Found
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Damaged, Recorded, Row
from mlkit.bpmn.people import masking
from mlkit.bpmn.people.directory import Directory
from mlkit.bpmn.people.masking import Mask
from mlkit.bpmn.runtime.held_secrets import HeldSecrets
from mlkit.bpmn.runtime.host import Host
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import ServiceUnavailable

WRITE_LIMIT = 30.0
"""Seconds to wait for a write."""
_LOOK_AGAIN = 0.2
T = TypeVar("T")


class HostedSession(Session):
    """A session of one thread, which reads by itself and leaves all else to the host.

    Args:
        host: The host of this process.
        engines: The engines of the definitions, which all threads share.
        secrets: What secrets have held, likewise.
    """

    shares_artifacts = False  # The host has done so.

    def __init__(
        self, host: Host, engines: dict[tuple[str, str], Engine], secrets: HeldSecrets
    ) -> None:
        super().__init__(host.folder, host.settings)
        self.host = host
        self.engines = engines
        self.secrets = secrets
        self._marked: dict[tuple[str, str], frozenset[str]] = {}

    def write(self, function: Callable[[Journal], T]) -> T:
        """Let the host write, and wait until it is durable.

        Raises:
            ServiceUnavailable: The host stops, or does not answer.
        """
        try:
            return self.host.write(function).result(WRITE_LIMIT)  # type: ignore[no-any-return]
        except concurrent.futures.TimeoutError:
            raise ServiceUnavailable(
                f"the engine has not written within {WRITE_LIMIT:g} s", hint="try again later"
            ) from None

    def settle(self, row: Row, number: int, limit: float) -> str | None:
        """Wait until an event of an inbox is decided: by the host, or by another process."""
        future = self.host.verdict(number)
        deadline = time.monotonic() + limit
        try:
            while True:
                refusal = self.journal.mailbox.verdict(number)
                if refusal is not None or time.monotonic() > deadline:
                    return refusal
                try:
                    return future.result(_LOOK_AGAIN).refusal
                except concurrent.futures.TimeoutError:
                    continue
        finally:
            self.host.forget(number)

    def mask(self, row: Row, state: State | None = None) -> Mask:
        """Return what is hidden of an instance from everybody who asks the server."""
        return self._mask(row)

    def hide(self, texts: Sequence[tuple[int, str]]) -> list[str]:
        """Return the texts of a list, each about an instance, without what secrets hold.

        Variables with the names of secrets that were open then are hidden in the index already.
        What is not known of the instances is read together.
        """
        rows = {each.number: each for each in self._readable({number for number, _ in texts})}
        unread = [each for each in rows.values() if not self.secrets.knows(each)]
        recorded = {row.number: found for row, found in self.journal.load_recorded(unread)}
        masks: dict[int, Mask] = {}
        for number, row in rows.items():
            with contextlib.suppress(Damaged):
                masks[number] = self._mask(row, recorded.get(number))
        hidden = ((masks.get(number), text) for number, text in texts)
        return [masking.MASKED if mask is None else mask.text(text) for mask, text in hidden]

    def _readable(self, numbers: set[int]) -> list[Row]:
        """Return the rows of instances, but for those that are damaged."""
        with contextlib.suppress(Damaged):
            return self.journal.rows_of(numbers)
        found = []
        for each in sorted(numbers):
            with contextlib.suppress(Damaged):
                found += self.journal.rows_of([each])
        return found

    def _mask(self, row: Row, recorded: Recorded | None = None) -> Mask:
        """Return what is hidden of an instance.

        Raises:
            Damaged: Its row, its definition or its events cannot be read.
        """
        engine, marked = self.engine(row), self._marks(row)
        return self.secrets.mask(self.journal, row, engine, marked, recorded)

    def hides(self, found: Row | Found, name: str) -> bool:
        """Return whether a variable of an instance is a secret; of a damaged one each is."""
        if masking.is_secret(name):
            return True
        try:
            return Mask(self._marks(found)).hides(name)
        except Damaged:
            return True

    def _marks(self, found: Row | Found) -> frozenset[str]:
        """Return the variables that the forms of an instance's diagram mark."""
        place = found.definition, found.process
        if place not in self._marked:
            row = found if isinstance(found, Row) else self.journal.get(found.number)
            self._marked[place] = masking.find_marked(self.engine(row))
        return self._marked[place]

    def advance(self, rows: list[Row]) -> list[Row]:
        """Leave instances to the host; return them as they are now."""
        self.host.wake()
        return [self.journal.get(each.number) for each in rows]


class ServiceThreads:
    """Threads that answer with the use cases of a state folder, each with a session of its own.

    What uses stored values has threads of its own: a store that hosts share may be away or hang,
    and nothing else waits for it then.

    Args:
        host: The host of this process.
        size: How many threads.
        store_size: How many more, for what uses stored values.
        people: Returns the people of the server.
    """

    def __init__(
        self,
        host: Host,
        size: int = 8,
        store_size: int = 4,
        people: Callable[[], Directory] = Directory,
    ) -> None:
        self._host = host
        self._people = people
        self._engines: dict[tuple[str, str], Engine] = {}
        self._secrets = HeldSecrets()
        self._local = threading.local()
        self._services: list[Service] = []
        self.executor = concurrent.futures.ThreadPoolExecutor(size, "service")
        self.store_executor = concurrent.futures.ThreadPoolExecutor(store_size, "stored")

    def run(self, function: Callable[[Service], T], source: str = "server") -> T:
        """Call a function with the service of this thread.

        Args:
            function: What to do.
            source: Where the request comes from, for the audit log.
        """
        service: Service | None = getattr(self._local, "service", None)
        if service is None:
            session = HostedSession(self._host, self._engines, self._secrets)
            service = Service(session, people=self._people)
            self._local.service = service
            self._services.append(service)
        service.session.errors.clear()
        service.session.source = source
        return function(service)

    def close(self) -> None:
        """Wait for the threads to end."""
        self.store_executor.shutdown(wait=False, cancel_futures=True)
        self.executor.shutdown(wait=True, cancel_futures=True)
