"""A connection to the primary of a Redis, made again after each failure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from mlkit.bandit.stores.redis.address import Address
from mlkit.errors import ConfigurationError, MlkitError, PackageMissing, ServiceUnavailable

try:
    import redis
    from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
except ImportError as error:
    raise PackageMissing.of("--store needs the package redis", "redis") from error

TIMEOUT = 3.0
"""Seconds for an answer, beside those that a command asks to wait."""
_LOGIN = "the user comes from the URL, the password from MLKIT_BANDIT_STORE or its file"
_AWAY = "start it, or correct --store; a host that was in the fleet serves on without it"
_PRIMARY = "name the primary, or all hosts with commas"
T = TypeVar("T")


class Connection:
    """A connection that is there when it is needed.

    Args:
        address: Where the Redis is.
        timeout: Seconds for an answer.
    """

    def __init__(self, address: Address, timeout: float = TIMEOUT) -> None:
        self.address = address
        self._timeout = timeout
        self._client: Any = None

    @property
    def is_open(self) -> bool:
        """Whether the next call goes on with the connection of the last one."""
        return self._client is not None

    def call(self, function: Callable[[Any], T]) -> T:
        """Return what a function does with a client.

        Raises:
            ServiceUnavailable: The server does not answer, or refuses for now; whether it has done
                what was asked is not known.
            ConfigurationError: The login or a right is wrong.
        """
        try:
            if self._client is None:
                self._client = self._primary()
            return function(self._client)
        except (RedisError, OSError) as error:
            self.close()
            raise self._explain(error) from error

    def close(self) -> None:
        """Close the connection; the next call makes another one."""
        if self._client is not None:
            with contextlib.suppress(RedisError, OSError):
                self._client.close()
        self._client = None

    def _explain(self, error: Exception) -> MlkitError:
        text = f"{self.address}: {str(error) or type(error).__name__}"
        if isinstance(error, (AuthenticationError, NoPermissionError)):
            return ConfigurationError(text, hint=_LOGIN)
        return ServiceUnavailable(text, hint=_AWAY)

    def _primary(self) -> Any:
        """Return a client of the only server, or of the first that is a primary."""
        if len(self.address.hosts) < 2:
            return self._open(*(self.address.hosts or [("", 0)])[0])
        failure: Exception | None = None
        for host, port in self.address.hosts:
            try:
                client = self._open(host, port)
                if client.execute_command("ROLE")[0] == b"master":
                    return client
                client.close()
            except (RedisError, OSError) as error:
                failure = error
        if failure is not None:
            raise failure
        raise ServiceUnavailable(f"{self.address}: none is a primary", hint=_PRIMARY)

    def _open(self, host: str, port: int) -> Any:
        address = self.address
        common: dict[str, Any] = {
            "db": address.database,
            "username": address.user or None,
            "password": address.password or None,
            "socket_timeout": self._timeout,
            "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            "single_connection_client": True,
            "protocol": 2,
        }
        if address.socket:
            return redis.Redis(unix_socket_path=address.socket, **common)
        if address.is_tls:
            common |= {"ssl": True, "ssl_ca_certs": address.ca or None}
        common |= {"socket_connect_timeout": self._timeout, "socket_keepalive": True}
        return redis.Redis(host=host, port=port, **common)
