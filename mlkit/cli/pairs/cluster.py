"""`--cluster`: parts of the work go to machines of others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.cli.output import Output, format_count

if TYPE_CHECKING:
    from mlkit.pairs.cluster import Cluster

ClusterOption = Annotated[
    str | None,
    typer.Option(metavar="dask://HOST:PORT", help="Spread the work over this Dask cluster."),
]


@contextmanager
def spread_over(out: Output, url: str | None) -> Iterator[Cluster | None]:
    """Connect to the cluster of `--cluster`, if there is any, while the block runs."""
    if url is None:
        yield None
        return
    from mlkit.pairs.cluster import connect

    with connect(url) as cluster:
        out.note(f"{url}: {format_count(cluster.workers, 'thread')}")
        yield cluster
