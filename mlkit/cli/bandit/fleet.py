"""The options of `mlkit bandit serve` that make a host one of a fleet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.options import expand

if TYPE_CHECKING:
    from mlkit.bandit.server.settings import FleetSettings

STORE_VARIABLE = "MLKIT_BANDIT_STORE"


def with_fleet(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options of a fleet, which it receives as `in_fleet`."""
    return expand(command, "in_fleet", _OPTIONS, _settings, last=True)


def _from_safe_place(context: typer.Context, parameter: Any, value: str | None) -> str | None:
    """Refuse a password on the command line, which others on the machine see."""
    from mlkit.errors import UsageError

    source = context.get_parameter_source(parameter.name)
    login, at, _ = (value or "").rpartition("@")
    is_typed = source is not None and source.name == "COMMANDLINE"
    if is_typed and at and ":" in login.partition("://")[2]:
        hint = f"set {STORE_VARIABLE} to the URL, or name a file with --store-password-file"
        raise UsageError("--store: a password must not be on the command line", hint=hint)
    return value


def _option(text: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel="Fleet", **more)


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "store": (
        Annotated[
            str | None,
            _option(
                "Redis or Valkey server that several hosts share, to learn as one.",
                "URL",
                envvar=STORE_VARIABLE,
                show_envvar=False,
                callback=_from_safe_place,
            ),
        ],
        None,
    ),
    "store_password_file": (
        Annotated[Path | None, _option("File with the password of the store.", "FILE")],
        None,
    ),
    "fleet": (Annotated[str, _option("Name of the fleet in the store.", "NAME")], "bandit"),
    "replicas": (
        Annotated[
            int,
            _option(
                "Number of replicas of the store that must have feedback to acknowledge it.",
                min=0,
                max=64,
            ),
        ],
        0,
    ),
    "queue": (
        Annotated[
            bool,
            _option("Keep feedback on this host's disk while the store is away, and accept it."),
        ],
        False,
    ),
}


def _settings(
    store: str | None,
    store_password_file: Path | None,
    fleet: str,
    replicas: int,
    queue: bool,
) -> FleetSettings | None:
    from mlkit.errors import UsageError

    if store is None:
        if store_password_file is not None or replicas or queue:
            hint = f"--store URL names it, or {STORE_VARIABLE}"
            text = "--store-password-file, --replicas and --queue: there is no store"
            raise UsageError(text, hint=hint)
        return None
    from mlkit.bandit.server.settings import FleetSettings
    from mlkit.bandit.stores.redis.address import check_name, parse

    address = parse(store, store_password_file)
    return FleetSettings(address, check_name(fleet), replicas, queue)
