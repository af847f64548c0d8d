"""`mlkit doctor`: what this machine offers each workload."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output

if TYPE_CHECKING:
    from rich.table import Table

    from mlkit.environment import Component


@examples(
    "mlkit doctor",
    "mlkit doctor --json | jq '.components[] | select(.state == \"missing\")'",
)
def doctor(json: Json = False) -> None:
    """Show what this machine offers each workload, and how to get what is missing.

    Always exits 0: a missing component is not an error until a command needs it.
    """
    from mlkit.environment import survey

    components = survey()
    if json:
        Output.document("doctor", 1, {"components": [asdict(each) for each in components]})
    else:
        Output.result(_table(components))


def _table(components: list[Component]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("component", "for", "state", "found")
    for each in components:
        ok = each.state == "ok"
        state = Text("ok", "green") if ok else Text("missing", "yellow")
        table.add_row(each.name, each.workloads, state, each.found if ok else each.hint)
    return table
