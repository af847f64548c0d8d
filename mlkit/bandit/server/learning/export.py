"""The present posteriors of a state directory as a posteriors file."""

from __future__ import annotations

import itertools
import shutil
import time
from dataclasses import replace
from pathlib import Path

from mlkit.bandit.models import file as model_file
from mlkit.bandit.models import loading
from mlkit.bandit.posteriors import file
from mlkit.bandit.posteriors.forgetting import Forgetting
from mlkit.bandit.posteriors.window import Window
from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.served_model import ServedModel
from mlkit.bandit.server.learning.tables import GrowingTable, load_table
from mlkit.bandit.stores import memory_mapped
from mlkit.errors import BadData, ConfigurationError, InputMissing, ServiceUnavailable
from mlkit.files import enough_space
from mlkit.scratch import scratch
from mlkit.storage.sqlite_file import reading
from mlkit.unpacking import UNLIMITED

_STATE_HINT = "--state names the directory that `mlkit bandit serve --state DIR` has made"


def export(state: Path, output: Path, *, as_of: float | None = None) -> int:
    """Write the present posteriors, whether the server runs or not.

    What is acknowledged when the call begins is in the file.

    Args:
        state: The state directory.
        output: The posteriors file to write; `-` is standard output, as CSV.
        as_of: The time of posteriors that age, in seconds since 1970; None: now.

    Returns:
        The number of posteriors.

    Raises:
        InputMissing: There is no state, or the output cannot be written.
        BadData: The state is damaged.
        ServiceUnavailable: The disk of the output or of TMPDIR is full.
    """
    path = state / "journal.sqlite"
    if not path.is_file():
        raise InputMissing(f"{state}: no state of a server", hint=_STATE_HINT)
    # Not in the state: it may be a read-only backup, or on the full disk that is to be rescued.
    with enough_space(), scratch("mlkit-export-") as folder:
        present = _read(state, folder)
        if isinstance(present, ServedModel):
            model_file.write(present.model.as_of(as_of or time.time()), output)
            return len(present.model)
        table, header, at = present.table, present.header, as_of or time.time()
        if present.buckets is not None:
            present.expire(at)
            table, window = present.table, Window(at, present.buckets)
            header = replace(header, forgetting=None, window=window)
        elif table.half_life:
            header = replace(header, forgetting=Forgetting(table.half_life, at))
        file.write_batches(header, memory_mapped.export(table, at), output)
    used = present.table.used()
    return used["arms"] + used["posteriors"]


def _read(state: Path, scratch: Path) -> GrowingTable | ServedModel:
    """Read what a server knows now; where none runs, nothing is written into the state."""
    path = state / "journal.sqlite"
    log = path.with_name(f"{path.name}-wal")
    if not log.exists():
        try:
            present = _present(state, Journal(path, read_only=True, unchanging=True), scratch)
        except BadData:
            if not log.exists():
                raise
        else:
            if not log.exists():  # else a server has begun to write meanwhile
                return present
    return _present(state, _open(path, scratch), scratch)


def _open(path: Path, scratch: Path) -> Journal:
    """Open a journal for reading, through a copy where SQLite cannot make its index beside it."""
    try:
        return Journal(path, read_only=True)
    except (ConfigurationError, ServiceUnavailable):
        # With a server on it the index would be there, so nobody writes the files meanwhile.
        for name in (path.name, f"{path.name}-wal"):
            if (path.parent / name).exists():
                shutil.copyfile(path.parent / name, scratch / name)
        return Journal(scratch / path.name)


def _present(state: Path, journal: Journal, scratch: Path) -> GrowingTable | ServedModel:
    # One read transaction: what a server commits meanwhile is not seen in part.
    with journal.explaining(), journal.transaction("DEFERRED"), reading("meta"):
        journal.check_facts()
        name = journal.meta("posteriors")
        if name is None:
            raise InputMissing(f"{state}: the server has never started", hint=_STATE_HINT)
        source, policy = state / name, journal.meta("policy")
        half_life, since = journal.meta("half_life"), journal.meta("since")
        window = journal.meta("window")
        present: GrowingTable | ServedModel
        # The server has accepted the file, whatever it unpacks to.
        if loading.is_beta(source, policy, UNLIMITED):
            paths = (scratch / f"table-{number}" for number in itertools.count())
            present = load_table(source, paths.__next__, half_life, since, UNLIMITED, window)
        else:
            aging = {"half_life": half_life, "since": since}
            present = ServedModel(source, policy, None, UNLIMITED, **aging)
        present.restore(journal)
    journal.close()
    return present
