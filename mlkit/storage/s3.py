"""Objects in storage that is compatible with S3, by obstore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import IO

from mlkit.errors import ConfigurationError, MlkitError, ServiceUnavailable
from mlkit.storage.objects import Sink, Stored

try:
    import obstore
    from obstore import exceptions
    from obstore.store import S3Store
except ImportError as _missing:
    raise ServiceUnavailable(
        "an artifact store in S3 needs the package obstore", hint='pip install "mlkit[s3]"'
    ) from _missing

_TRIES = 4
_PATIENCE = timedelta(seconds=30)
_REFUSED = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)
_CREDENTIALS = "see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION"
_AWAY = "is the storage reachable, and does the bucket exist? Nothing that was committed is lost"


class S3Objects:
    """Objects below a prefix of a bucket; obstore reads credentials from the environment.

    Args:
        bucket: The bucket.
        prefix: What all names begin with; may be empty.

    Raises:
        ConfigurationError: The environment holds a setting that cannot be used.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self.place = f"s3://{bucket}/{prefix}".rstrip("/")
        with self._failures():
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                retry_config={"max_retries": _TRIES, "retry_timeout": _PATIENCE},
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

    @contextmanager
    def _failures(self) -> Iterator[None]:
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
