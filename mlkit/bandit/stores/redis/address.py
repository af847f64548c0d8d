"""Where a fleet's Redis is, and under which name the fleet keeps its keys there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from mlkit.errors import InputMissing, UsageError

_HINT = (
    "redis://USER@HOST:PORT/0, rediss:// for TLS, unix:///PATH/redis.sock, several hosts with "
    "commas; @ / : # ? of a user or a password as %40 %2F %3A %23 %3F"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
PORT = 6379


@dataclass(frozen=True)
class Address:
    """Where a Redis is; its text is fit for messages.

    Attributes:
        hosts: Names and ports, of which the primary is used; empty: a Unix socket.
        socket: The path of a Unix socket; empty: none.
        database: The number of the database.
        user: The name to log in with; empty: the default one.
        password: Never shown.
        is_tls: Whether the connection is encrypted, and the certificate checked.
        ca: A file with the certificates to trust; empty: those of the system.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    socket: str = ""
    database: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    is_tls: bool = False
    ca: str = ""

    def __str__(self) -> str:
        user = f"{quote(self.user)}@" if self.user else ""
        if self.socket:
            return f"unix://{user}{self.socket}"
        hosts = ",".join(f"{_bracket(host)}:{port}" for host, port in self.hosts)
        return f"{'rediss' if self.is_tls else 'redis'}://{user}{hosts}/{self.database}"


def parse(url: str, password_file: Path | None = None, option: str = "--store") -> Address:
    """Read the URL of a Redis, and its password from a file, if there is one.

    Args:
        url: The URL.
        password_file: The file of the password; None: there is none, or it is in the URL.
        option: What errors call the URL.

    Raises:
        UsageError: It is no such URL; what is wrong with it may be part of a password, and is not
            repeated.
        InputMissing: The file of the password cannot be read.
    """
    try:
        found = _parse(url)
    except (ValueError, KeyError):
        raise UsageError(f"{option}: the URL of the Redis cannot be read", hint=_HINT) from None
    if password_file is None:
        return found
    return replace(found, password=_password(password_file))


def _parse(url: str) -> Address:
    scheme, _, rest = url.partition("://")
    where, _, query = rest.partition("?")
    options = dict(parse_qsl(query, strict_parsing=bool(query)))
    if scheme not in ("redis", "rediss", "unix") or "#" in url or not where.isprintable():
        raise ValueError
    login, at, place = where.rpartition("@")
    user, colon, password = login.partition(":")
    if at and not (user or colon):
        raise ValueError
    found = Address(user=unquote(user), password=unquote(password), is_tls=scheme == "rediss")
    if scheme == "unix":
        database = _database(options.pop("db", "0"))
        found = replace(found, socket=_socket(unquote(place)), database=database)
    else:
        names, _, number = place.partition("/")
        ca = options.pop("ca", "") if found.is_tls else ""
        hosts = tuple(_host(each) for each in names.split(","))
        found = replace(found, hosts=hosts, database=_database(number or "0"), ca=ca)
    if options:
        raise ValueError
    return found


def _socket(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError
    return path


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.username is not None or parts.path:
        raise ValueError
    return parts.hostname, PORT if parts.port is None else parts.port


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 5):
        raise ValueError
    return int(text)


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _password(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputMissing(f"{path}: the password cannot be read ({error})") from None
    if not text:
        raise UsageError(f"{path}: there is no password in it")
    return text


def check_name(name: str) -> str:
    """Return the name of a fleet.

    Raises:
        UsageError: It is no such name.
    """
    if not _NAME.fullmatch(name):
        hint = "1 to 64 letters, digits, dots, dashes and underscores"
        raise UsageError(f"--fleet {name!r}: not the name of a fleet", hint=hint)
    return name
