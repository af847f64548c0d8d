"""`mlkit bpmn deploy`: what a server, or a state folder, can start by its key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlkit.cli.bpmn.options import (
    Person,
    acting,
)
from mlkit.cli.bpmn.place import Place, choose_server, client_of, with_place
from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of


@examples(
    "mlkit bpmn deploy training.bpmn",
    "mlkit bpmn deploy *.bpmn --server https://flows.example.org --token-file token",
)
@with_place
def deploy(
    context: typer.Context,
    *,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Diagrams to deploy, together with the files that they use."
        ),
    ],
    person: Person = None,
    place: Place,
    json: Json = False,
) -> None:
    """Deploy diagrams with their scripts, forms, decisions and called diagrams.

    All are checked first; if there is an error, nothing is deployed. Changed content becomes a new
    version of its process; new instances use the newest version, running ones keep theirs.
    """
    by, url = acting(person), choose_server(context, place)
    if url is None:
        found = _locally(place, files, by)
    else:
        with client_of(url, place.token_file) as client:
            found = client.deploy(files)
    if json:
        names = ("process", "version", "hash", "is_new")
        fields = [{name: each[name] for name in names} for each in found]
        Output.document("bpmn.deploy", 1, {"definitions": fields})
        return
    for each in found:
        what = "deployed" if each["is_new"] else "unchanged"
        Output.line(f"{each['process']}  version {each['version']}  {what}")
    if url is None:
        of(context).note("`mlkit bpmn start PROCESS`, or a server of this journal, starts them")


def _locally(place: Place, files: list[Path], by: str) -> list[dict[str, Any]]:
    from mlkit.bpmn.runtime.deployment import add, check_files, files_of
    from mlkit.bpmn.runtime.session import Session, Settings

    settings = Settings(journal=place.journal)
    diagrams = check_files(files_of(files), settings.rscript)  # What is refused leaves no folder.
    with Session(place.state, settings, create=True) as session:
        found = add(session, diagrams, by)
    return [
        {"process": e.process, "version": e.version, "hash": e.definition, "is_new": e.is_new}
        for e in found
    ]
