"""What is done while an image's files are on their way: it needs the config alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlkit.image.base import base_image
from mlkit.image.command.entrypoint import parse
from mlkit.image.filesystem.image_source import Source
from mlkit.image.options import Options
from mlkit.image.run.observation import Runner
from mlkit.image.run.trace import Trace


@dataclass(frozen=True)
class EarlyTrace:
    """A run that was traced before the image's files were known.

    Attributes:
        argv: What it ran.
        init: With an init in front.
        trace: What it looked up.
    """

    argv: Sequence[str]
    init: bool
    trace: Trace


def trace_early(runner: Runner, source: Source, options: Options) -> EarlyTrace | None:
    """Trace what the config starts, and read ahead what a base is made of.

    The files may show that a script is translated, and later runs that an init is needed: then
    this run is no use, and what the result starts is traced again.

    Returns:
        None if the image starts nothing; that is reported once it is opened.

    Raises:
        ServiceUnavailable: Tracing is refused, or a base cannot be assembled.
    """
    argv = list(parse(source.config).argv)
    if not argv:
        return None
    init = options.init == "always"
    seen = runner.run(source.name, argv, traced=True, init=init)
    base_image.read_ahead(options.base)
    return EarlyTrace(argv, init, seen.trace or Trace())
