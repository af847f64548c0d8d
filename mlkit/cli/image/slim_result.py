"""What `mlkit image slim` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mlkit.cli.image.text import megabytes, plain
from mlkit.cli.output import Output

if TYPE_CHECKING:
    from rich.table import Table

    from mlkit.image.filesystem.index import Selection
    from mlkit.image.filesystem.inventory import Inventory
    from mlkit.image.filesystem.output import Place
    from mlkit.image.slimmed import Slimmed

LARGEST = 5
"""Dropped files that are listed."""
MOST = 10
"""Packages and layers that are listed."""


def fields(
    image: str, place: Place | None, inventory: Inventory, result: Slimmed
) -> dict[str, Any]:
    """Return what a slimming came to as JSON values."""
    from mlkit.image.proof.evidence import evidence

    return {
        "image": image,
        "result": place.text if place else None,
        "digest": place.digest if place else None,
        "attached": place.attached if place else None,
        "id": result.built.image if place else None,
        "verdict": result.verdict,
        "base": result.built.base,
        "size": {
            "before": inventory.size,
            "after": result.built.size if result.gained else inventory.size,
        },
        "layers": {
            "bytes": inventory.files.stored,
            "shadowed": inventory.files.stored - inventory.size,
        },
        "gained": result.gained,
        "packages": {
            "before": len(result.packages.installed),
            "kept": sorted(result.plan.packages),
        },
        "command": result.command,
        "sizes": {
            "packages": [asdict(each) for each in result.sizes.packages],
            "layers": [asdict(each) for each in result.sizes.layers],
        },
        "reach": result.reach.fields(),
        "own": {
            "files": result.sizes.own_files,
            "bytes": result.sizes.own_bytes,
            "leftovers": [asdict(each) for each in result.sizes.leftovers],
        },
        "seccomp": _seccomp(result),
        "traced_by": result.trace.method,
        "warnings": result.warnings,
        "findings": [asdict(each) for each in result.findings],
        "notes": [asdict(each) for each in result.notes],
        "differences": [asdict(each) for each in result.differences],
        "comparison": [
            asdict(each)
            for each in evidence(result.originals, result.candidate, result.differences)
        ],
        "added": result.added,
        "unresolved": [list(each) for each in result.plan.unresolved],
        "dropped": [asdict(each) for each in result.sizes.dropped[:20]],
        "left_out": inventory.files.dropped,
        "kept": dict(sorted(result.plan.reasons.items())),
    }


VERDICTS = ("equal", "improved", "broken")
"""The worst is last."""


def index_fields(
    image: str, place: Place | None, parts: list[dict[str, Any]], selection: Selection
) -> dict[str, Any]:
    """Return what slimming several images of an index came to as JSON values.

    Args:
        image: What the user named.
        place: Where the index is; None: it was not kept.
        parts: What each came to, with its `platform`.
        selection: Which they are.
    """
    return {
        "image": image,
        "result": place.text if place else None,
        "digest": place.digest if place else None,
        "verdict": max((each["verdict"] for each in parts), key=VERDICTS.index),
        "size": {when: sum(each["size"][when] for each in parts) for when in ("before", "after")},
        "failures": [
            f"{each['platform']}: {failure}" for each in parts for failure in each["failures"]
        ],
        "platforms": parts,
        "refused": [asdict(each) for each in selection.refused],
        "dropped": [asdict(each) for each in selection.dropped],
    }


def _seccomp(result: Slimmed) -> dict[str, Any] | None:
    found = result.seccomp
    return None if found is None else {"allowed": found.names, "added": found.added}


def show(fields: dict[str, Any], json: bool) -> None:
    """Print them, as a table or as JSON."""
    if json:
        Output.document("image.slim", 1, fields)
        return
    Output.result(_overview(fields))
    for title, shares in fields["sizes"].items():
        Output.result(_sizes(f"size by {title[:-1]}", shares))


def show_index(fields: dict[str, Any], json: bool) -> None:
    """Print those of an index: a table for each platform, and one of all."""
    from rich.table import Table

    if json:
        Output.document("image.slim.index", 1, fields)
        return
    for each in fields["platforms"]:
        Output.result(_overview(each, each["platform"]))
    table = Table("platform", "verdict", "before", "after")
    for each in fields["platforms"]:
        size = [megabytes(each["size"][when]) for when in ("before", "after")]
        table.add_row(plain(each["platform"]), each["verdict"], *size)
    for each in fields["refused"]:
        table.add_row(plain(each["platform"]), plain(f"not slimmed: {each['reason']}"), "", "")
    Output.result(table)
    if fields["dropped"]:
        Output.result(f"not carried over: {', '.join(map(name_dropped, fields['dropped']))}")
    if fields["result"]:
        Output.result(f"result: {fields['result']} {fields['digest']}")
    else:
        Output.result("result: not kept")


def name_dropped(each: dict[str, Any]) -> str:
    """Name an entry of an index that is not in the result, such as an attestation."""
    return f"{each['kind']} of {each['platform']}" if each["platform"] else str(each["kind"])


def _overview(fields: dict[str, Any], title: str = "") -> Table:
    from rich.table import Table

    from mlkit.image.report.sentences import of_difference, of_finding

    table = Table(title, "")
    size, packages = fields["size"], fields["packages"]
    rows = [
        ("verdict", fields["verdict"]),
        ("reached", fields["reach"]["text"]),
        ("result", fields["result"] or "not kept"),
        *((("digest", fields["digest"]),) if fields["digest"] else ()),
        *((("attached", fields["attached"]),) if fields["attached"] else ()),
        ("base", fields["base"]),
        ("size", f"{megabytes(size['before'])} -> {megabytes(size['after'])}"),
        *_report_shadowed(fields["layers"]),
        ("packages", f"{packages['before']} -> {len(packages['kept'])}"),
        *_report_vulnerabilities(fields["vulnerabilities"]),
        ("traced by", fields["traced_by"]),
        *_report_allowed(fields["seccomp"]),
        ("starts", " ".join(fields["command"]).replace("\n", "; ")),
        *(("warning", each) for each in fields["warnings"]),
        *((f"finding {each['code']}", of_finding(each)) for each in fields["findings"]),
        *((f"note {each['code']}", of_finding(each)) for each in fields["notes"]),
        *((each["effect"], of_difference(each)) for each in fields["differences"]),
        *(("added after a trial", path) for path in fields["added"]),
        *_report_left_out(fields["left_out"]),
        *_own(fields["own"]),
        *(("dropped", _format_dropped(each)) for each in fields["dropped"][:LARGEST]),
    ]
    for name, text in rows:
        table.add_row(name, plain(text))
    return table


def _report_allowed(seccomp: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return how many system calls a profile allows."""
    if seccomp is None:
        return []
    return [("seccomp", f"{len(seccomp['allowed'])} system calls allowed")]


