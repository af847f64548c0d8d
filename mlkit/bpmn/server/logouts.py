"""Sessions that were ended on any host: they are refused on this one a moment later."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from mlkit.bpmn.runtime.hosted import ServiceThreads
from mlkit.bpmn.runtime.service import Service
from mlkit.errors import MlkitError
from mlkit.web.sessions import Ended

INTERVAL = 1.0
"""Seconds between two looks at the journal."""
logger = logging.getLogger("mlkit.bpmn")


class Logouts:
    """Follows the sessions that the hosts of a journal have ended.

    Args:
        threads: The services of this process.
        ended: What this process knows.
    """

    def __init__(self, threads: ServiceThreads, ended: Ended) -> None:
        self._threads = threads
        self._ended = ended
        self._version: tuple[int, int] | None = None
        # A thread of its own: a page that takes long must not delay a logout.
        self._thread = ThreadPoolExecutor(1, "logouts")

    def read(self) -> None:
        """Read what has been ended since.

        Raises:
            MlkitError: The journal cannot be read.
        """
        self._thread.submit(self._threads.run, self._read).result()

    def _read(self, service: Service) -> None:
        logouts = service.session.journal.logouts
        version = logouts.version()
        if version != self._version:
            self._ended.learn(logouts.all())
            self._version = version

    async def follow(self) -> None:
        """Read again and again, for ever; a journal that does not answer is asked again."""
        loop = asyncio.get_running_loop()
        fails = False
        while True:
            try:
                await loop.run_in_executor(self._thread, self._threads.run, self._read)
                fails = False
            except MlkitError as error:
                if not fails:
                    logger.error("logouts on other hosts are not seen: %s", error.message)
                fails = True
            await asyncio.sleep(INTERVAL)

    def close(self) -> None:
        """Read no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)
