"""Files of probes: TOML, for requests that do not fit on a command line."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.image.run.probe import METHODS, Probe, parse

KINDS = ("http", "tcp", "exec", "log", "exit")
OF_HTTP = {"method", "status", "headers", "body"}
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
HINT = 'a probe is a table such as: [[probe]] http = "8000/predict" method = "POST" body = "{}"'


def read(path: Path, ports: list[int]) -> list[Probe]:
    """Read a file of probes.

    Args:
        path: Tables `[[probe]]`, each with one of `http`, `tcp`, `exec`, `log` and `exit` as in
            `--probe`; with `http` may stand `method`, `status`, `headers` and `body`.
        ports: The exposed ports; `http` without a port takes the first one.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is not a file of probes.
    """
    try:
        document = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise InputMissing(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path}: not TOML: {error}") from error
    tables = document.pop("probe", None)
    if document or not isinstance(tables, list) or not tables:
        named = f"{next(iter(document))!r} is not known" if document else "no [[probe]] in it"
        raise BadData(f"{path}: {named}", hint=HINT)
    return [_probe(table, ports, f"{path}: probe {n}") for n, table in enumerate(tables, 1)]


def _probe(table: Any, ports: list[int], where: str) -> Probe:
    if not isinstance(table, dict):
        raise BadData(f"{where}: not a table", hint=HINT)
    kinds = [kind for kind in KINDS if kind in table]
    if len(kinds) != 1:
        raise BadData(f"{where}: expected one of {', '.join(KINDS)}", hint=HINT)
    kind = kinds[0]
    unknown = sorted(table.keys() - {kind} - (OF_HTTP if kind == "http" else set()))
    if unknown:
        raise BadData(f"{where}: {unknown[0]!r} does not belong to {kind}", hint=HINT)
    wanted = int if kind in {"tcp", "exit"} else str
    if type(table[kind]) is not wanted:
        raise BadData(f"{where}: {kind}: expected {_name(wanted)}", hint=HINT)
    try:
        probe = parse(f"{kind}:{table[kind]}", ports)
    except UsageError as error:
        raise BadData(f"{where}: {error.message.removeprefix('--probe ')}", hint=HINT) from error
    return _request(probe, table, where) if kind == "http" else probe


def _request(probe: Probe, table: dict[str, Any], where: str) -> Probe:
    method, status = table.get("method", probe.method), table.get("status", probe.expected)
    if method not in METHODS:
        raise BadData(f"{where}: method: expected one of {', '.join(METHODS)}")
    if status is not None and (type(status) is not int or not 100 <= status <= 599):
        raise BadData(f"{where}: status: expected a number from 100 to 599")
    body = table.get("body")
    if body is not None and not isinstance(body, str):
        raise BadData(f"{where}: body: expected text")
    start = f"http:{probe.port}" if method == "GET" else f"http:{method} {probe.port}"
    return replace(
        probe,
        text=f"{start}{probe.argument}" + ("" if status is None else f"={status}"),
        method=method,
        expected=status,
        headers=_headers(table.get("headers", {}), where),
        body=None if body is None else body.encode(),
    )


def _headers(table: Any, where: str) -> dict[str, str]:
    if not isinstance(table, dict):
        raise BadData(f'{where}: headers: expected a table such as {{ Accept = "text/html" }}')
    for name, value in table.items():
        if not TOKEN.fullmatch(name) or not isinstance(value, str) or not VALUE.fullmatch(value):
            raise BadData(
                f"{where}: headers: {name!r} is not a header of HTTP, or its value is not one"
            )
    return {name.title(): value for name, value in table.items()}


def _name(kind: type) -> str:
    return "a number" if kind is int else "text"
