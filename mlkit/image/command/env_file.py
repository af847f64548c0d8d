"""Files of environment variables, as `docker run --env-file` reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from mlkit.errors import BadData, InputMissing, UsageError


def pairs(given: Iterable[str], own: Mapping[str, str]) -> dict[str, str]:
    """Read `K=V` as on a command line; `K` alone takes the value of `own`, if it has one.

    Raises:
        UsageError: One has no name.
    """
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name:
            raise UsageError("--env: expected NAME=VALUE", hint="such as --env PORT=8000")
        if equals or name in own:
            found[name] = value if equals else own[name]
    return found


def read(path: Path, own: Mapping[str, str]) -> dict[str, str]:
    """Read `K=V` lines; `K` alone takes the value of mlkit's own environment, if it has one.

    Args:
        path: The file; empty lines and those that begin with # are passed over.
        own: The environment of this process.

    Raises:
        InputMissing: It cannot be read.
        BadData: A line has no name, or the file is not text; the message has the line, and
            never a value, which may be a secret.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        hint = "lines of NAME=VALUE, as for `docker run --env-file`"
        raise InputMissing(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not UTF-8 at byte {error.start}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.lstrip().partition("=")
        if not name or any(each.isspace() for each in name) or "\0" in line:
            raise BadData(f"{path}: line {number}: expected NAME=VALUE")
        if equals:
            found[name] = value
        elif name in own:
            found[name] = own[name]
    return found
