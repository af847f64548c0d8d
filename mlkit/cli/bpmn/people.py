"""`mlkit bpmn tasks, complete, approve, reject, message, signal`: from outside to instances."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.bpmn.defaults import MESSAGE_LIFE
from mlkit.cli.bpmn.options import Person, acting, find_person, pairs
from mlkit.cli.bpmn.place import Place, asking, with_place
from mlkit.cli.bpmn.results import ago, conclude, who_may
from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, Json
from mlkit.cli.output import Output, of
from mlkit.errors import BadData, printable

if TYPE_CHECKING:
    from mlkit.bpmn.definition.model import FormField
    from mlkit.bpmn.journal.records import Row
    from mlkit.bpmn.people.masking import Mask
    from mlkit.bpmn.people.tasks import Task
    from mlkit.bpmn.runtime.session import Session

TaskName = Annotated[
    str,
    typer.Argument(metavar="TASK", help="Id of the task, as listed by `tasks`, or of its element."),
]
Values = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="K=V", help="Value to set; a JSON value keeps its type (repeatable)."
    ),
]
Comment = Annotated[str | None, typer.Option(help="Comment, stored in the variable `comment`.")]


@examples(
    "mlkit bpmn tasks --group owners",
    "mlkit bpmn tasks --json",
)
@with_place
def tasks(
    context: typer.Context,
    *,
    assignee: Annotated[
        str | None, typer.Option(help="List only the tasks that this person may do.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="List only the tasks that this group may do.")
    ] = None,
    place: Place,
    json: Json = False,
) -> None:
    """List the user tasks that wait."""
    with asking(context, place) as (backend, _):
        found = backend.tasks(assignee, group, forms=json)
        if json:
            Output.document("bpmn.tasks", 1, {"tasks": found})
        else:
            if not found:
                of(context).note("no task waits for anybody")
            for each in found:
                who, when = who_may(each), ago(each["created"])
                Output.line(f"{each['task']}  {each['name']}  for {who}  {when}")


@examples(
    "mlkit bpmn complete 3f2a/12 --set rate=0.1",
    "mlkit bpmn complete 3f2a/Review --as ann",
)
@with_place
def complete(
    context: typer.Context,
    *,
    task: TaskName,
    set: Values = [],  # noqa: A002, B006 - named as its option; typer's way to express "none given"
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """Complete a user task with the values of its form.

    On a terminal, required secrets that are not given are prompted for, without echo. Exits as
    `run` does.
    """
    given = pairs(set, "--set")
    with asking(context, place) as (backend, where):
        if sys.stdin.isatty() and sys.stderr.isatty():
            given |= _ask_secrets(backend.task(task)["form"], given)
        found = backend.complete(task, given, find_person(person))
        conclude(found, where, json, of(context))


@examples(
    "mlkit bpmn approve 3f2a/12",
    "mlkit bpmn approve 3f2a/12 --comment good",
)
@with_place
def approve(
    context: typer.Context,
    *,
    task: TaskName,
    comment: Comment = None,
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """Approve: complete a user task with `approved` true.

    Exits as `run` does.
    """
    with asking(context, place) as (backend, where):
        found = backend.decide(task, True, comment, find_person(person))
        conclude(found, where, json, of(context))


@examples(
    "mlkit bpmn reject 3f2a/12",
    "mlkit bpmn reject 3f2a/12 --comment late",
)
@with_place
def reject(
    context: typer.Context,
    *,
    task: TaskName,
    comment: Comment = None,
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """Reject: complete a user task with `approved` false.

    Exits as `run` does.
    """
    with asking(context, place) as (backend, where):
        found = backend.decide(task, False, comment, find_person(person))
        conclude(found, where, json, of(context))


@examples(
    "mlkit bpmn claim 3f2a/12",
    "mlkit bpmn claim review --as ann",
)
@with_place
def claim(
    context: typer.Context,
    *,
    task: TaskName,
    assignee: Annotated[
        str | None,
        typer.Option("--as", "--assignee", help="Person who claims the task (default: you)."),
    ] = None,
    release: Annotated[bool, typer.Option("--release", help="Release the task.")] = False,
    place: Place,
    json: Json = False,
) -> None:
    """Claim a user task, or release it."""
    with asking(context, place) as (backend, where):
        found = backend.claim(task, find_person(assignee), release)
        conclude(found, where, json, of(context), code=0)


@examples(
    "mlkit bpmn delegate 3f2a/12 --to bob",
    "mlkit bpmn delegate review --to bob --as ann",
)
@with_place
def delegate(
    context: typer.Context,
    *,
    task: TaskName,
    to: Annotated[
        str, typer.Option("--to", metavar="PERSON", help="Person who is to do the task.")
    ],
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """Delegate a user task to somebody else."""
    with asking(context, place) as (backend, where):
        found = backend.delegate(task, str(find_person(to, "--to")), find_person(person))
        conclude(found, where, json, of(context), code=0)


@examples(
    "mlkit bpmn message paid --key 42",
    "mlkit bpmn message paid --set total=9 --ttl 3600",
)
@with_place
def message(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the message.")],
    key: Annotated[str, typer.Option(help="Correlation key, or business key.")] = "",
    set: Values = [],  # noqa: A002, B006
    ttl: Annotated[
        float,
        typer.Option(
            min=0, max=MOST, help="Seconds for which the message is kept if nothing waits for it."
        ),
    ] = MESSAGE_LIFE,
    place: Place,
    json: Json = False,
) -> None:
    """Send a message to the one activity that waits for it, or keep it until one does.

    Exits 0 when it was delivered or kept, 2 when several wait for it.
    """
    given = pairs(set, "--set")
    with asking(context, place) as (backend, _):
        _show_receivers("message", name, backend.message(name, key, given, ttl), json, of(context))


@examples(
    "mlkit bpmn signal stop",
    "mlkit bpmn signal stop --set why=late",
)
@with_place
def signal(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the signal.")],
    set: Values = [],  # noqa: A002, B006
    place: Place,
    json: Json = False,
) -> None:
    """Broadcast a signal to everything that waits for it now."""
    given = pairs(set, "--set")
    with asking(context, place) as (backend, _):
        _show_receivers("signal", name, backend.signal(name, given), json, of(context))


def _show_receivers(kind: str, name: str, sent: dict[str, Any], json: bool, output: Output) -> None:
    receivers = sent["receivers"]
    if json:
        Output.document(f"bpmn.{kind}", 1, {"name": name, "receivers": receivers})
    else:
        for each in receivers:
            Output.line(f"{each['instance']}  {each['state']}")
        if not receivers:
            kept = "; kept" if kind == "message" else ""
            output.note(f"nobody waits for {kind} {name!r}{kept}")
    if sent["starts"]:
        output.note(f"a server starts {', '.join(sent['starts'])} by this {kind}")


def ask(session: Session, row: Row) -> bool:
    """Ask for the first user task of an instance on the terminal; return whether it was answered.

    Who ends the input instead (Ctrl-D, Ctrl-C) leaves the task waiting.
    """
    from mlkit.bpmn.journal.records import Refused
    from mlkit.bpmn.runtime.service import Service

    waiting = session.tasks(row)
    if not waiting:
        return False
    task = waiting[0]
    typer.echo(f"\n{printable(task.name)}", err=True)
    values = None
    while values is None:
        try:
            values = _answers(task)
        except BadData as error:
            typer.echo(f"error: {printable(error.message)}", err=True)
        except typer.Abort:
            typer.echo(err=True)
            return False
    try:
        Service(session).submit(task, values, acting(None))
    except Refused as error:
        typer.echo(f"{printable(task.name)}: {printable(error.message)}", err=True)
    return True


def _answers(task: Task) -> dict[str, Any]:
    from mlkit.bpmn.people import tasks

    if not task.form:
        approved = typer.confirm("Approve?", default=None, err=True)
        comment = typer.prompt("Comment", default="", show_default=False, err=True)
        return tasks.decide(task, approved, comment or None)
    given: dict[str, Any] = {}
    while (field := _next(task, given)) is not None:
        default = task.defaults.get(field.id)
        secret = task.mask.hides_field(field)
        value = _rows(field, task.mask) if field.fields else _prompt(field, default, secret)
        problem = tasks.entry(task, {**given, field.id: value}).problem(field)
        if problem is None:
            given[field.id] = value
        else:
            # It may quote what was typed.
            problem = task.mask.with_texts(_quote_secrets(field, value, task.mask)).text(problem)
            typer.echo(f"error: {printable(f'{field.label}: {problem}')}", err=True)
    return tasks.fill(task, {name: value for name, value in given.items() if value != ""})


def _quote_secrets(field: FormField, value: Any, mask: Mask, prefix: str = "") -> list[str]:
    """Return the secrets among what was typed into a field, as problems quote them."""
    if mask.hides_field(field, prefix):
        return [repr(str(value).strip())]
    rows = value if field.fields and isinstance(value, list) else []
    return [
        text
        for row in rows
        for each in field.fields
        for text in _quote_secrets(each, row.get(each.id, ""), mask, f"{field.id}.")
    ]


def _ask_secrets(form: Sequence[dict[str, Any]], given: Mapping[str, Any]) -> dict[str, str]:
    """Ask for the secrets that a form requires and that are not given; an empty one is left out."""
    asked = {}
    for each in form:
        is_text = each["type"] in ("string", "long", "double", "date")
        is_needed = each["required"] and not each["readonly"] and each["id"] not in given
        if each["secret"] and is_text and is_needed:
            asked[each["id"]] = _ask_secret(each["label"])
    return {name: value for name, value in asked.items() if value}


def _ask_secret(label: str, default: str = "") -> str:
    found: str = typer.prompt(
        printable(label), default=default, show_default=False, hide_input=True, err=True
    )
    return found


def _next(task: Task, given: dict[str, Any]) -> FormField | None:
    """Return the first field that is shown, by what was answered so far, and not answered yet."""
    from mlkit.bpmn.people import tasks

    for each in tasks.entry(task, given).list_shown():
        if not (each.readonly or each.value is not None or each.id in given):
            return each
    return None


def _rows(field: FormField, mask: Mask) -> list[dict[str, Any]]:
    rows, prefix = [], f"{field.id}."
    while typer.confirm(f"{printable(field.label)}: another row?", default=False, err=True):
        asked = {
            each.id: _prompt(each, None, mask.hides_field(each, prefix))
            for each in field.fields
            if not (each.readonly or each.value)
        }
        rows.append({name: value for name, value in asked.items() if value != ""})
    return rows


def _prompt(form: FormField, default: Any, secret: bool) -> Any:
    """Ask for a field; what data holds is shown, and taken, but does not steer the terminal.

    A secret is neither shown nor echoed.
    """
    label = printable(form.label)
    if form.type == "boolean":
        return typer.confirm(label, default=str(default).lower() == "true", err=True)
    if isinstance(default, dict):  # a stored date or decimal
        default = next(iter(default.values()), "")
    if isinstance(default, list):
        default = ",".join(map(str, default))
    several = "several of " if form.type == "list" else ""
    options = ", ".join(k if k == label else f"{k} = {label}" for k, label in form.options.items())
    choices = f" ({several}{printable(options)})" if options else ""
    shown = "" if default is None else str(default)
    if secret:
        return _ask_secret(form.label, shown)
    question = f"{label}{choices} [{printable(shown)}]"
    return typer.prompt(question, default=shown, show_default=False, err=True)
