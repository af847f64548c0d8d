"""`mlkit bpmn people`: substitutes, digests, and the people file."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from mlkit.cli.bpmn.options import STATE, JournalUrl, Person, State, acting, serving
from mlkit.cli.groups import examples, group
from mlkit.cli.options import MOST, Json
from mlkit.cli.output import Output, of
from mlkit.errors import UsageError

app = group(
    "people",
    "Name substitutes for absences, choose one mail a day, check a people file.",
    {
        "away": (
            "mlkit.cli.bpmn.absences:away",
            "Name a substitute, who gets the mail and does the tasks of somebody who is away.",
        ),
        "back": (
            "mlkit.cli.bpmn.absences:back",
            "End an absence before its time; it stays in the list.",
        ),
        "absences": (
            "mlkit.cli.bpmn.absences:absences",
            "List past, present and future absences with their substitutes.",
        ),
        "digest": (
            "mlkit.cli.bpmn.absences:digest",
            "Choose one mail a day, or one for each task.",
        ),
        "check": ("mlkit.cli.bpmn.absences:check", "Check a people file, and list who is in it."),
    },
    shared=("state", "journal"),
)


@examples(
    "mlkit bpmn people away ann --to bob --until 2026-12-31",
    "mlkit bpmn people away ann --to bob --from 2026-12-24 --until 2026-12-31",
)
def away(
    context: typer.Context,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Person who is away.")],
    to: Annotated[
        str, typer.Option("--to", metavar="PERSON", help="Person who substitutes for them.")
    ],
    until: Annotated[str, typer.Option(metavar="DATE", help="Last day of the absence, or a time.")],
    begins: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="DATE", help="First day of the absence, or a time (default: now)."
        ),
    ] = None,
    by: Person = None,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """Name a substitute, who gets the mail and does the tasks of somebody who is away."""
    from mlkit.bpmn.people.recipients import require_absence

    now = time.time()
    start = now if begins is None else _moment("--from", begins, False)
    end = _moment("--until", until, True)
    require_absence(person, to, start, end, now)
    with serving(state, journal) as service:
        opened, who = service.journal, acting(by)
        made = opened.atomically(lambda: opened.absences.add(person, to, start, end, who, now))
    if json:
        Output.document("bpmn.people.absence", 1, _document(made))
    else:
        of(context).note(f"absence {made.id}: {to} stands in for {person}")


def _moment(option: str, text: str, whole_day: bool) -> float:
    """Read a day or a moment, in local time where no zone is named.

    Args:
        option: For messages.
        text: In the notation of ISO 8601.
        whole_day: Whether a day counts to its end.
    """
    try:
        if len(text) == len("2026-12-31"):
            day = date.fromisoformat(text) + timedelta(days=int(whole_day))
            return datetime(day.year, day.month, day.day).astimezone().timestamp()
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise UsageError(f"{option} {text!r}: expected a date such as 2026-12-31") from None


@examples(
    "mlkit bpmn people back 3",
    "mlkit bpmn people back 3 --as ann",
)
def back(
    context: typer.Context,
    absence: Annotated[
        int,
        typer.Argument(
            min=1, max=MOST, help="Number of the absence, as listed by `people absences`."
        ),
    ],
    by: Person = None,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """End an absence before its time; it stays in the list."""
    now = time.time()
    with serving(state, journal) as service:
        opened, who = service.journal, acting(by)
        done = opened.atomically(lambda: opened.absences.revoke(absence, who, now))
    if not done:
        raise UsageError(f"absence {absence}: there is none that could be ended")
    if json:
        Output.document("bpmn.people.back", 1, {"absence": absence})
    else:
        of(context).note(f"absence {absence} has ended")


@examples(
    "mlkit bpmn people absences",
    "mlkit bpmn people absences --json",
)
def absences(state: State = STATE, journal: JournalUrl = None, json: Json = False) -> None:
    """List past, present and future absences with their substitutes."""
    with serving(state, journal) as service:
        found = [_document(each) for each in service.journal.absences.all()]
    if json:
        Output.document("bpmn.people.absences", 1, {"absences": found})
        return
    for each in found:
        ended = f", ended by {each['revoked_by']} {each['revoked']}" if each["revoked"] else ""
        Output.line(f"{each['id']}  {each['person']} -> {each['substitute']}  {each['from']} to"
                    f" {each['until']}  entered by {each['by']}{ended}")  # fmt: skip


def _document(absence: Any) -> dict[str, Any]:
    from mlkit.bpmn.definition.timers import instant

    revoked = None if absence.revoked is None else instant(absence.revoked)
    return {
        "id": absence.id, "person": absence.person, "substitute": absence.substitute,
        "from": instant(absence.begins), "until": instant(absence.ends), "by": absence.by,
        "at": instant(absence.at), "revoked": revoked, "revoked_by": absence.revoked_by or None,
    }  # fmt: skip


@examples(
    "mlkit bpmn people digest ann --daily",
    "mlkit bpmn people digest ann --single",
)
def digest(
    context: typer.Context,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Person who receives the mail.")],
    daily: Annotated[
        bool, typer.Option("--daily/--single", help="Send one mail a day, or one for each task.")
    ],
    by: Person = None,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """Choose one mail a day, or one for each task.

    The choice takes precedence over the people file.
    """
    now = time.time()
    with serving(state, journal) as service:
        opened, who = service.journal, acting(by)
        opened.atomically(lambda: opened.absences.choose_digest(person, daily, who, now))
    if json:
        Output.document("bpmn.people.digest", 1, {"person": person, "daily": daily})
    else:
        of(context).note(f"{person} gets {'one mail a day' if daily else 'a mail for each task'}")


@examples(
    "mlkit bpmn people check people.toml",
    "mlkit bpmn people check people.toml --json",
)
def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="People file (TOML).")],
    json: Json = False,
) -> None:
    """Check a people file, and list who is in it."""
    from mlkit.bpmn.people.directory import read_people

    members = list(read_people(file).members.values())
    if json:
        found = [{**asdict(each), "groups": sorted(each.groups)} for each in members]
        Output.document("bpmn.people", 1, {"people": found})
        return
    for each in members:
        Output.line(f"{each.id}  {each.email or 'no mail'}  {', '.join(sorted(each.groups))}")
    of(context).note("1 person" if len(members) == 1 else f"{len(members)} people")
