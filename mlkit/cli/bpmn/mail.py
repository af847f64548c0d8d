"""`mlkit bpmn mail`: the outbox of a state folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.bpmn.defaults import ATTACH_LIMIT, DIGEST_HOUR, MAIL_FROM
from mlkit.cli.bpmn.options import STATE, JournalUrl, State, serving
from mlkit.cli.bpmn.results import ago
from mlkit.cli.groups import examples, group
from mlkit.cli.options import MOST, Json
from mlkit.cli.output import Output, format_count, of

if TYPE_CHECKING:
    from mlkit.bpmn.journal.notices import Mail
    from mlkit.bpmn.mail.composition import MailSettings

app = group(
    "mail",
    "Send mail about open tasks; list what was sent, and what failed.",
    {
        "send": (
            "mlkit.cli.bpmn.mail:send",
            "Send the mails that are due, once; a server does it all the time.",
        ),
        "list": ("mlkit.cli.bpmn.mail:list_", "List mails, newest first."),
        "retry": (
            "mlkit.cli.bpmn.mail:retry",
            "Send failed and delayed mails again at once.",
        ),
    },
    shared=("state", "journal"),
)

People = Annotated[
    Path | None,
    typer.Option(
        "--people",
        metavar="FILE",
        help=("TOML file of people and their groups, reread when it changes."),
    ),
]
Smtp = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help=("Mail server: smtp://, smtp+starttls:// or smtps://[USER@]HOST[:PORT]."),
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--smtp-password-file", metavar="FILE",
        help=(
"File with the password of the mail server (default: the variable "
"MLKIT_BPMN_SMTP_PASSWORD)."
),
    ),
]  # fmt: skip
MailFrom = Annotated[str, typer.Option(metavar="ADDRESS", help="Sender address of the mails.")]
MailTemplates = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of mail templates that replace the built-in ones."),
]
BaseUrl = Annotated[
    str, typer.Option(metavar="URL", help="URL of the server's pages, for links in mails.")
]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=("File with the secret that signs links (default: created in the state folder)."),
    ),
]
Links = Annotated[
    bool,
    typer.Option(
        "--links/--no-links", help="Whether a link in a mail opens its task without a login."
    ),
]
AttachLimit = Annotated[
    float,
    typer.Option(
        min=0,
        max=MOST,
        metavar="MB",
        help=("Maximum size of the documents attached to one mail, in megabytes."),
    ),
]
DigestHour = Annotated[
    int,
    typer.Option(min=0, max=23, help="Hour of the day, 0 to 23, at which daily mails are sent."),
]


def mail_settings(
    mail_from: str, templates: Path | None, attach_limit: float, digest_hour: int
) -> MailSettings:
    """Return how mail is written, by the options."""
    from mlkit.bpmn.mail import messages
    from mlkit.bpmn.mail.composition import MailSettings
    from mlkit.bpmn.mail.texts import Templates

    return MailSettings(
        sender=messages.sender(mail_from),
        templates=Templates(templates),
        attached=int(attach_limit * 1e6),
        digest_hour=digest_hour,
    )


@examples(
    "mlkit bpmn mail send --people people.toml --smtp smtp://localhost",
    "mlkit bpmn mail send --people people.toml --smtp smtps://bot@mail.example.org",
)
def send(
    smtp: Smtp,
    people: People = None,
    smtp_password_file: PasswordFile = None,
    mail_from: MailFrom = MAIL_FROM,
    mail_templates: MailTemplates = None,
    base_url: BaseUrl = "",
    secret_file: SecretFile = None,
    links: Links = True,
    attach_limit: AttachLimit = ATTACH_LIMIT,
    digest_hour: DigestHour = DIGEST_HOUR,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """Send the mails that are due, once; a server does it all the time.

    Exits 1 where a mail failed, or has to wait for the mail server.
    """
    from dataclasses import replace

    from mlkit.bpmn.mail import smtp as smtp_
    from mlkit.bpmn.mail.sender import Sender
    from mlkit.bpmn.people.directory import PeopleFile
    from mlkit.bpmn.people.links import Links, key_of
    from mlkit.web.base_url import parse as parse_url

    server = smtp_.parse(smtp, smtp_password_file)
    signer = Links(key_of(state, secret_file)) if base_url and links else None
    settings = mail_settings(mail_from, mail_templates, attach_limit, digest_hour)
    pages = parse_url(base_url) if base_url else ""
    settings = replace(settings, base_url=pages, links=signer)
    with serving(state, journal) as service:
        done = Sender(service.session, PeopleFile(people), server, settings).empty()
    counts = {name: getattr(done, name) for name in ("sent", "dropped", "failed", "delayed")}
    if json:
        Output.document("bpmn.mail.send", 1, counts)
    else:
        Output.line(", ".join(f"{count} {name}" for name, count in counts.items()))
    if done.failed or done.delayed:
        raise typer.Exit(1)


@examples(
    "mlkit bpmn mail list --only failed",
    "mlkit bpmn mail list --json",
)
def list_(
    context: typer.Context,
    *,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            help=("List only mails in this state: queued, sent, failed or dropped."),
        ),
    ] = None,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """List mails, newest first.

    Each mail is listed with the address that it was sent to; a queued one with that of its person,
    and of the substitute to whom it is forwarded while they are away. Tasks whose recipients have
    not been looked up yet count as queued.
    """
    from mlkit.bpmn.people.recipients import forwarded_to
    from mlkit.errors import UsageError

    if only not in (None, "queued", "sent", "failed", "dropped"):
        raise UsageError(f"--only {only!r}: expected queued, sent, failed or dropped")
    with serving(state, journal) as service:
        outbox = service.journal.outbox
        mails, counts = outbox.mails(only), outbox.counts()
        instances = {row.number: row.id for row in service.journal.rows()}
        substitutes = service.journal.absences.now(time.time())
    forwarded = {each.id: forwarded_to(each, substitutes) for each in mails}
    if json:
        fields = [_document(each, instances, forwarded[each.id]) for each in mails]
        Output.document("bpmn.mail", 1, {"counts": counts, "mails": fields})
        return
    if not mails:
        of(context).note(f"no {only} mails" if only else "no mails")
    for each in mails:
        error = f"  {each.error}" if each.error else ""
        person = forwarded[each.id]
        to = f"{each.recipient}, forwarded to {person}" if person else each.recipient
        Output.line(f"{each.id}  {each.state}  {to}  {_about(each, instances)}"
                    f"  {ago(each.created)}{error}")  # fmt: skip


def _about(mail: Mail, instances: dict[int, str]) -> str:
    task = f"/{mail.activation}" if mail.activation else ""
    return f"{mail.kind} {instances.get(mail.instance, '')}{task}".strip()


def _document(mail: Mail, instances: dict[int, str], forwarded: str | None) -> dict[str, Any]:
    from mlkit.bpmn.definition.timers import instant

    instance = instances.get(mail.instance)
    return {
        "id": mail.id, "state": mail.state, "kind": mail.kind, "instance": instance,
        "task": f"{instance}/{mail.activation}" if mail.activation else None,
        "person": mail.person, "recipient": mail.recipient, "forwarded_to": forwarded,
        "attempts": mail.attempts,
        "error": mail.error or None, "created": instant(mail.created),
        "due": instant(mail.due) if mail.state == "queued" else None,
        "ended": None if mail.ended is None else instant(mail.ended),
    }  # fmt: skip


@examples(
    "mlkit bpmn mail retry",
    "mlkit bpmn mail retry 12 13",
)
def retry(
    context: typer.Context,
    mails: Annotated[
        list[int] | None,
        typer.Argument(
            min=1, max=MOST, help=("Numbers of the mails, as listed by `mail list` (default: all).")
        ),
    ] = None,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """Send failed and delayed mails again at once."""
    with serving(state, journal) as service:
        opened = service.journal
        count = opened.atomically(lambda: opened.outbox.retry(mails or None))
    if json:
        Output.document("bpmn.mail.retry", 1, {"queued": count})
    else:
        of(context).note(f"{format_count(count, 'mail')} will be sent again")
    if mails and not count:
        raise typer.Exit(1)
