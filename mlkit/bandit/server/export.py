"""The present posteriors of a state directory as a posteriors file."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from mlkit.bandit.posteriors import file
from mlkit.bandit.server.journal import Journal
from mlkit.bandit.server.tables import GrowingTable
from mlkit.bandit.stores import memory_mapped
from mlkit.errors import InputMissing


def export(state: Path, output: Path) -> int:
    """Write the present posteriors, whether the server runs or not.

    What is acknowledged when the call begins is in the file.

    Args:
        state: The state directory.
        output: The posteriors file to write; `-` is standard output, as CSV.

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
        present = _present(state, Journal(path, read_only=True), Path(scratch))
        file.write_batches(present.header, memory_mapped.export(present.table), output)
    used = present.table.used()
    return used["arms"] + used["posteriors"]


def _present(state: Path, journal: Journal, scratch: Path) -> GrowingTable:
    numbers = itertools.count()
    # One read transaction: what a server commits meanwhile is not seen in part.
    with journal.transaction("DEFERRED"):
        source = state / journal.meta("posteriors")
        present = GrowingTable(source, lambda: scratch / f"table-{next(numbers)}")
        present.restore(journal)
    journal.close()
    return present
