"""`mlkit bpmn deploy`: what a server, or a state folder, can start by its key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlkit.cli.bpmn.options import STATE, Person, State, acting
from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of


@examples(
    "mlkit bpmn deploy training.bpmn",
    "mlkit bpmn deploy *.bpmn --json",
)
def deploy(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Diagrams; what they use goes with them.")],
    person: Person = None,
    state: State = STATE,
    json: Json = False,
) -> None:
    """Deploy diagrams with their scripts, forms, decisions and called diagrams.

    All are checked first; with an error nothing is deployed. What has changed becomes a new
    version of its process; new instances take the newest version, running ones keep theirs.
    """
    from mlkit.bpmn.runtime.deployment import deploy_paths
    from mlkit.bpmn.runtime.session import Session

    with Session(state, create=True) as session:
        found = deploy_paths(session, files, acting(person))
    if json:
        fields = [
            {"process": e.process, "version": e.version, "hash": e.definition, "is_new": e.is_new}
            for e in found
        ]
        Output.document("bpmn.deploy", 1, {"definitions": fields})
        return
    for each in found:
        what = "deployed" if each.is_new else "unchanged"
        Output.line(f"{each.process}  version {each.version}  {what}")
    of(context).note("a server of this state folder starts them by their keys")
