"""`mlkit bpmn export, import, prune`: journals as a whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mlkit.cli.bpmn.options import STATE, ArtifactsUrl, JournalUrl, State, reading
from mlkit.cli.groups import examples
from mlkit.cli.options import Json, nanoseconds
from mlkit.cli.output import Output, of
from mlkit.errors import UsageError


@examples(
    "mlkit bpmn export journal.tar",
    "mlkit bpmn export journal.tar --with-keys",
    "mlkit bpmn export journal.tar --journal postgresql://mlkit@db.example/pipelines",
)
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    with_keys: Annotated[
        bool,
        typer.Option("--with-keys", help="Also export the key that signs the links in mails."),
    ] = False,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """Export a journal with its stored values to a file, to move it.

    The file has instances, definitions, schedules, data stores, mail, the audit log, stored values
    and working folders. A journal that a process uses is refused. The file contains all variables:
    protect it like the state folder. With --with-keys, links of mails that were sent remain valid
    where it is imported; whoever has the file can then make such links.
    """
    from mlkit.bpmn.runtime import transfer

    if file.exists():
        raise UsageError(f"{file}: already exists", hint="name another file")
    with reading(state, journal) as session:
        _show("export", transfer.export(session, file, with_keys), file, json, of(context))


@examples(
    "mlkit bpmn import journal.tar --state new",
    "mlkit bpmn import journal.tar --journal postgresql://mlkit@db.example/pipelines",
)
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that `export` has written.")],
    state: State = STATE,
    journal: JournalUrl = None,
    artifacts: ArtifactsUrl = None,
    json: Json = False,
) -> None:
    """Import an exported journal into an empty one, of SQLite or PostgreSQL.

    Every instance is replayed, and its state compared with the exported one: either everything is
    imported, or nothing.
    """
    from mlkit.bpmn.runtime import transfer
    from mlkit.bpmn.runtime.session import Session, Settings

    transfer.require_exported(file)  # Before a journal is made.
    with Session(state, Settings(journal=journal, artifacts=artifacts), create=True) as session:
        _show("import", transfer.import_(session, file), file, json, of(context))


@examples(
    "mlkit bpmn prune --older-than 90d",
    "mlkit bpmn prune --older-than 30d --dry-run",
)
def prune(
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="TIME", help="Minimum time since their end, such as 90d."
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the instances.")] = False,
    state: State = STATE,
    journal: JournalUrl = None,
    json: Json = False,
) -> None:
    """Remove instances that ended long ago, with logs and stored values.

    Removes them in small steps, also while servers run. Stored values that remaining instances
    refer to are kept, and so are deployed definitions, data stores and the audit log.
    """
    from mlkit.bpmn.runtime import retention

    before = time.time() - nanoseconds(older_than, "--older-than") / 1e9
    with reading(state, journal) as session:
        if dry_run:
            found: dict[str, Any] = {"instances": session.journal.retention.count(before)}
        else:
            found = retention.prune(session, before)._asdict()
    if json:
        Output.document("bpmn.prune", 1, {"dry_run": dry_run, **found})
        return
    verb = "would be removed" if dry_run else "removed"
    Output.line(f"{_count(found['instances'], 'instance')} {verb}")
    if not dry_run:
        values = _count(found["artifacts"], "stored value")
        Output.line(f"{values} removed, {found['bytes'] / 1e6:.1f} MB")


def _show(what: str, found: dict[str, Any], file: Path, json: bool, output: Output) -> None:
    if found["rows"].get("mails") and not found["keys"]:
        output.note(
            "note: without the key that signs links, those of mails that were sent are not valid"
            " where the journal is imported; see `mlkit bpmn export --with-keys`"
        )
    if json:
        Output.document(f"bpmn.{what}", 1, {"file": str(file), **found})
        return
    rows = found["rows"]
    counts = (
        _count(rows.get("instances", 0), "instance"),
        _count(rows.get("definitions", 0), "definition"),
        _count(found["artifacts"], "stored value"),
    )
    Output.line(f"{file}: {', '.join(counts)}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
