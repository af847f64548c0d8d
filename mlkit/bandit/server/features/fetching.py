"""Features from a store for the ids of requests: in chunks, at once, and never without an answer.

What the store does not answer in time, or has wrong, is what it answered last, of the same worker;
without that, it is the default: the model's own features of an arm, 0 for a context (or nothing, if
the features are hashed). An id that the store does not know has the default.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from mlkit.bandit.feature_stores.source import FeatureSource, Row, SourceFailed, Subject
from mlkit.bandit.models.features import FeatureSchema, Named
from mlkit.bandit.policies.policy import LARGEST, Array
from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import PredictRequest
from mlkit.bandit.server.features.store_health import StoreHealth
from mlkit.errors import BadData
from mlkit.web.metrics import Counters

LATE = 10.0, 1.0
"""A store may take so many times the timeout, and so many seconds, whichever is longer."""
MOST_CACHED = 200_000
"""Ids whose features a worker keeps."""
_LONGEST_TEXT = 256


class Known(NamedTuple):
    """What is known of an id.

    Attributes:
        named: The features that the model reads, by name.
        vector: The vector of them.
        others: Those that business rules read.
    """

    named: Named
    vector: Array
    others: Named


class ArmFeatures(NamedTuple):
    """Features of arms that a store had, by the ids of the arms.

    Attributes:
        named: Those that the model reads.
        vectors: The vectors of them.
        others: Those that business rules read.
    """

    named: Mapping[str, Named]
    vectors: Mapping[str, Array]
    others: Mapping[str, Named]


NO_ARM_FEATURES = ArmFeatures({}, {}, {})


class RowReader:
    """Reads the rows of a store as features of a model, and keeps the last good ones.

    Args:
        schema: The features of the model.
        others: Names of features of arms that business rules read.
    """

    def __init__(self, schema: FeatureSchema, others: Sequence[str] = ()) -> None:
        self.schema = schema
        self._others = others
        arm = tuple(dict.fromkeys((*schema.arm, *others)))
        self.names = {Subject.ARM: arm, Subject.CONTEXT: schema.context}
        is_number = not schema.hashed
        self.zeros: dict[str, float] = dict.fromkeys(schema.context, 0.0) if is_number else {}
        self.cache: OrderedDict[tuple[Subject, str], Known] = OrderedDict()

    def read(self, subject: Subject, each: str, row: Row | None) -> Known:
        """Return what a row holds of an id.

        Raises:
            BadData: A value is wrong; or one of an arm is missing, and not hashed.
        """
        if row is None:
            raise BadData("no features by name")
        names = self.schema.arm if subject is Subject.ARM else self.schema.context
        wanted = ((name, row.get(name)) for name in names)
        named = {name: self._value(name, value) for name, value in wanted if value is not None}
        known = self.cache.get((subject, each))
        is_same = known is not None and known.named == named
        vector = known.vector if known is not None and is_same else self._vector(subject, named)
        others = self._others if subject is Subject.ARM else ()
        return Known(named, vector, {name: row[name] for name in others if _is_scalar(row, name)})

    def keep(self, subject: Subject, each: str, known: Known) -> None:
        """Keep the features of an id, and forget those that were not asked for in a long time."""
        self.cache[subject, each] = known
        self.cache.move_to_end((subject, each))
        if len(self.cache) > MOST_CACHED:
            self.cache.popitem(last=False)

    def _vector(self, subject: Subject, named: Named) -> Array:
        if subject is Subject.ARM:
            return self.schema.arm_vector(named)
        return self.schema.context_vector({**self.zeros, **named})

    def _value(self, name: str, value: Any) -> Any:
        """Return a value as requests have it: stores know texts for numbers, and the reverse."""
        if name in self.schema.categories:
            found = str(value) if type(value) is int else value
            if isinstance(found, str) and len(found) > _LONGEST_TEXT:
                raise BadData(f"{name!r}: a text of {len(found)} characters")
            return found
        if not isinstance(value, str):
            return value
        try:
            return float(value)
        except ValueError:
            raise BadData(f"{name!r} is {value!r:.60}, not a number") from None


def _is_scalar(row: Row, name: str) -> bool:
    value = row.get(name)
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    return isinstance(value, bool | int | float) and abs(value) <= LARGEST


class FeatureFetcher:
    """Completes requests with the features of a store.

    Args:
        source: The store.
        counters: Where to count what came from where.
        chunk: Ids to ask for at once.
        timeout: Seconds to wait for an answer.
        others: Names of features of arms that business rules read.
        clock: Returns seconds from any start.
    """

    def __init__(
        self,
        source: FeatureSource,
        counters: Counters,
        *,
        chunk: int,
        timeout: float,
        others: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._counters = source, counters
        self._chunk, self._timeout = chunk, timeout
        self._others = others
        self._asking: set[asyncio.Task[Mapping[str, Row | None] | str]] = set()
        self._health = StoreHealth(clock)
        self._reader: RowReader | None = None

    async def complete(
        self,
        schema: FeatureSchema,
        requests: Sequence[PredictRequest],
        every_arm: Sequence[str],
    ) -> list[ArmFeatures]:
        """Fill in the features of the contexts of requests, and return those of their arms.

        Args:
            schema: The features of the model; those of a request come first.
            requests: The requests; `features` is completed where there is a `context`.
            every_arm: The candidates of a request that names none.

        Returns:
            Of each request.
        """
        if self._reader is None or self._reader.schema != schema:
            self._reader = RowReader(schema, self._others)
        reader = self._reader  # another model may be served before the store answers
        arms: Sequence[Sequence[str]] = [()] * len(requests)
        if self.reads_arms(schema):
            arms = [every_arm if (own := each.candidates) is None else own for each in requests]
        lacking = [each for each in requests if _lacks(each, schema)]
        contexts, known = await asyncio.gather(
            self._look_up(reader, Subject.CONTEXT, (each.context or "" for each in lacking)),
            self._look_up(reader, Subject.ARM, chain.from_iterable(arms)),
        )
        for each in lacking:
            self._fill(each, contexts.get(each.context or ""), reader)
        return [_of(known, each, schema) for each in arms]

    def reads_arms(self, schema: FeatureSchema) -> bool:
        """Return whether the model or a business rule reads features of arms."""
        return bool(schema.arm or self._others)

    async def close(self) -> None:
        """Close the store."""
        for each in self._asking:
            each.cancel()
        await self._source.close()

    def _fill(self, request: PredictRequest, known: Known | None, reader: RowReader) -> None:
        sent, stored = request.features or {}, {} if known is None else known.named
        if known is not None and any(
            name not in stored and name not in sent for name in reader.zeros
        ):
            self._counters.add(metrics.FAULTS["incomplete"])
        request.features = {**reader.zeros, **stored, **sent}

    async def _look_up(
        self, reader: RowReader, subject: Subject, ids: Iterable[str]
    ) -> dict[str, Known]:
        """Return what is known of ids, however often they are named."""
        wanted = list(dict.fromkeys(ids))
        parts = (wanted[at : at + self._chunk] for at in range(0, len(wanted), self._chunk))
        found = await asyncio.gather(*(self._part(reader, subject, each) for each in parts))
        return {each: known for part in found for each, known in part}

    async def _part(
        self, reader: RowReader, subject: Subject, ids: Sequence[str]
    ) -> list[tuple[str, Known]]:
        rows = await self._ask(reader, subject, ids)
        found = ((each, self._one(reader, subject, each, rows)) for each in ids)
        return [(each, known) for each, known in found if known is not None]

    async def _ask(
        self, reader: RowReader, subject: Subject, ids: Sequence[str]
    ) -> Mapping[str, Row | None] | None:
        """Return the rows of ids; None: there is no answer."""
        if self._health.is_paused():
            self._counters.add(metrics.CHUNKS["paused"])
            return None
        asked = asyncio.create_task(self._fetch(subject, ids, reader.names[subject]))
        self._asking.add(asked)
        asked.add_done_callback(self._asking.discard)
        await asyncio.wait({asked}, timeout=self._timeout)
        if not asked.done():
            asked.add_done_callback(partial(_keep_late, reader, subject, ids))
        found = asked.result() if asked.done() else "timeout"
        if isinstance(found, str):
            self._counters.add(metrics.CHUNKS["error" if asked.done() else "timeout"])
            self._health.note_failure(found)
            return None
        self._counters.add(metrics.CHUNKS["answered"])
        self._health.note_answer()
        return found

    async def _fetch(
        self, subject: Subject, ids: Sequence[str], names: Sequence[str]
    ) -> Mapping[str, Row | None] | str:
        """Return the rows of ids, or why there are none."""
        try:
            return await self._source.fetch(subject, ids, names)
        except SourceFailed as error:
            return str(error)

    def _one(
        self,
        reader: RowReader,
        subject: Subject,
        each: str,
        rows: Mapping[str, Row | None] | None,
    ) -> Known | None:
        """Return the features of an id; None: the default."""
        if rows is None:
            return self._look_up_cached(reader, subject, each)
        if each not in rows:
            reader.cache.pop((subject, each), None)
            self._counters.add(metrics.FAULTS["unknown"])
            self._counters.add(metrics.ROWS["default"])
            return None
        try:
            known = reader.read(subject, each, rows[each])
        except BadData:
            self._counters.add(metrics.FAULTS["invalid"])
            return self._look_up_cached(reader, subject, each)
        reader.keep(subject, each, known)
        self._counters.add(metrics.ROWS["fetched"])
        return known

    def _look_up_cached(self, reader: RowReader, subject: Subject, each: str) -> Known | None:
        known = reader.cache.get((subject, each))
        self._counters.add(metrics.ROWS["default" if known is None else "cached"])
        return known


def _keep_late(
    reader: RowReader,
    subject: Subject,
    ids: Sequence[str],
    asked: asyncio.Task[Mapping[str, Row | None] | str],
) -> None:
    """Keep what came too late for its prediction: the next one finds it, if it has to."""
    if asked.cancelled() or isinstance(found := asked.result(), str):
        return
    for each in ids:
        with contextlib.suppress(BadData):
            if each in found:
                reader.keep(subject, each, reader.read(subject, each, found[each]))


def _lacks(request: PredictRequest, schema: FeatureSchema) -> bool:
    """Return whether a context has features that the request does not bring."""
    sent = request.features or {}
    return request.context is not None and any(name not in sent for name in schema.context)


def _of(known: Mapping[str, Known], arms: Sequence[str], schema: FeatureSchema) -> ArmFeatures:
    found = {each: known[each] for each in arms if each in known}
    if not found:
        return NO_ARM_FEATURES
    own = found if schema.arm else {}
    return ArmFeatures(
        {each: its.named for each, its in own.items()},
        {each: its.vector for each, its in own.items()},
        {each: its.others for each, its in found.items()},
    )
