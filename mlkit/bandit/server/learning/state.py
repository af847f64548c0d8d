"""The state directory of a server: what outlives it.

Its files:

    lock                  held by the server's processes
    key                   the secret that signs decision ids (mode 0600)
    journal.sqlite        see `journal`
    posteriors-HASH/      the posteriors file that the journal starts from
    writer.sock           where the workers reach the writer
    table-N               the posterior table of the running server; made again at each start
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from pathlib import Path

from mlkit.bandit.server.decisions.decision import KEY_BYTES
from mlkit.bandit.server.learning.journal import Journal
from mlkit.errors import BadData, ConfigurationError, ServiceUnavailable
from mlkit.files import enough_space, make_folder, replacing

LOCK_WAIT = 15.0
"""Seconds to wait for the processes of a server that was killed."""


class StateDirectory:
    """The files of one server; the directory is made if it is not there.

    Attributes:
        path: The directory.
        is_new: Whether it was made by this call.

    Raises:
        ConfigurationError: The directory cannot be made or used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.is_new = not self.path.exists()
        try:
            make_folder(self.path, 0o700)
            usable = os.access(self.path, os.W_OK | os.X_OK)
        except FileExistsError as error:
            raise ConfigurationError(f"{path}: not a folder", hint=_STATE_HINT) from error
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}", hint=_STATE_HINT) from error
        if not usable:
            raise ConfigurationError(f"{path}: not writable", hint=_STATE_HINT)

    @property
    def journal(self) -> Path:
        """The journal's database."""
        return self.path / "journal.sqlite"

    def table(self, number: int) -> Path:
        """The file of a posterior table."""
        return self.path / f"table-{number}"

    def remove(self) -> None:
        """Delete the directory with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def lock(self, wait: float = LOCK_WAIT) -> int:
        """Take the directory for this server; processes that inherit the descriptor share it.

        Returns:
            The descriptor that holds the lock until all its copies are closed.

        Raises:
            ServiceUnavailable: Another server has it.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(descriptor)
                    hint = "stop that server, or start this one with another --state"
                    text = f"{self.path}: in use by another server"
                    raise ServiceUnavailable(text, hint=hint) from None
                time.sleep(0.05)

    def find_key(self) -> bytes | None:
        """Return the key that signs decision ids; None: the state is new.

        Raises:
            BadData: The key file is damaged.
        """
        path = self.path / "key"
        if not path.exists():
            return None
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            hint = "restore it from a backup; without it, older decision ids are refused"
            raise BadData(f"{path}: {len(key)} bytes, expected {KEY_BYTES}", hint=hint)
        return key

    def open(self, new_key: bytes | None = None) -> bytes:
        """Make sure that the journal is there, and return the key that signs decision ids.

        In a new state both are made, the journal first: where there is a key there was a
        journal, and without it what was learned is lost, which must not pass for a new start.

        Args:
            new_key: The key of a new state; None: one that nobody else has.

        Raises:
            BadData: The journal is gone or empty, or the key file is damaged.
            ServiceUnavailable: The disk is full.
        """
        path = self.path / "key"
        self._finish_replacement()
        if path.exists():
            self._check_journal()
        else:
            with enough_space():
                Journal(self.journal).close()
                with replacing(path) as file:
                    file.write(new_key or secrets.token_bytes(KEY_BYTES))
                path.chmod(0o600)
        key = self.find_key()
        assert key is not None
        return key

    def replace_journal(self, path: Path) -> None:
        """Put another journal, of the same disk, in the place of the present one.

        Nobody has it open; after a crash the next `open` goes on.
        """
        path.replace(self._joining)
        self._finish_replacement()

    @property
    def _joining(self) -> Path:
        return self.path / "journal.joining"

    def _finish_replacement(self) -> None:
        if self._joining.exists():
            for suffix in ("-wal", "-shm"):
                self.journal.with_name(f"{self.journal.name}{suffix}").unlink(missing_ok=True)
            self._joining.replace(self.journal)

    def _check_journal(self) -> None:
        found = self.journal.stat().st_size if self.journal.is_file() else None
        if not found:
            what = "missing" if found is None else "empty"
            text = f"{self.journal}: the journal is {what}, although the state was in use"
            raise BadData(text, hint=_JOURNAL_HINT)

    def clear_tables(self) -> None:
        """Delete the tables of an earlier run."""
        for path in self.path.glob("table-*"):
            path.unlink(missing_ok=True)

    # The posteriors file

    def posteriors(self, journal: Journal) -> Path:
        """Return the state's copy of its posteriors file.

        Raises:
            ConfigurationError: The state has none.
        """
        name: str | None = journal.meta("posteriors")
        if name is None:
            raise ConfigurationError(f"{self.path}: no state of a server", hint=_NO_STATE_HINT)
        return self.path / name

    def check_owner(
        self, known: str | None, digest: str, source: Path, *, adopt: bool, fleet: str | None = None
    ) -> None:
        """Refuse another posteriors file than the one of before, unless it is adopted.

        Args:
            known: The hash of the state's file; None if it has none yet.
            digest: The hash of the file.
            source: The file.
            adopt: Whether it may replace the one of before, and all that was learned since.
            fleet: The fleet that the state is of; None: of none.

        Raises:
            ConfigurationError: The state belongs to another file.
        """
        if known not in (None, digest) and not adopt:
            text = (
                f"{self.path}: the state belongs to another posteriors file than {source}, "
                "or to another --policy or --half-life"
            )
            raise ConfigurationError(text, hint=_FLEET_HINT if fleet else _ADOPT_HINT)

    @staticmethod
    def facts(copy: Path, digest: str) -> dict[str, str]:
        """Return what the journal remembers of its posteriors file."""
        return {"posteriors": f"{copy.parent.name}/{copy.name}", "posteriors_hash": digest}

    def keep(self, source: Path, digest: str) -> Path:
        """Copy a posteriors file into the state, durably."""
        # Under its own name, which is the model's name if the file gives none.
        copy = self.path / self.name_of(source.name, digest)
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            with enough_space(), replacing(copy) as to, source.open("rb") as file:
                shutil.copyfileobj(file, to)
        return copy

    @staticmethod
    def name_of(file: str, digest: str) -> str:
        """Return where in the state a posteriors file is kept."""
        return f"posteriors-{digest[:16]}/{file}"

    def restore(self, name: str, content: bytes) -> None:
        """Write a posteriors file that came from another host, unless it is there.

        Raises:
            BadData: It is not of the kind in its name.
        """
        folder, _, file = name.partition("/")
        digest = hashlib.sha256(content).hexdigest()
        if name != self.name_of(Path(file).name, digest) or file in ("", ".", ".."):
            raise BadData(f"{self.path}: the fleet's file {name!r} is damaged")
        copy = self.path / folder / file
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            with enough_space(), replacing(copy) as to:
                to.write(content)

    def drop_other_posteriors(self, *copies: Path) -> None:
        """Delete the copies of earlier posteriors files."""
        kept = {copy.parent for copy in copies}
        for path in self.path.glob("posteriors-*"):
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)


_STATE_HINT = "--state names a directory that the server may write"
_NO_STATE_HINT = "--state names the directory that `mlkit bandit serve --state DIR` has made"
_JOURNAL_HINT = (
    "restore journal.sqlite (with its -wal) from a backup; to start again without what was "
    "learned, remove the whole directory"
)
_FLEET_HINT = (
    "start with the file and the options of the fleet's other hosts, or name a new --fleet with "
    "another --state"
)
_ADOPT_HINT = (
    "start with the file and the options of before; or --adopt this one: it replaces all that was "
    "learned since (`mlkit bandit export` saves that first)"
)
