"""Where features come from, as an operator writes it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from mlkit.bandit.feature_stores.source import FeatureSource
from mlkit.bandit.stores.redis.address import Address, parse
from mlkit.errors import UsageError
from mlkit.unpacking import UnpackLimits
from mlkit.web.access import read_token

PREFIX = "features:"
_HINT = "redis://HOST:PORT/0, parquet:FILE, or http://HOST/PATH"
_SCHEMES = {"redis": "redis", "rediss": "redis", "unix": "redis", "http": "http", "https": "http"}


@dataclass(frozen=True)
class FeatureAddress:
    """Where features come from: one of the three.

    Attributes:
        parquet: A file.
        redis: A Redis or Valkey.
        http: The URL of a service; it may hold a login, and is never shown.
        secret: The bearer token of the service, or None.
    """

    parquet: Path | None = None
    redis: Address | None = None
    http: str = field(default="", repr=False)
    secret: bytes | None = field(default=None, repr=False)

    def open(self, timeout: float, limits: UnpackLimits | None = None) -> FeatureSource:
        """Open the store; Redis and services are connected to when they are asked.

        Args:
            timeout: Seconds for an answer.
            limits: How much a file may unpack to.

        Raises:
            MlkitError: A file cannot be read; a package is missing.
        """
        if self.parquet is not None:
            from mlkit.bandit.feature_stores.parquet import ParquetFeatures

            return ParquetFeatures(self.parquet, limits)
        if self.redis is not None:
            from mlkit.bandit.stores.redis.features import RedisFeatures

            return RedisFeatures(self.redis, PREFIX, timeout)
        from mlkit.bandit.feature_stores.http import HttpFeatures

        return HttpFeatures(self.http, timeout, self.secret)


def read_address(text: str, secret_file: Path | None = None) -> FeatureAddress:
    """Read where features come from, and a password or token from a file.

    Raises:
        UsageError: It cannot be read; since it may hold a password, it is not repeated.
        MlkitError: The file cannot be read, or holds none.
    """
    scheme, _, rest = text.partition(":")
    kind = _SCHEMES.get(scheme.lower())
    if kind == "redis":
        return FeatureAddress(redis=parse(text, secret_file, option="--features"))
    if kind == "http":
        found = FeatureAddress(http=_service(text))
        return (
            found
            if secret_file is None
            else replace(found, secret=read_token(secret_file, "--feature-secret-file"))
        )
    if scheme != "parquet" or not rest:
        raise UsageError("--features: neither a store nor a file", hint=_HINT)
    if secret_file is not None:
        hint = "it is the password of Redis, or the bearer token of a service"
        raise UsageError("--feature-secret-file: a Parquet file has none", hint=hint)
    return FeatureAddress(parquet=Path(rest))


def _service(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_good = bool(parts.hostname) and not parts.fragment and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not text.isprintable() or " " in text:
        raise UsageError("--features: the URL of the service cannot be read", hint=_HINT)
    return text
