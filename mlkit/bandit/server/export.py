"""The present posteriors of a state directory as a posteriors file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlkit.bandit import posterior_file
from mlkit.bandit._posterior_table import PosteriorTable, TableFull
from mlkit.bandit.server import tables
from mlkit.bandit.server.journal import Journal
from mlkit.errors import InputMissing


def export(state: Path, output: Path) -> int:
    """Write the present posteriors, whether the server runs or not.

    What is acknowledged when the call begins is in the file.

    Args:
        state: The state directory.
        output: The posteriors file to write; it must not be the one that the server started
            from if that is still needed.

    Returns:
        The number of posteriors.

    Raises:
        InputMissing: There is no state, or the output cannot be written.
        BadData: The state is damaged.
    """
    path = state / "journal.sqlite"
    if not path.is_file():
        hint = "--state names the directory that `mlkit bandit serve --state DIR` has made"
        raise InputMissing(f"{state}: no state of a server", hint=hint)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=state) as scratch:
        journal = Journal(path, read_only=True)
        with journal.transaction("DEFERRED"):
            # One read transaction: a server that runs meanwhile changes nothing of what it sees.
            source = state / journal.meta("posteriors")
            header, table = tables.load(source, Path(scratch) / "table-0")
            table = _restored(table, journal, Path(scratch))
        journal.close()
        posterior_file.write_batches(header, tables.batches_of(table), output)
    return table.used()["arms"] + table.used()["posteriors"]


def _restored(table: PosteriorTable, journal: Journal, scratch: Path) -> PosteriorTable:
    number = 0
    for function, *arguments in tables.restoring(table, journal):
        try:
            function(table, *arguments)
        except TableFull:
            number += 1
            table = tables.grow(table, scratch / f"table-{number}")
            function(table, *arguments)
    return table
