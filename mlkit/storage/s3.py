"""Objects in storage that is compatible with S3, by obstore."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, TYPE_CHECKING, cast

from mlkit.errors import ConfigurationError, MlkitError, PackageMissing, ServiceUnavailable
from mlkit.storage.objects import Sink, Stored

try:
    import obstore
    from obstore import exceptions
    from obstore.store import S3Store
except ImportError as _missing:
    raise PackageMissing.of("an artifact store in S3 needs the package obstore", "s3") from _missing

if TYPE_CHECKING:
    from obstore.store import S3Config

_SLOW = 5.0
"""Seconds after which a failure is that of a store which hangs."""
_PAUSE = 5.0
"""Seconds for which nobody waits for a store that has hung."""
_TRIES = 4
_PATIENCE = timedelta(seconds=30)
_LIMITS = {"read_timeout": "30s", "timeout": "6h"}
"""Of an answer that does not come, and of a large object; client options would hide those of the
environment, such as AWS_ALLOW_HTTP."""
_REFUSED = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
_CREDENTIALS = "see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION"
_AWAY = "is the storage reachable, and does the bucket exist? Nothing that was committed is lost"


class _Outage:
    """Whether a store hangs: one caller after another tries it then, and the rest do not wait.

    A failure that comes at once needs none of this, and may concern a single object.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._error: MlkitError | None = None
        self._until = 0.0
        self._is_tried = False

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Use the store, or raise at once what is wrong with it.

        Raises:
            ServiceUnavailable: It has not answered others a moment ago.
        """
        begun = self._clock()
        with self._lock:
            known = self._error
            if known is not None and (self._is_tried or begun < self._until):
                raise ServiceUnavailable(known.message, hint=known.hint)
            self._is_tried = known is not None
        try:
            yield
        except ServiceUnavailable as error:
            now = self._clock()
            with self._lock:
                if now - begun > _SLOW:
                    self._error, self._until = error, now + _PAUSE
                elif known is not None:  # It answers again, if only that it cannot.
                    self._error = None
            raise
        else:
            self._error = None
        finally:
            if known is not None:
                self._is_tried = False


_outages: dict[str, _Outage] = {}


class S3Objects:
    """Objects below a prefix of a bucket; obstore reads credentials from the environment.

    All that a process opens of a store know it together where it hangs.

    Args:
        bucket: The bucket.
        prefix: What all names begin with; may be empty.

    Raises:
        ConfigurationError: The environment holds a setting that cannot be used.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self.place = f"s3://{bucket}/{prefix}".rstrip("/")
        self._outage = _outages.setdefault(self.place, _Outage())
        with self._failures():
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                retry_config={"max_retries": _TRIES, "retry_timeout": _PATIENCE},
                config=cast("S3Config", _LIMITS),
            )

    def put(self, name: str, content: IO[bytes]) -> None:
        """Write an object, in the place of one of this name."""
        with self._failures():
            obstore.put(self._store, name, content)

    def get(self, name: str, target: Sink) -> bool:
        """Copy an object into a file; return whether there is one."""
        with self._failures():
            try:
                for part in obstore.get(self._store, name).stream():
                    target.write(part)
            except (exceptions.NotFoundError, FileNotFoundError):
                return False
        return True

    def find(self, name: str) -> Stored | None:
        """Return what is known of an object; None where there is none."""
        with self._failures():
            try:
                known = obstore.head(self._store, name)
            except (exceptions.NotFoundError, FileNotFoundError):
                return None
        return _to_stored(known)

    def all(self) -> Iterator[Stored]:
        """Yield all objects, in no order."""
        with self._failures():
            for batch in obstore.list(self._store):
                yield from map(_to_stored, batch)

    def remove(self, name: str) -> None:
        """Remove an object, if there is one."""
        with self._failures():
            obstore.delete(self._store, name)

    def remove_leftovers(self, before: float) -> list[int]:
        """Return nothing: parts of uploads have no names; a rule of the bucket removes them."""
        return []

    @contextmanager
    def _failures(self) -> Iterator[None]:
        with self._outage.attempt():
            try:
                yield
            except (exceptions.BaseError, OSError) as error:
                raise self._failure(error) from error

    def _failure(self, error: Exception) -> MlkitError:
        text = f"{self.place}: {_extract_reason(error)}"
        if isinstance(error, _REFUSED):
            return ConfigurationError(text, hint=_CREDENTIALS)
        return ServiceUnavailable(text, hint=_AWAY)


def _to_stored(known: obstore.ObjectMeta) -> Stored:
    name = known["path"].rpartition("/")[2]
    return Stored(name, known["size"], known["last_modified"].timestamp())


def _extract_reason(error: Exception) -> str:
    """Return the reason of a failure in a line."""
    line = str(error).strip().partition("\n")[0]
    return line[:300] or type(error).__name__
