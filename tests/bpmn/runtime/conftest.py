"""Back ends of the journal: a state folder's file, or a schema of a PostgreSQL server."""

from __future__ import annotations

import time
from pathlib import Path

import postgresql_server
import pytest
from bpmn.runtime.asking import ASKS

from mlkit.bpmn import journal
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.runtime import session

LEASE = 60.0
"""Seconds; a process that a busy machine lets wait must not lose it meanwhile."""


class BackEnd:
    """Journals by state folder, each a database of its own."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = name
        self.monkeypatch = monkeypatch
        self.urls: dict[Path, str] = {}

    def url(self, folder: Path) -> str | None:
        """Return the URL of a state folder's journal; None for its file."""
        if self.name == "sqlite":
            return None
        folder = folder.resolve()
        if folder not in self.urls:
            self.urls[folder] = postgresql_server.new_schema(postgresql_server.shared())
            # What commands use that are started without options.
            self.monkeypatch.setenv("MLKIT_BPMN_JOURNAL", self.urls[folder])
            self.monkeypatch.setenv("MLKIT_BPMN_RUN_LEASE", str(LEASE))
        return self.urls[folder]

    def options(self, folder: Path) -> list[str]:
        """Return the options of commands."""
        url = self.url(folder)
        return ["--state", str(folder), *([] if url is None else ["--journal", url])]

    def open(
        self,
        folder: Path,
        create: bool = False,
        url: str | None = None,
        lease: float | None = None,
        artifacts: str | None = None,
    ) -> Journal:
        """Open the journal of a state folder."""
        return journal.open_journal(
            folder, create, url or self.url(folder), lease or LEASE, artifacts
        )

    def end_leases(self, folder: Path) -> None:
        """Let the leases of all hosts be over, as they are some time after a kill."""
        if self.name == "sqlite":  # it has locks, which the system opens when their process ends
            time.sleep(0.05)
            return
        opened = self.open(folder)
        try:
            with opened.database.transaction():
                opened.database.execute("UPDATE hosts SET expires = 0")
        finally:
            opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def back_end(request, monkeypatch) -> BackEnd:
    """Return a back end that all sessions of the test use."""
    if request.param == "postgresql":
        request.getfixturevalue("postgresql")
    found = BackEnd(request.param, monkeypatch)
    monkeypatch.setattr(session, "open_journal", found.open)
    return found


@pytest.fixture
def path(tmp_path, diagram) -> Path:
    """Return a process that asks somebody."""
    found = tmp_path / "p.bpmn"
    found.write_text(diagram(ASKS, "s>u u>e"))
    return found


@pytest.fixture
def state(tmp_path, back_end) -> Path:
    """Return the place of a state folder, whose journal is the back end's."""
    back_end.url(tmp_path / "state")
    return tmp_path / "state"
