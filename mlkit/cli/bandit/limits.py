"""The options of `mlkit bandit serve` that limit what it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from mlkit.cli.options import expand

if TYPE_CHECKING:
    from mlkit.bandit.server.decisions.rails import Rails


class ShownLimits(NamedTuple):
    """What the options amount to; the fields are those of the server's settings."""

    rails: Rails
    kill_switch: Path | None
    fallback: tuple[str, ...]
    new_arm_prior: tuple[float, float] | None
    post_process: Path | None


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options of limits, which it receives as `shown`."""
    return expand(command, "shown", _OPTIONS, _limits)


def _option(text: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel="Limits", **more)


def _share(text: str, default: float) -> tuple[Any, float]:
    return Annotated[float, _option(text, min=0, max=1)], default


_OPTIONS: dict[str, tuple[Any, Any]] = {
    "min_share": _share(("Minimum probability with which each candidate is shown first."), 0.0),
    "max_share": _share("Maximum probability with which a candidate is shown first.", 1.0),
    "holdout": _share("Share of decisions that rank all candidates at random.", 0.0),
    "pin": (Annotated[list[str] | None, _option("Show this arm first (repeatable).", "ID")], None),
    "block": (
        Annotated[list[str] | None, _option("Never show this arm (repeatable).", "ID")],
        None,
    ),
    "new_arm_prior": (
        Annotated[str | None, _option("Beta prior of new arms (default: the file's).", "A,B")],
        None,
    ),
    "post_process": (
        Annotated[
            Path | None,
            _option(
                "Business rules about what the policy ranked: a list (.toml), or a Python file "
                "(.py) with post_process(request, ranking).",
                "FILE",
            ),
        ],
        None,
    ),
    "kill_switch": (
        Annotated[
            Path | None,
            _option(
                (
                    "While this file exists, recommend the arms that it lists, or those of "
                    "--fallback if it is empty."
                ),
                "FILE",
            ),
        ],
        None,
    ),
    "fallback": (
        Annotated[
            Path | None,
            _option(
                ("File of the arms to recommend while the kill switch is on, one id per line."),
                "FILE",
            ),
        ],
        None,
    ),
}


def _limits(
    *,
    min_share: float,
    max_share: float,
    holdout: float,
    pin: list[str] | None,
    block: list[str] | None,
    new_arm_prior: str | None,
    post_process: Path | None,
    kill_switch: Path | None,
    fallback: Path | None,
) -> ShownLimits:
    from mlkit.bandit.server.decisions.rails import Rails

    pinned, blocked = tuple(dict.fromkeys(pin or ())), frozenset(block or ())
    rails = Rails(min_share, max_share, holdout, pinned, blocked)
    arms = _fallback(kill_switch, fallback)
    return ShownLimits(rails, kill_switch, arms, _prior(new_arm_prior), post_process)


def _fallback(switch: Path | None, path: Path | None) -> tuple[str, ...]:
    from mlkit.bandit.server.decisions.rails import read_fallback
    from mlkit.errors import UsageError

    if (switch is None) != (path is None):
        hint = "the fallback is what the kill switch shows"
        raise UsageError("--kill-switch and --fallback are needed together", hint=hint)
    return () if path is None else read_fallback(path)


def _prior(text: str | None) -> tuple[float, float] | None:
    from mlkit.cli.bandit.fit import prior_of

    return None if text is None else prior_of("--new-arm-prior", text)
