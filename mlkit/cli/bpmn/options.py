"""Options and results that the `mlkit bpmn` commands share."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.options import MOST, MOST_THREADS
from mlkit.cli.output import Output
from mlkit.errors import BadData, InputMissing, UsageError

if TYPE_CHECKING:
    from mlkit.bpmn.runtime.service import Service
    from mlkit.bpmn.runtime.session import Session, Settings
    from mlkit.cli.bpmn.place import Where

JOURNAL_VARIABLE = "MLKIT_BPMN_JOURNAL"
SERVER_VARIABLE = "MLKIT_BPMN_SERVER"
TOKEN_VARIABLE = "MLKIT_BPMN_TOKEN_FILE"
Instance = Annotated[str, typer.Argument(help="Id of the instance, or the beginning of it.")]
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
    float, typer.Option(min=0, help="Time limit of one attempt, in seconds; 0: no limit.")
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
        help=("Person who does it, as recorded in the history (default: you)."),
    ),
]
EXIT_CODES = {"completed": 0, "waiting": 3, "running": 3, "interrupted": 3, "suspended": 3}


def settings_of(
    workers: int | None,
    programs: tuple[str | None, str | None],
    limits: tuple[float, int, int, tuple[str, ...]],
    journal: str | None = None,
    lease: float | None = None,
) -> Settings:
    """Return the settings that options say: interpreters; timeout, CPU, memory, variables."""
    from mlkit.bpmn.runtime.session import Settings
    from mlkit.workers.pool import Limits

    return Settings(workers, *programs, Limits(*limits), journal=journal, lease=lease)


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
    return json.loads(text, parse_constant=_refused, parse_float=_finite)


def _refused(text: str) -> Any:
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
    except ValueError as error:
        raise BadData(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise BadData(f"{path}: expected a JSON object of variables")
    return found


def named(person: str | None) -> str | None:
    """Return the person that an option names, if it does."""
    if person is not None and not person.strip():
        raise UsageError("--as: expected the name of a person")
    return person


def acting(person: str | None) -> str:
    """Return who acts: the person that an option names, else the user of the system."""
    if named(person) is not None:
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


def conclude(
    found: dict[str, Any], where: Where, as_json: bool, output: Output, code: int | None = None
) -> None:
    """Print the state of an instance, and leave with the exit code that says it, or with `code`."""
    if found["state"] == "running":
        output.note(f"instance {found['instance']} runs in another process")
    if as_json:
        Output.document("bpmn.instance", 1, found)
    else:
        _tell(found, where, output)
    code = EXIT_CODES.get(found["state"], 1) if code is None else code
    if code:
        raise typer.Exit(code)


def _tell(found: dict[str, Any], where: Where, output: Output) -> None:
    Output.line(f"{found['instance']}  {found['state']}")
    options = where.options
    if found["error"] and found["error"]["message"]:
        code = found["error"]["code"]
        what = f"error {code}" if code else found["state"]
        output.note(f"{what}: {found['error']['message']}")
    if found["state"] == "suspended":
        output.note(f"`mlkit bpmn unsuspend {found['instance']}{options}` lets it go on")
    for each in found["incidents"]:
        output.note(f"incident at {each['element']}: {each['message']}")
    if found["incidents"]:
        output.note(f"`mlkit bpmn logs {found['instance']}{options}` shows what was printed")
        output.note(f"`mlkit bpmn retry {found['instance']}{options}` tries again")
    for each in found["waiting"]:
        output.note(_waiting({"instance": found["instance"], **each}, where))


def _waiting(each: dict[str, Any], place: Where) -> str:
    where = place.options
    label = each["name"] or each["element"]
    if each["for"] == "person":
        fields = [field for field in each["form"] if not field["readonly"]]
        values = " ".join(f"--set {quote(field['id'])}=..." for field in fields)
        command = f"mlkit bpmn complete {each['task']}{where} {values}"
        needed = [field for field in fields if field["required"] or field["type"] == "boolean"]
        if [field["type"] for field in needed] in ([], ["boolean"]):
            command = f"mlkit bpmn approve {each['task']}{where}"
        return f"waiting for {who_may(each)}: {label}: `{command}`"
    if each["for"] == "message":
        key = f" --key {quote(each['key'])}" if each["key"] else ""
        return f"waiting at {label}: `mlkit bpmn message {quote(each['message'])}{key}{where}`"
    if each["for"] == "signal":
        return f"waiting at {label}: `mlkit bpmn signal {quote(each['signal'])}{where}`"
    if each["for"] == "worker":
        return f"waiting at {label} for an external worker of topic {each['topic']!r}"
    if each["for"] == "start":
        names = ", ".join(each["activities"])
        command = f"mlkit bpmn start {each['instance']} ELEMENT{where}"
        return f"waiting at {label} for somebody to start {names}: `{command}`"
    if each["for"] in ("condition", "several"):
        return f"waiting at {label} for {each['for'].replace('several', 'one of several events')}"
    resume = "" if place.is_server else f": `mlkit bpmn resume{where}`"
    return f"waiting at {label} until {each['due']}{resume}"


def who_may(each: dict[str, Any]) -> str:
    """Write who may do a user task."""
    return each["assignee"] or ", ".join([*each["users"], *each["groups"]]) or "anybody"


def ago(at: float | str) -> str:
    """Write how long ago something was, in seconds since 1970 or ISO 8601."""
    if isinstance(at, str):
        at = datetime.fromisoformat(at).timestamp()
    seconds = max(0, int(time.time() - at))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