def _report_vulnerabilities(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return how many known vulnerabilities there were and are, and the ids of the latter."""
    if found is None:
        return []
    before, after = (sorted({each["id"] for each in found[when]}) for when in ("before", "after"))
    more = f" and {len(after) - MOST} more" if len(after) > MOST else ""
    ids = f" ({', '.join(after[:MOST])}{more})" if after else ""
    return [("vulnerabilities", f"{len(before)} -> {len(after)}{ids}")]


def _format_dropped(each: dict[str, Any]) -> str:
    return f"{each['path']} ({megabytes(each['size'])})"


def _sizes(title: str, shares: list[dict[str, Any]]) -> Table:
    """Show the largest shares, the others as one."""
    from rich.table import Table

    table = Table(title, "before", "after")
    first, rest = shares[:MOST], shares[MOST:]
    for each in first:
        table.add_row(plain(each["name"]), megabytes(each["before"]), megabytes(each["after"]))
    if rest:
        sums = [sum(each[column] for each in rest) for column in ("before", "after")]
        table.add_row(f"{len(rest)} more", *map(megabytes, sums))
    return table


def _report_shadowed(layers: dict[str, int]) -> list[tuple[str, str]]:
    """Return what layers hold that later ones overwrite or delete: no container sees it."""
    if not layers["shadowed"]:
        return []
    whole, gone = megabytes(layers["bytes"]), megabytes(layers["shadowed"])
    return [("in layers", f"{whole}, of which {gone} are overwritten or deleted")]


def _own(own: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what files of no package cost, and which of them were taken for leftovers."""
    text = f"{own['files']} files ({megabytes(own['bytes'])}) kept"
    gone = [
        f"{each['kind']}: {each['files']} ({megabytes(each['bytes'])})" for each in own["leftovers"]
    ]
    return [("of no package", "; dropped ".join([text, *([", ".join(gone)] if gone else [])]))]


def _report_left_out(paths: list[str]) -> list[tuple[str, str]]:
    """Report in one line device nodes, pipes and sockets: a base image has many."""
    if not paths:
        return []
    more = f" and {len(paths) - LARGEST} more" if len(paths) > LARGEST else ""
    names = ", ".join(f"/{path}" for path in paths[:LARGEST])
    return [("left out", f"{names}{more}: no files")]
