"""Features from Redis or Valkey: a hash for each id.

HSET features:arm:c1 price 9.5 brand acme
HSET features:context:u1 age 0.3
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlkit.bandit.feature_stores.source import Row, SourceFailed, Subject
from mlkit.bandit.stores.redis.address import Address
from mlkit.errors import PackageMissing

try:
    import redis.asyncio as redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
except ImportError as error:
    raise PackageMissing.of("--features redis://... needs the package redis", "redis") from error

_CONNECTIONS = 32


class RedisFeatures:
    """Reads hashes, from the first of several hosts that answers.

    Args:
        address: Where the Redis is.
        prefix: What keys begin with.
        timeout: Seconds for an answer.
    """

    def __init__(self, address: Address, prefix: str, timeout: float) -> None:
        self._prefix = prefix
        hosts = address.hosts or (("", 0),)
        self._clients = [_client(address, *each, timeout) for each in hosts]

    async def fetch(
        self, subject: Subject, ids: Sequence[str], names: Sequence[str]
    ) -> Mapping[str, Row | None]:
        """Return the features of many ids."""
        failure: Exception | None = None
        for client in list(self._clients):
            try:
                return await self._ask(client, subject, ids, names)
            except (RedisError, OSError) as error:
                failure = error
                self._avoid(client)
        raise SourceFailed(type(failure).__name__)

    async def close(self) -> None:
        """Close connections."""
        for client in self._clients:
            await client.aclose()

    def _avoid(self, client: Any) -> None:
        """Ask the other hosts first from now on."""
        self._clients.sort(key=lambda each: each is client)

    async def _ask(
        self, client: Any, subject: Subject, ids: Sequence[str], names: Sequence[str]
    ) -> dict[str, Row | None]:
        async with client.pipeline(transaction=False) as pipeline:
            for each in ids:
                pipeline.hmget(f"{self._prefix}{subject}:{each}", list(names))
            found = await pipeline.execute(raise_on_error=False)
        for values in found:
            if isinstance(values, RedisError) and not str(values).startswith("WRONGTYPE"):
                raise values  # not for the key: the server loads its data, or refuses the login
        rows = zip(ids, found, strict=True)
        return {each: _row(names, values) for each, values in rows if not _is_unknown(values)}


def _client(address: Address, host: str, port: int, timeout: float) -> Any:
    common: dict[str, Any] = {
        "db": address.database,
        "username": address.user or None,
        "password": address.password or None,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": _CONNECTIONS,
        "timeout": timeout,
        "protocol": 2,
    }
    if address.socket:
        common |= {"connection_class": redis.UnixDomainSocketConnection, "path": address.socket}
    else:
        common |= {"host": host, "port": port}
    if address.is_tls:
        kind = redis.SSLConnection
        common |= {"connection_class": kind, "ssl_ca_certs": address.ca or None}
    return redis.Redis.from_pool(redis.BlockingConnectionPool(**common))


def _is_unknown(values: Any) -> bool:
    return isinstance(values, list) and all(value is None for value in values)


def _row(names: Sequence[str], values: Any) -> Row | None:
    """Return a row; None: the key holds no hash, or bytes that are no text."""
    if not isinstance(values, list):
        return None
    try:
        pairs = zip(names, values, strict=True)
        return {name: value.decode() for name, value in pairs if value is not None}
    except UnicodeDecodeError:
        return None
