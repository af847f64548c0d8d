"""Settings from `mlkit.toml`.

A setting has one name in four places, the first of which wins: the flag (`--port 80`), the
environment (`MLKIT_BANDIT_SERVE_PORT=80`), the file (`[bandit.serve]`, `port = 80`), and the
default. The command line applies the first two; this module reads the third.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mlkit.errors import ConfigurationError

FILE_NAME = "mlkit.toml"


def load(path: Path) -> dict[str, Any]:
    """Read a settings file into nested tables, one level a command word.

    `max-body` and `max_body` name the same setting.

    Raises:
        ConfigurationError: The file cannot be read or is not TOML; the message names the
            line.
    """
    try:
        return _with_underscores(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text", hint="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: {error}", hint="settings are TOML tables") from error


def _with_underscores(table: dict[str, Any]) -> dict[str, Any]:
    return {
        key.replace("-", "_"): _with_underscores(value) if isinstance(value, dict) else value
        for key, value in table.items()
    }


def find(directory: Path) -> Path | None:
    """Find the settings file of a working directory, or None."""
    path = directory / FILE_NAME
    return path if path.is_file() else None


def check_names(table: Mapping[str, Any], known: Collection[str], place: str) -> None:
    """Refuse a setting that nobody reads, since a misspelt one would be ignored silently.

    Raises:
        ConfigurationError: A key of `table` is not in `known`, or `table` is not a table.
    """
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{place}: expected a table, found {table!r}")
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
            raise ConfigurationError(f"{place}: unknown setting '{key}'", hint=hint)
