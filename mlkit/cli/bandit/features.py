"""The options of `mlkit bandit serve` for features from a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.options import expand

if TYPE_CHECKING:
    from mlkit.bandit.server.settings import FeatureSettings

VARIABLE = "MLKIT_BANDIT_SERVE_FEATURES"


def with_features(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options of a feature store, which it receives as `from_store`."""
    return expand(command, "from_store", _OPTIONS, _settings, last=True)


def _from_safe_place(context: typer.Context, parameter: Any, value: str | None) -> str | None:
    """Refuse a password on the command line, which others on the machine see."""
    from mlkit.errors import UsageError

    source = context.get_parameter_source(parameter.name)
    place = (value or "").partition("://")[2].partition("?")[0]
    login, at, _ = place.rpartition("@")
    if source is not None and source.name == "COMMANDLINE" and at and ":" in login:
        hint = f"set {VARIABLE} to the URL, or name a file with --feature-secret-file"
        raise UsageError("--features: a password must not be on the command line", hint=hint)
    return value


def _option(text: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel="Features", **more)


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "features": (
        Annotated[
            str | None,
            _option(
                "Store of the features of contexts and arms: redis://HOST:PORT/0, parquet:FILE or "
                "http://HOST/PATH.",
                "STORE",
                callback=_from_safe_place,
            ),
        ],
        None,
    ),
    "feature_chunk": (
        Annotated[
            int,
            _option("Maximum number of ids per request to the feature store.", min=1, max=10_000),
        ],
        100,
    ),
    "feature_timeout": (
        Annotated[
            float,
            _option(
                "Seconds that a prediction waits for the feature store.",
                "SECONDS",
                min=0.001,
                max=60,
            ),
        ],
        0.05,
    ),
    "feature_secret_file": (
        Annotated[
            Path | None,
            _option("File with the password of Redis, or the bearer token of the service.", "FILE"),
        ],
        None,
    ),
}


def _settings(
    features: str | None,
    feature_chunk: int,
    feature_timeout: float,
    feature_secret_file: Path | None,
) -> FeatureSettings | None:
    from mlkit.errors import UsageError

    if features is None:
        if feature_secret_file is not None:
            hint = "--features STORE names it"
            raise UsageError("--feature-secret-file: there is no feature store", hint=hint)
        return None
    from mlkit.bandit.feature_stores.address import read_address
    from mlkit.bandit.server.settings import FeatureSettings

    address = read_address(features, feature_secret_file)
    return FeatureSettings(address, feature_chunk, feature_timeout)
