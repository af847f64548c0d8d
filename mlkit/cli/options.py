"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mlkit.unpacking import UnpackLimits

MOST = 1_000_000_000
"""The greatest value of an option that counts something: more cannot be meant."""
MOST_THREADS = 1024
"""The greatest number of threads or processes that an option starts."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
MaxUnpacked = Annotated[
    float | None,
    typer.Option(
        "--max-unpacked", min=0.001, metavar="GIB", help="GiB that a compressed file may unpack to."
    ),
]
MaxRatio = Annotated[
    float,
    typer.Option(
        "--max-ratio",
        min=1.0,
        metavar="TIMES",
        help="How many times its size a compressed file of over 64 MiB may unpack to.",
    ),
]


def unpack_limits(gibibytes: float | None, ratio: float) -> UnpackLimits:
    """Return the limits that the options --max-unpacked and --max-ratio state."""
    from mlkit.unpacking import UnpackLimits

    return UnpackLimits(ratio, None if gibibytes is None else int(gibibytes * 2**30))
