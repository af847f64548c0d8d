"""A PostgreSQL server for the tests: Debian's, in a temporary folder, on a socket of its own.

The processes of one test run share a server; the controller of the run stops it.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

USER = "mlkit"
QUICK = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")
"""Settings for a server that is never killed."""


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, of the newest version."""
    if found := shutil.which("postgres"):
        return Path(found).parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((each.parent for each in versions), key=lambda p: int(p.parent.name), default=None)


def unprivileged() -> dict[str, Any]:
    """Return how a process is started that must not run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class Server:
    """A PostgreSQL server in a folder."""

    def __init__(self, folder: Path, settings: tuple[str, ...] = ()) -> None:
        found = programs()
        assert found is not None
        self.programs, self.folder, self.settings = found, folder, settings
        self.data = folder / "data"

    def make(self) -> None:
        """Make the folder of the databases."""
        self.folder.mkdir(mode=0o755)
        if unprivileged():
            shutil.chown(self.folder, "nobody")
        self._run(
            "initdb", "-U", USER, "-A", "trust", "--no-sync", "--locale=C.UTF-8", "-E", "UTF8"
        )
        settings = (
            "listen_addresses = ''", f"unix_socket_directories = '{self.folder}'",
            "max_connections = 300", *self.settings,
        )  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("\n".join(settings) + "\n")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._run("pg_ctl", "start", "-w", "-t", "60", "-l", str(self.folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `fast` breaks off its connections, `immediate` is a crash."""
        self._run("pg_ctl", "stop", "-w", "-t", "60", "-m", mode)

    def _run(self, program: str, *arguments: str) -> None:
        command = [self.programs / program, "-D", self.data, *arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, cwd=self.folder, **quiet, **unprivileged())

    def url(self, schema: str = "public") -> str:
        """Return the URL of a schema of the server."""
        options = quote(f"-csearch_path={schema}")
        return f"postgresql://{USER}@/postgres?host={quote(str(self.folder), '')}&options={options}"


def shared() -> Server:
    """Return the server of this test run; whoever comes first starts it."""
    folder = Path(tempfile.gettempdir()) / f"mlkit-test-pg-{os.environ['MLKIT_TEST_RUN']}"
    server = Server(folder, QUICK)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            server.make()
            server.start()
    return server


def stop_shared() -> None:
    """Stop the server of this test run, if there is one, and remove it."""
    folder = Path(tempfile.gettempdir()) / f"mlkit-test-pg-{os.environ['MLKIT_TEST_RUN']}"
    if folder.exists():
        Server(folder).stop()
        shutil.rmtree(folder)
    folder.with_suffix(".lock").unlink(missing_ok=True)


def new_schema(server: Server) -> str:
    """Make a schema that nobody else uses; return its URL."""
    import psycopg

    name = f"t{os.urandom(6).hex()}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return server.url(name)
