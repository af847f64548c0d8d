"""`--influx`: measurements for InfluxDB while a command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlkit.cli.output import Output

if TYPE_CHECKING:
    from mlkit.streams import Log


@contextmanager
def exporting(
    out: Output, url: str | None, log: Callable[[], Log], topics: Sequence[str],
    tags: Sequence[str], always: Mapping[str, str], group: str = "influx",
) -> Iterator[None]:  # fmt: skip
    """Write topics to a database while the block runs; see `mlkit.streams.influx`."""
    if url is None:
        yield
        return
    from mlkit.streams.influx import InfluxExport, writer

    export = InfluxExport(
        log, topics, tags, always, writer(url), lambda text: out.note(f"warning: {text}"), group
    )  # fmt: skip
    export.start()
    try:
        yield
    finally:
        export.close()
