"""`--influx`: measurements for InfluxDB while a command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlkit.cli.output import Output
from mlkit.pairs.defaults import INFLUX_GROUP

if TYPE_CHECKING:
    from mlkit.streams import Log
    from mlkit.streams.influx import Write


def database(url: str | None) -> Write | None:
    """Return what writes to the database of `--influx`, before anything else is made.

    Raises:
        UsageError: It is not the URL of a database.
        PackageMissing: The client library is not installed.
    """
    if url is None:
        return None
    from mlkit.streams.influx import writer

    return writer(url)


@contextmanager
def exporting(
    out: Output, write: Write | None, log: Callable[[], Log], topics: Sequence[str],
    tags: Sequence[str], always: Mapping[str, str], group: str = INFLUX_GROUP,
) -> Iterator[None]:  # fmt: skip
    """Write topics to a database while the block runs; see `mlkit.streams.influx`."""
    if write is None:
        yield
        return
    from mlkit.streams.influx import InfluxExport

    export = InfluxExport(
        log, topics, tags, always, write, lambda text: out.note(f"warning: {text}"), group
    )  # fmt: skip
    export.start()
    try:
        yield
    finally:
        export.close()
