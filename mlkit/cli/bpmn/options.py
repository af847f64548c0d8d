"""Options and journals that the `mlkit bpmn` commands share."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.options import MOST, MOST_THREADS
from mlkit.errors import BadData, InputMissing, UsageError

if TYPE_CHECKING:
    from mlkit.bpmn.runtime.service import Service
    from mlkit.bpmn.runtime.session import Session, Settings

JOURNAL_VARIABLE = "MLKIT_BPMN_JOURNAL"
ARTIFACTS_VARIABLE = "MLKIT_BPMN_ARTIFACTS"
SERVER_VARIABLE = "MLKIT_BPMN_SERVER"
TOKEN_VARIABLE = "MLKIT_BPMN_TOKEN_FILE"
Instance = Annotated[
    str, typer.Argument(metavar="INSTANCE", help="Id of the instance, or the beginning of it.")
]
State = Annotated[Path, typer.Option("--state", metavar="DIR", help="Folder of the journal.")]
JournalUrl = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="URL",
        envvar=JOURNAL_VARIABLE,
        show_envvar=False,
        help="PostgreSQL database of the journal, instead of a file in the folder.",
    ),
]
ArtifactsUrl = Annotated[
    str | None,
    typer.Option(
        "--artifacts",
        metavar="URL",
        envvar=ARTIFACTS_VARIABLE,
        show_envvar=False,
        help="Store that hosts share for artifacts: file:///FOLDER or s3://BUCKET/PREFIX.",
    ),
]
ServerUrl = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        envvar=SERVER_VARIABLE,
        show_envvar=False,
        help=("URL of a server (`mlkit bpmn serve`), instead of a state folder."),
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        envvar=TOKEN_VARIABLE,
        show_envvar=False,
        help="File with the token for the server.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_THREADS,
        help=("Number of scripts that run at once (default: one per processor)."),
    ),
]
Python = Annotated[
    str | None, typer.Option(metavar="PATH", help="Python interpreter that runs the scripts.")
]
Rscript = Annotated[
    str | None, typer.Option(metavar="PATH", help="Rscript that runs the scripts in R.")
]
Timeout = Annotated[
    float,
    typer.Option(min=0, max=MOST, help="Time limit of one attempt, in seconds; 0: no limit."),
]
Memory = Annotated[
    int,
    typer.Option(
        min=0, max=MOST, help="Memory limit of a script's data, in megabytes; 0: no limit."
    ),
]
Cpu = Annotated[
    int,
    typer.Option(
        min=0, max=MOST, help=("Processor time limit of one attempt, in seconds; 0: no limit.")
    ),
]
Env = Annotated[
    list[str],
    typer.Option(
        "--env", metavar="NAME", help="Environment variable that scripts may read (repeatable)."
    ),
]
Lease = Annotated[
    float | None,
    typer.Option(
        min=1,
        max=MOST,
        metavar="SECONDS",
        help=(
            "Seconds after which another host takes over if this one dies (PostgreSQL; default: 8)."
        ),
    ),
]
STATE = Path(".mlkit")
Person = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="PERSON",
        help=("Person to record in the history as the one who did it (default: you)."),
    ),
]


def settings_of(
    workers: int | None,
    programs: tuple[str | None, str | None],
    limits: tuple[float, int, int, tuple[str, ...]],
    journal: str | None = None,
    lease: float | None = None,
    artifacts: str | None = None,
) -> Settings:
    """Return the settings of the options: interpreters; timeout, CPU, memory, variables."""
    from mlkit.bpmn.runtime.session import Settings
    from mlkit.workers.pool import Limits

    chosen = Settings(workers, *programs, Limits(*limits), journal=journal, lease=lease)
    chosen.artifacts = artifacts
    return chosen


def pairs(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Read `name=value` options; a value that is JSON keeps its type."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {text!r}: expected NAME=VALUE")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return _json(text)
    except BadData:
        raise
    except ValueError:
        return text


def _json(text: str) -> Any:
    """Read JSON as the standard has it: `Infinity` and `NaN` are not numbers.

    Raises:
        ValueError: It is not JSON.
        BadData: A number is too large to be kept.
    """
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise BadData(f"{text}: no number beyond 1.8e308 can be kept")
    return number


def variables_file(path: Path | None) -> dict[str, Any]:
    """Read a JSON object of variables."""
    if path is None:
        return {}
    try:
        found = _json(sys.stdin.read() if str(path) == "-" else path.read_text("utf-8"))
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}") from error
    except BadData:
        raise
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not UTF-8 text: {error}", hint="save it as UTF-8") from error
    except ValueError as error:
        raise BadData(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise BadData(f"{path}: expected a JSON object of variables")
    return found


def find_person(person: str | None, option: str = "--as") -> str | None:
    """Return the person that an option names, if it does."""
    if person is not None and not person.strip():
        raise UsageError(f"{option}: expected the name of a person")
    return person


def acting(person: str | None) -> str:
    """Return who acts: the person that an option names, else the user of the system."""
    if find_person(person) is not None:
        return str(person)
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # A container may have no name for its user.
        return f"user {os.getuid()}"


def reading(state: Path, journal: str | None) -> Session:
    """Open the journal of a URL, or else of a state folder, for one command."""
    from mlkit.bpmn.runtime.session import Session, Settings

    return Session(state, Settings(journal=journal))


@contextmanager
def serving(
    state: Path, journal: str | None, settings: Settings | None = None
) -> Iterator[Service]:
    """Open a journal for one command, which does not wait for timers.

    What is damaged does not stop the command: it is reported at the end.

    Raises:
        MlkitError: The first damage that was met.
    """
    from mlkit.bpmn.runtime.service import Service
    from mlkit.bpmn.runtime.session import Session, Settings

    settings = settings or Settings(journal=journal)
    settings.waits = False
    with Session(state, settings) as session:
        yield Service(session)
        if session.errors:
            raise session.errors[0]
