"""What `mlkit image slim` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mlkit.cli.output import Output

if TYPE_CHECKING:
    from mlkit.image.inventory import Inventory
    from mlkit.image.slim import Slimmed


def fields(image: str, place: str | None, inventory: Inventory, result: Slimmed) -> dict[str, Any]:
    """Give what a slimming came to as JSON values."""
    sizes = {path: entry.size for path, entry in inventory.files.entries.items()}
    dropped = sorted(sizes.keys() - result.plan.reasons.keys(), key=lambda path: -sizes[path])
    return {
        "image": image,
        "result": place,
        "id": result.built.image if place else None,
        "verdict": result.verdict,
        "base": result.built.base,
        "size": {"before": inventory.size, "after": result.built.size},
        "packages": {
            "before": len(result.packages.installed),
            "kept": sorted(result.plan.packages),
        },
        "command": result.command,
        "findings": [asdict(each) for each in result.findings],
        "differences": [asdict(each) for each in result.differences],
        "added": result.added,
        "unresolved": [list(each) for each in result.plan.unresolved],
        "dropped": [{"path": path, "size": sizes[path]} for path in dropped[:20]],
        "kept": dict(sorted(result.plan.reasons.items())),
    }


def show(fields: dict[str, Any], json: bool) -> None:
    """Print them, as a table or as JSON."""
    if json:
        Output.document("image.slim", 1, fields)
        return
    from rich.table import Table

    table = Table("", "")
    sizes = [f"{fields['size'][each] / 1e6:.2f} MB" for each in ("before", "after")]
    packages = fields["packages"]
    table.add_row("verdict", fields["verdict"])
    table.add_row("result", fields["result"] or "not kept")
    table.add_row("base", fields["base"])
    table.add_row("size", " -> ".join(sizes))
    table.add_row("packages", f"{packages['before']} -> {len(packages['kept'])}")
    table.add_row("starts", " ".join(fields["command"]))
    for each in fields["findings"]:
        table.add_row(f"finding {each['code']}", each["observed"])
    for each in fields["differences"]:
        text = f"{each['what']}: {each['original']} -> {each['candidate']}"
        table.add_row(each["effect"], text)
    for path in fields["added"]:
        table.add_row("added after a trial", path)
    for each in fields["dropped"][:5]:
        table.add_row("dropped", f"{each['path']} ({each['size'] / 1e6:.2f} MB)")
    Output.result(table)
