"""What goes wrong at a PostgreSQL server, in the words of mlkit and without a password."""

from __future__ import annotations

from urllib.parse import quote

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from mlkit.errors import ConfigurationError, MlkitError, ServiceUnavailable, UsageError

SCHEMES = ("postgresql://", "postgres://")
_DISK = "free some disk space on the server; nothing that was committed is lost"
_HINTS: tuple[tuple[type[psycopg.Error], str], ...] = (
    (errors.InsufficientPrivilege, "this user needs to create and change tables in the schema"),
    (errors.ReadOnlySqlTransaction, "the server is a standby, or the user may only read"),
    (errors.InvalidPassword, "a password comes from the URL, PGPASSWORD or ~/.pgpass"),
)
AWAY = "is the server running, and does it accept this user? What was committed is not lost"


def place(url: str) -> str:
    """Return a URL without its password and options, for messages.

    Raises:
        UsageError: It is not a URL of PostgreSQL; what is wrong with it may be part of a password,
            and is not repeated.
    """
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.Error:
        parts = {"host": "@"}
    if not url.startswith(SCHEMES) or "@" in parts.get("host", "") + parts.get("dbname", ""):
        raise UsageError(
            "the URL of the PostgreSQL database cannot be read",
            hint="postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with @ / : # ? of a password"
            " as %40 %2F %3A %23 %3F",
        )
    user = f"{quote(parts['user'])}@" if "user" in parts else ""
    port = f":{parts['port']}" if "port" in parts else ""
    return f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"


def explain(error: psycopg.Error, place: str, kind: str) -> MlkitError:
    """Return the error of mlkit for one of the server or its driver.

    Args:
        error: What psycopg raised.
        place: The database, as `place` writes it.
        kind: What is kept there, such as "journal".
    """
    text = f"{place}: {_extract_reason(error)}"
    for each, hint in _HINTS:
        if isinstance(error, each):
            return ConfigurationError(text, hint=hint)
    if isinstance(error, errors.DiskFull):
        return ServiceUnavailable(text, hint=_DISK)
    if isinstance(error, psycopg.OperationalError):
        return ServiceUnavailable(text, hint=AWAY)
    return ConfigurationError(text, hint=f"is it a {kind} of mlkit?")


def _extract_reason(error: psycopg.Error) -> str:
    """Return the server's message, in a line: the reason alone, where connecting failed."""
    lines = (error.diag.message_primary or str(error)).strip().splitlines()
    reasons = [each.rpartition("failed: ")[2] for each in lines if "failed: " in each]
    return (reasons or lines or [type(error).__name__])[-1 if reasons else 0].strip()
