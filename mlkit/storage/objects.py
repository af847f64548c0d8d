"""Objects: contents by name, in a folder that hosts share or in storage that is compatible with S3.

An object is written as a whole or not at all, and is durable once `put` returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from mlkit.errors import UsageError

_EXPECTED = "file:///FOLDER or s3://BUCKET/PREFIX; credentials come from the environment"


class Stored(NamedTuple):
    """An object: its name, its size in bytes, and when it was written, in seconds since 1970."""

    name: str
    size: int
    modified: float


class Sink(Protocol):
    """What bytes are written to."""

    def write(self, part: bytes, /) -> int:
        """Write bytes; return how many."""


class Objects(Protocol):
    """Where objects are.

    Attributes:
        place: Its URL, for messages.
    """

    place: str

    def put(self, name: str, content: IO[bytes]) -> None:
        """Write an object, in the place of one of this name."""

    def get(self, name: str, target: Sink) -> bool:
        """Copy an object into a file; return whether there is one."""

    def find(self, name: str) -> Stored | None:
        """Return what is known of an object; None where there is none."""

    def all(self) -> Iterator[Stored]:
        """Yield all objects, in no order."""

    def remove(self, name: str) -> None:
        """Remove an object, if there is one."""

    def remove_leftovers(self, before: float) -> list[int]:
        """Remove what writers left that died before a time; return the sizes."""


def open_objects(url: str) -> Objects:
    """Open a place of objects.

    Args:
        url: `file:///FOLDER`, or `s3://BUCKET/PREFIX` with credentials and the endpoint from the
            environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...).

    Raises:
        UsageError: It is no such URL.
        ServiceUnavailable: What it needs is not installed.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _unreadable() from None
    path = unquote(parts.path)
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc or "\0" in path)
    if is_plain and parts.scheme == "file" and parts.netloc == "" and path.startswith("/"):
        from mlkit.storage.folder import FolderObjects

        return FolderObjects(Path(path))
    if is_plain and parts.scheme == "s3" and parts.netloc and ":" not in parts.netloc:
        from mlkit.storage.s3 import S3Objects

        return S3Objects(parts.netloc, path.strip("/"))
    raise _unreadable()


def _unreadable() -> UsageError:
    # What is wrong with it may be part of a password, and is not repeated.
    return UsageError("the URL of the artifact store cannot be read", hint=_EXPECTED)
