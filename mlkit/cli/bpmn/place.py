"""Where a command finds instances: in a journal that it opens, or at a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

import typer

from mlkit.cli.bpmn.options import (
    JOURNAL_VARIABLE,
    SERVER_VARIABLE,
    STATE,
    TOKEN_VARIABLE,
    JournalUrl,
    ServerUrl,
    State,
    TokenFile,
    acting,
    serving,
)
from mlkit.cli.options import expand
from mlkit.errors import UsageError

if TYPE_CHECKING:
    from mlkit.bpmn.backends.protocol import Backend, Lists
    from mlkit.bpmn.backends.server import ServerBackend
    from mlkit.bpmn.client import Client
    from mlkit.bpmn.runtime.session import Session, Settings

_STRENGTH = ("DEFAULT", "DEFAULT_MAP", "ENVIRONMENT", "COMMANDLINE")


class Place(NamedTuple):
    """The options of a command that name where its instances are."""

    state: Path
    journal: str | None
    server: str | None
    token_file: Path | None


_OPTIONS = {
    "state": (State, STATE),
    "journal": (JournalUrl, None),
    "server": (ServerUrl, None),
    "token_file": (TokenFile, None),
}


def with_place(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options of a place, which it receives as `place`."""
    return expand(command, "place", _OPTIONS, Place)


class Where(NamedTuple):
    """Where the instances of a command are.

    Attributes:
        options: Those that lead another command to the same place, for hints.
        is_server: Whether a server has them, which goes on by itself.
    """

    options: str
    is_server: bool = False


@contextmanager
def asking(
    context: typer.Context, place: Place, settings: Settings | None = None
) -> Iterator[tuple[Backend, Where]]:
    """Reach the instances of a server, or of a journal, for one command.

    Raises:
        MlkitError: They cannot be reached; or, at the end, the first damage that was met.
    """
    url = choose_server(context, place)
    if url is None:
        from mlkit.bpmn.backends.journal import JournalBackend

        with serving(place.state, place.journal, settings) as service:
            yield JournalBackend(service.session, acting(None)), where_of(service.session)
        return
    with asking_server(url, place.token_file) as found:
        yield found


@contextmanager
def asking_server(url: str, token_file: Path | None) -> Iterator[tuple[ServerBackend, Where]]:
    """Reach the instances of a server, for one command."""
    from mlkit.bpmn.backends.server import ServerBackend

    with client_of(url, token_file) as client:
        yield ServerBackend(client), _at_server(url, token_file)


@contextmanager
def listing(context: typer.Context, place: Place) -> Iterator[Lists]:
    """Reach instances as `asking` does, for a list: without the import of the engine."""
    if choose_server(context, place) is not None:
        with asking(context, place) as (backend, _):
            yield backend
        return
    from mlkit.bpmn.backends.lists import JournalLists
    from mlkit.bpmn.journal import open_journal

    opened = open_journal(place.state, url=place.journal)
    try:
        found = JournalLists(opened, [])
        yield found
    finally:
        opened.close()
    if found.errors:
        raise found.errors[0]


def choose_server(context: typer.Context, place: Place) -> str | None:
    """Return the URL of the server that a command asks; None where it opens a journal itself.

    What is named on the command line goes before a variable, and that before the settings file.

    Raises:
        UsageError: A server and a journal are both named on the command line, or a token alone.
    """
    given = {name: _strength(context, name) for name in ("server", "state", "journal")}
    beside = max(given["state"], given["journal"])
    most = len(_STRENGTH) - 1
    if place.server is None or beside > given["server"]:
        if _strength(context, "token_file") == most:
            raise UsageError("--token-file is for a server", hint="name it by --server URL")
        return None
    if beside == most:
        other = "--state" if given["state"] == most else "--journal"
        raise UsageError(f"--server and {other} cannot be combined", hint="name one of them")
    return place.server


def refuse_limits(*given: object) -> None:
    """Refuse options of how scripts run, where a server runs them.

    Raises:
        UsageError: One is given.
    """
    if any(given):
        raise UsageError("a server has limits of its own", hint="leave out the limits")


def _strength(context: typer.Context, name: str) -> int:
    source = context.get_parameter_source(name)
    return 0 if source is None else _STRENGTH.index(source.name)


def client_of(url: str, token_file: Path | None) -> Client:
    """Return a client of a server, with the token of a file."""
    from mlkit.bpmn.client import Client
    from mlkit.web.access import read_token

    return Client(url, None if token_file is None else read_token(token_file).decode())


def _at_server(url: str, token_file: Path | None) -> Where:
    options = ""
    if os.environ.get(SERVER_VARIABLE) is None:
        options += f" --server {quote(url)}"
    if token_file is not None and os.environ.get(TOKEN_VARIABLE) is None:
        options += f" --token-file {quote(str(token_file))}"
    return Where(options, is_server=True)


def where_of(session: Session) -> Where:
    """Return where the instances of a session are."""
    state, url = session.journal.folder, session.journal.url
    options = "" if state == STATE else f" --state {quote(str(state))}"
    if url is not None and os.environ.get(JOURNAL_VARIABLE) is None:
        options += f" --journal {quote(url)}"
    return Where(options)
