"""`mlkit bpmn user`: who may log in to a server, and what they may do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlkit.cli.groups import examples, group
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of
from mlkit.errors import InputMissing, UsageError

app = group(
    "user",
    "Manage who may log in to a server, and what they may do.",
    {
        "add": (
            "mlkit.cli.bpmn.users:add",
            "Add a user, with a password from a prompt or standard input.",
        ),
        "passwd": ("mlkit.cli.bpmn.users:passwd", "Change the password of a user."),
        "rights": (
            "mlkit.cli.bpmn.users:rights",
            "Change what a user, or everyone in a @GROUP, may do.",
        ),
        "remove": (
            "mlkit.cli.bpmn.users:remove",
            "Remove a user, whose sessions end, or a @GROUP.",
        ),
        "list": ("mlkit.cli.bpmn.users:list_", "List users and groups, and what they may do."),
    },
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Id of the user, as in diagrams.")]
File = Annotated[
    Path, typer.Option("--users", metavar="FILE", help="Users file, which `serve` rereads.")
]
Rights = Annotated[
    str,
    typer.Option(
        "--rights",
        metavar="ROLES",
        help="Rights, by commas: viewer, worker, participant, operator, deployer; - for none.",
    ),
]


@examples(
    "mlkit bpmn user add ann --users users --rights operator,deployer",
    "mlkit bpmn user add bob --users users < password",
)
def add(
    context: typer.Context,
    name: Name,
    users: File,
    rights: Rights = "participant",
    json: Json = False,
) -> None:
    """Add a user, with a password from a prompt or standard input.

    The file has the Argon2id hash of the password, and only its owner can read it.
    """
    from mlkit.bpmn.server import user_lines

    user_lines.require_new(users, name, rights)
    user_lines.add(users, name, rights, _password())
    _report(context, users, name, f"{name} may log in, as {rights}", json)


@examples(
    "mlkit bpmn user passwd ann --users users",
    "mlkit bpmn user passwd ann --users users < password",
)
def passwd(context: typer.Context, name: Name, users: File, json: Json = False) -> None:
    """Change the password of a user.

    Sessions that began with the old password end.
    """
    from mlkit.bpmn.server import user_lines

    user_lines.require_known(users, name)
    user_lines.set_password(users, name, _password())
    _report(context, users, name, f"{name} has another password", json)


@examples(
    "mlkit bpmn user rights ann operator --users users",
    "mlkit bpmn user rights @owners participant --users users",
)
def rights(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Id of the user, or @GROUP.")],
    roles: Annotated[str, typer.Argument(metavar="ROLES", help="Rights, by commas; - for none.")],
    users: File,
    json: Json = False,
) -> None:
    """Change what a user, or everyone in a @GROUP, may do.

    Groups are those of the people file. Changed rights apply at once.
    """
    from mlkit.bpmn.server import user_lines

    user_lines.set_rights(users, name, roles)
    done = f"{name} may act as {roles}" if roles != "-" else f"{name} may do nothing"
    _report(context, users, name, done, json)


@examples(
    "mlkit bpmn user remove ann --users users",
    "mlkit bpmn user remove @owners --users users",
)
def remove(context: typer.Context, name: Name, users: File, json: Json = False) -> None:
    """Remove a user, whose sessions end, or a @GROUP."""
    from mlkit.bpmn.server import user_lines

    user_lines.remove(users, name)
    _report(context, users, name, f"{name} is removed", json)


@examples(
    "mlkit bpmn user list --users users",
    "mlkit bpmn user list --users users --json",
)
def list_(users: File, json: Json = False) -> None:
    """List users and groups, and what they may do."""
    from mlkit.bpmn.server import user_lines

    found = user_lines.list_users(users)
    if json:
        Output.document("bpmn.users", 1, {"users": found})
        return
    for each in found:
        Output.line(f"{each['name']}  {','.join(each['rights']) or '-'}")


def _report(context: typer.Context, users: Path, name: str, done: str, json: bool) -> None:
    """Report a change: in a sentence, or as a document of the user as they are now."""
    from mlkit.bpmn.server import user_lines

    if not json:
        of(context).note(done)
        return
    found = [each for each in user_lines.list_users(users) if each["name"] == name]
    Output.document("bpmn.user", 1, {"name": name, "user": found[0] if found else None})


def _password() -> str:
    """Return a password: typed twice at a terminal, else the first line of standard input."""
    if sys.stdin is not None and sys.stdin.isatty():
        return _ask_password()
    try:
        line = "" if sys.stdin is None else sys.stdin.readline()
    except UnicodeDecodeError:
        raise UsageError("the password on standard input is not UTF-8") from None
    if not line:
        raise InputMissing("there is no password", hint="type it, or give it on standard input")
    return line.removesuffix("\n").removesuffix("\r")


def _ask_password() -> str:
    from getpass import getpass

    try:
        password, again = getpass("Password: "), getpass("Again: ")
    except EOFError:
        raise InputMissing("there is no password", hint="type it twice") from None
    if password != again:
        raise UsageError("the passwords differ", hint="type the same twice")
    return password
