"""`mlkit bpmn serve`: the engine and the interface over HTTP."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlkit.bpmn.defaults import ATTACH_LIMIT, DIGEST_HOUR, MAIL_FROM, MAX_BODY, MAX_UPLOAD, PORT
from mlkit.cli.bpmn.mail import (
    AttachLimit,
    DigestHour,
    Links,
    MailFrom,
    MailTemplates,
    PasswordFile,
    People,
    SecretFile,
    mail_settings,
)
from mlkit.cli.bpmn.options import (
    STATE,
    ArtifactsUrl,
    Cpu,
    Env,
    JournalUrl,
    Lease,
    Memory,
    Python,
    Rscript,
    State,
    Timeout,
    Workers,
    settings_of,
)
from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, nanoseconds
from mlkit.cli.output import of
from mlkit.errors import UsageError
from mlkit.web.defaults import DRAIN_TIMEOUT, HOST, SESSION_HOURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlkit.bpmn.server.settings import Settings
    from mlkit.web.oidc import Client


OIDC_SECRET = "MLKIT_OIDC_SECRET"


class LogFormat(StrEnum):
    """The choices of --log-format."""

    TEXT = "text"
    JSON = "json"


@examples(
    "mlkit bpmn serve",
    "mlkit bpmn serve --watch diagrams --log-format json",
    "mlkit bpmn serve --host 0.0.0.0 --users users --base-url https://flows.example.org",
    "mlkit bpmn serve --host 0.0.0.0 --oidc https://login.example.org/realms/main"
    " --oidc-client mlkit --base-url https://flows.example.org",
    "mlkit bpmn serve --host 0.0.0.0 --token-file /run/secrets/tokens --base-url"
    " https://flows.example.org",
)
def serve(
    context: typer.Context,
    state: State = STATE,
    journal: JournalUrl = None,
    artifacts: ArtifactsUrl = None,
    lease: Lease = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free port.")
    ] = PORT,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", help="URL by which others reach the server."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=("File of accepted tokens, one per line: TOKEN [ROLES [NAME]]."),
        ),
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Users file for logins with a password; see `mlkit bpmn user add`."
        ),
    ] = None,
    oidc: Annotated[
        str | None,
        typer.Option(
            "--oidc", metavar="ISSUER", help="OpenID Connect issuer at which people log in."
        ),
    ] = None,
    oidc_client: Annotated[
        str | None, typer.Option(metavar="ID", help="Client id of the server at the provider.")
    ] = None,
    oidc_secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the client secret (or MLKIT_OIDC_SECRET); none: a public client.",
        ),
    ] = None,
    oidc_name: Annotated[
        str, typer.Option(metavar="CLAIM", help="Claim with the id of a person.")
    ] = "preferred_username",
    oidc_groups: Annotated[
        str, typer.Option(metavar="CLAIM", help="Claim with the groups of a person.")
    ] = "groups",
    session_hours: Annotated[
        float,
        typer.Option(min=0.01, max=8760, metavar="HOURS", help="Hours for which a login is valid."),
    ] = SESSION_HOURS,
    drain_timeout: Annotated[
        float,
        typer.Option(
            "--drain-timeout",
            "--grace",
            min=0,
            max=MOST,
            metavar="SECONDS",
            help="Seconds that running scripts have to end after SIGTERM.",
        ),
    ] = DRAIN_TIMEOUT,
    watch: Annotated[
        Path | None,
        typer.Option(
            "--watch",
            metavar="DIR",
            help="Folder whose diagrams are deployed whenever they change.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="Format of the log: text, or JSON with the ids of instances.")
    ] = LogFormat.TEXT,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Remove instances that ended longer ago than this, such as 90d; see prune.",
        ),
    ] = None,
    otlp: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Report traces and metrics to this OpenTelemetry collector (OTLP)."
        ),
    ] = None,
    max_body: Annotated[
        int, typer.Option(min=1, max=MOST, help="Maximum size of a request body, in bytes.")
    ] = MAX_BODY,
    max_upload: Annotated[
        int,
        typer.Option(
            min=1, max=MOST, help=("Maximum size of a deployment, or of uploaded files, in bytes.")
        ),
    ] = MAX_UPLOAD,
    people: People = None,
    smtp: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help=("Mail server: smtp://, smtp+starttls:// or smtps://[USER@]HOST[:PORT]."),
        ),
    ] = None,
    smtp_password_file: PasswordFile = None,
    mail_from: MailFrom = MAIL_FROM,
    mail_templates: MailTemplates = None,
    links: Links = True,
    secret_file: SecretFile = None,
    attach_limit: AttachLimit = ATTACH_LIMIT,
    digest_hour: DigestHour = DIGEST_HOUR,
    workers: Workers = None,
    python: Python = None,
    rscript: Rscript = None,
    timeout: Timeout = 0,
    memory: Memory = 0,
    cpu: Cpu = 0,
    env: Env = [],  # noqa: B006 - typer's way to express "none given"
) -> None:
    """Run instances permanently, and answer over HTTP.

    Advances every instance of the state folder that has work; the other commands can be used at the
    same time. An address that others can reach needs --users, --oidc or --token-file. On SIGTERM
    no more work is started, running scripts may end within --drain-timeout, and the exit code is
    143.
    """
    from mlkit.bpmn.mail import smtp as smtp_
    from mlkit.bpmn.server.federation import Claims
    from mlkit.bpmn.server.settings import Settings

    scripts = settings_of(
        workers, (python, rscript), (timeout, cpu, memory, tuple(env)), journal, lease, artifacts
    )
    scripts.queues_mail = smtp is not None
    settings = Settings(
        state=state,
        host=host,
        port=port,
        base_url=base_url,
        drain_timeout=drain_timeout,
        token_file=token_file,
        users_file=users,
        oidc=_client(oidc, oidc_client, oidc_secret_file),
        oidc_claims=Claims(oidc_name, oidc_groups),
        session_hours=session_hours,
        otlp=otlp,
        keep=None if keep is None else nanoseconds(keep, "--keep") / 1e9,
        scripts=scripts,
        max_body=max_body,
        max_upload=max_upload,
        watch=watch,
        people_file=people,
        smtp=None if smtp is None else smtp_.parse(smtp, smtp_password_file),
        mail=mail_settings(mail_from, mail_templates, attach_limit, digest_hour),
        links=links,
        secret_file=secret_file,
    )
    raise typer.Exit(_run(settings, log_format, of(context).note))


def _client(issuer: str | None, identifier: str | None, file: Path | None) -> Client | None:
    """Return what a provider knows the server as; None: there is no provider."""
    from mlkit.web.access import read_token
    from mlkit.web.oidc import Client

    if issuer is None and identifier is None and file is None:
        return None
    if issuer is None or not identifier:
        raise UsageError("--oidc and --oidc-client go together", hint="see docs/bpmn-access.md")
    secret = os.environ.get(OIDC_SECRET, "")
    if file is not None:
        secret = read_token(file, "--oidc-secret-file").decode()
    return Client(issuer, identifier, secret)


def _run(settings: Settings, form: LogFormat, note: Callable[[str], None]) -> int:
    from mlkit.bpmn.server import process
    from mlkit.web.logs import configure

    configure(as_json=form is LogFormat.JSON)

    return process.serve(settings, lambda url: _announce(url, settings, note))


def _announce(url: str, settings: Settings, note: Callable[[str], None]) -> None:
    note(f"serving {settings.place} at {url}; {url}/docs describes it")
    if settings.users_file is not None or settings.oidc is not None:
        note(f"log in at {settings.base_url or url}")
        return
    header = "" if settings.token_file is None else " -H 'Authorization: Bearer TOKEN'"
    note(f"try: curl{header} {url}/healthz")
