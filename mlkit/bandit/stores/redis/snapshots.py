"""Snapshots of a fleet's state: a file in compressed parts, and the position that it is of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mlkit.bandit.stores.redis.address import Address
from mlkit.bandit.stores.redis.connection import Connection
from mlkit.bandit.stores.redis.keys import MOST_CHUNKS, PUBLISH, Keys
from mlkit.bandit.stores.redis.stream import Position
from mlkit.errors import BadData, ServiceUnavailable
from mlkit.zstd import ZstdDecompressor, ZstdError, compress, get_frame_info

CHUNK = 4 << 20
"""Bytes of a part."""
_TIMEOUT = 30.0
_EXPIRY = 3600
"""Seconds after which parts vanish that were uploaded and never published."""
_ATTEMPTS = 10


class Published(NamedTuple):
    """A snapshot that hosts may load.

    Attributes:
        id: Part of the keys of its parts.
        chunks: How many there are.
        size: Bytes of the file.
        digest: SHA-256 of the file.
    """

    id: str
    chunks: int
    size: int
    digest: str


class Snapshots:
    """A connection to the snapshots of a fleet.

    Args:
        address: Where the Redis is.
        name: The fleet's name.
    """

    def __init__(self, address: Address, name: str) -> None:
        self._connection = Connection(address, _TIMEOUT)
        self._keys = Keys.of(name)
        self._place = f"{address}: the snapshot of {name!r}"

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def publish(self, path: Path, fleet: str, position: Position, *, founds: bool = False) -> bool:
        """Upload a file, and let it take the place of the present snapshot.

        Args:
            path: The file.
            fleet: The fleet.
            position: Up to where entries are in the file.
            founds: Whether there must not be a fleet yet; then its stream starts from here.

        Returns:
            False: there is a newer one, another history, or with `founds` a fleet.

        Raises:
            MlkitError: As of `Connection.call`.
        """
        name = os.urandom(8).hex()
        chunks, size, digest = 0, 0, hashlib.sha256()
        for part in _parts(path):
            key, packed = self._keys.chunk(name, chunks), compress(part)
            self._connection.call(partial(_set, key, packed))
            chunks, size = chunks + 1, size + len(part)
            digest.update(part)
        about = [fleet, position.number, position.tag, name, chunks, size, digest.hexdigest()]
        keys = self._keys
        head, stream, snapshot = keys.head, keys.stream, keys.snapshot
        values = [head, stream, snapshot, *about, int(founds)]
        return bool(self._connection.call(lambda client: client.eval(PUBLISH, 3, *values)))

    def number(self) -> int:
        """Return the number of the last entry that the present snapshot has; 0: none."""
        number = self._connection.call(lambda client: client.hget(self._keys.snapshot, "number"))
        return int(number or 0)

    def fetch(self, path: Path) -> None:
        """Write the present snapshot to a file.

        Raises:
            ServiceUnavailable: There is none, or newer ones take its place all the time.
            BadData: It is damaged.
        """
        for _ in range(_ATTEMPTS):
            if self._fetch(path):
                return
        hint = "restore Redis from a backup, or create the fleet again: see `--adopt`"
        raise ServiceUnavailable(f"{self._place} is not there", hint=hint)

    def _fetch(self, path: Path) -> bool:
        """Fetch it, unless another one takes its place meanwhile."""
        fields = self._connection.call(lambda client: client.hgetall(self._keys.snapshot))
        if not fields:
            return False
        published = self._parse_published(fields)
        digest, left = hashlib.sha256(), published.size
        with path.open("wb") as file:
            for number in range(published.chunks):
                key = self._keys.chunk(published.id, number)
                data = self._connection.call(partial(_get, key))
                if data is None:
                    return False
                part = self._unpack(data)
                file.write(part)
                digest.update(part)
                left -= len(part)
        if left or digest.hexdigest() != published.digest:
            raise BadData(f"{self._place} is damaged")
        return True

    def _parse_published(self, fields: dict[bytes, bytes]) -> Published:
        found = {name: fields.get(name.encode(), b"").decode() for name in Published._fields}
        try:
            chunks, size = int(found["chunks"]), int(found["size"])
        except ValueError:
            chunks = size = -1
        if not (0 < chunks <= MOST_CHUNKS and 0 < size <= chunks * CHUNK):
            raise BadData(f"{self._place} is damaged")
        return Published(found["id"], chunks, size, found["digest"])

    def _unpack(self, data: bytes) -> bytes:
        try:
            if (get_frame_info(data).decompressed_size or 0) > CHUNK:
                raise ZstdError("a part is too long")
            return ZstdDecompressor().decompress(data, CHUNK)
        except ZstdError as error:
            raise BadData(f"{self._place} is damaged: {error}") from None


def _set(key: str, data: bytes, client: Any) -> None:
    client.set(key, data, ex=_EXPIRY)


def _get(key: str, client: Any) -> bytes | None:
    found: bytes | None = client.get(key)
    return found


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            yield part
