"""Options that several commands share."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from mlkit.unpacking import UnpackLimits

MOST = 1_000_000_000
"""The greatest value of an option that counts something: more cannot be meant."""
MOST_THREADS = 1024
"""The greatest number of threads or processes that an option starts."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
MaxUnpacked = Annotated[
    float | None,
    typer.Option(
        "--max-unpacked",
        min=0.001,
        metavar="GIB",
        help="Maximum size of a compressed file after unpacking, in GiB.",
    ),
]
MaxRatio = Annotated[
    float,
    typer.Option(
        "--max-ratio",
        min=1.0,
        metavar="TIMES",
        help=(
            "Maximum ratio of unpacked to compressed size, for files that unpack to"
            " more than 64 MiB."
        ),
    ),
]


MAX_UNPACKED = (UnpackLimits.size or 0) / 2**30


def unpack_limits(gibibytes: float | None, ratio: float) -> UnpackLimits:
    """Return the limits that the options --max-unpacked and --max-ratio state."""
    return UnpackLimits(ratio, None if gibibytes is None else int(gibibytes * 2**30))


_NANOSECONDS = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
    "d": 86_400 * 10**9,
}  # fmt: skip


def nanoseconds(text: str, option: str) -> int:
    """Return a duration such as `1s` or `500ms` in nanoseconds.

    Raises:
        BadParameter: It is none.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|ms|s|m|h|d)", text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text}: not a duration; write a number with ns, us, ms, s, m, h or d, such as 500ms",
            param_hint=option,
        )
    return round(float(found[1]) * _NANOSECONDS[found[2]])


def expand(
    command: Callable[..., None],
    parameter: str,
    options: Mapping[str, tuple[Any, Any]],
    build: Callable[..., Any] = dict,
    *,
    last: bool = False,
) -> Callable[..., None]:
    """Return a command with several options in place of one parameter, for typer to read.

    Args:
        command: Takes `parameter`, and others that typer reads.
        parameter: Its name.
        options: By name: the annotation, and the default.
        build: Makes the parameter's value of the options' values, which it gets by name.
        last: Whether help lists them after all others, instead of in the parameter's place.
    """
    keyword = inspect.Parameter.KEYWORD_ONLY

    def wrapped(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in options}
        command(**values, **{parameter: build(**chosen)})

    added = [
        inspect.Parameter(name, keyword, default=default, annotation=kind)
        for name, (kind, default) in options.items()
    ]
    own = inspect.signature(command, eval_str=True).parameters
    kept = [each.replace(kind=keyword) for each in own.values()]
    at = len(kept) if last else list(own).index(parameter)
    found = [each for each in [*kept[:at], *added, *kept[at:]] if each.name != parameter]
    wrapped.__signature__ = inspect.Signature(found)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in found}
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    return wrapped
