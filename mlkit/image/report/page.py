"""What the page shows of a slimming."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlkit import page
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.keep.request import Plan
from mlkit.image.packages.package import Packages
from mlkit.image.proof.evidence import evidence
from mlkit.image.report.sentences import of_difference
from mlkit.image.report.summary import Share
from mlkit.image.report.treemap import Box, squarify
from mlkit.image.slimmed import Slimmed

Findings = Mapping[str, Sequence[Mapping[str, str]]]
TEMPLATES = Path(__file__).parent / "templates"
WIDE, NARROW = Box(0.0, 0.0, 860.0, 480.0), Box(0.0, 0.0, 380.0, 520.0)
"""Treemaps for a desk and for a phone, in points."""
MOST = 60
"""Areas of a treemap; the smallest are drawn as one."""
ROWS = 20
"""Rows of a table, the largest first."""
LETTER, LINE = 6.4, 15.0
"""The room that a letter and a line of a label take, in points."""


@dataclass(frozen=True)
class Cell:
    """An area of the treemap, divided into what was kept and what was dropped.

    Attributes:
        share: What it stands for.
        box: Where it is.
        kept: The part that was kept; None if nothing was.
        label: Its name, as far as it fits.
    """

    share: Share
    box: Box
    kept: Box | None
    label: str


@dataclass(frozen=True)
class Known:
    """A known vulnerability, and the packages that have it.

    Attributes:
        id: Such as CVE-2024-1234.
        packages: Their names and versions.
        fixed: The versions that repair it; empty: there is none.
    """

    id: str
    packages: str
    fixed: str


def show(
    image: str, inventory: Inventory, result: Slimmed, found: Findings | None = None
) -> dict[str, Any]:
    """Return what the page shows of a slimming; it needs neither image any more.

    Args:
        image: What was slimmed, as the user named it.
        inventory: The original.
        result: What slimming came to.
        found: The known vulnerabilities `before` and `after`, if somebody has looked for them.
    """
    return context(image, None, inventory, result) | {
        "known": None if found is None else _known(found),
        "index": None,
        "platform": None,
    }


def write(path: Path, shown: Mapping[str, Any]) -> None:
    """Write one page about a slimming.

    Args:
        path: The page.
        shown: What it shows, with its `place` if the result was kept; of an index also the
            `index`, as `slim --json` prints it, and the `platform` that the page is about.

    Raises:
        InputMissing: The page cannot be written.
    """
    filters: dict[str, Callable[..., Any]] = {"mb": megabytes, "count": count}
    page.write(path, page.render(TEMPLATES, "slim.html", shown, filters))


def _known(found: Findings) -> dict[str, Any]:
    """Return how many vulnerabilities there were, which are left, and which have gone."""
    before, after = _by_id(found["before"]), _by_id(found["after"])
    return {
        "before": len(before),
        "left": after[:MOST],
        "more_left": max(0, len(after) - MOST),
        "after": len(after),
        "gone": sorted({each.id for each in before} - {each.id for each in after}),
    }


def _by_id(found: Sequence[Mapping[str, str]]) -> list[Known]:
    """Join what is known of each vulnerability: several packages may have the same one."""
    groups: dict[str, list[Mapping[str, str]]] = {}
    for each in found:
        groups.setdefault(each["id"], []).append(each)
    return [
        Known(
            name,
            ", ".join(f"{each['package']} {each['version']}" for each in group),
            ", ".join(sorted({each["fixed"] for each in group} - {""})),
        )
        for name, group in sorted(groups.items())
    ]


def context(image: str, place: str | None, inventory: Inventory, result: Slimmed) -> dict[str, Any]:
    """Return all that the template shows."""
    sizes, installed = result.sizes, result.packages.installed
    rest = sizes.dropped[ROWS:]
    gone = sorted(installed.keys() - result.plan.packages)
    shares = [each for each in sizes.packages if each.before or each.after]
    return {
        "image": image,
        "place": place,
        "result": result,
        "before": inventory.size,
        "after": result.built.size,
        "files": (_files(inventory), _files(result.built.files)),
        "warnings": result.warnings,
        "broken": [
            of_difference(asdict(each)) for each in result.differences if each.effect == "broken"
        ],
        "asked": result.originals[0].answers,
        "unreached": result.reach.unreached[:MOST],
        "more_unreached": max(0, len(result.reach.unreached) - MOST),
        "evidence": evidence(result.originals, result.candidate, result.differences),
        "maps": [("wide", WIDE, treemap(sizes.areas, WIDE)),
                 ("narrow", NARROW, treemap(sizes.areas, NARROW))],
        "packages": shares[:ROWS],
        "more_packages": _rest(shares[ROWS:]),
        "layers": sizes.layers,
        "dropped": sizes.dropped[:ROWS],
        "more_dropped": (len(rest), sum(each.size for each in rest)),
        "kept_packages": _name_versions(sorted(result.plan.packages), result.packages),
        "gone_packages": _name_versions(gone, result.packages),
        "reasons": reasons(inventory, result.plan),
        "left_out": inventory.files.dropped,
    }  # fmt: skip


def _name_versions(names: Sequence[str], packages: Packages) -> list[str]:
    known = packages.installed
    return [f"{name} {known[name].version}" if name in known else name for name in names]


def _files(inventory: Inventory) -> int:
    return sum(entry.kind == "file" for entry in inventory.files.entries.values())


def _rest(shares: Sequence[Share]) -> Share | None:
    if not shares:
        return None
    name = f"{len(shares)} more"
    return Share(name, sum(each.before for each in shares), sum(each.after for each in shares))


def reasons(inventory: Inventory, kept: Plan) -> list[tuple[str, int, int]]:
    """Count the kept files by the kind of their reason: (kind, files, bytes), most bytes first."""
    found: dict[str, list[int]] = {}
    for path, reason in kept.reasons.items():
        entry = inventory.files.entries[path]
        if entry.kind == "file":
            sums = found.setdefault(_kind(reason), [0, 0])
            sums[0] += 1
            sums[1] += entry.size
    rows = [(name, files, size) for name, (files, size) in found.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def _kind(reason: str) -> str:
    """Cut the name off a reason such as `needed by ELF usr/bin/x`."""
    for start in ("needed by ELF", "interpreter of", "source of", "python import of",
                  "package data", "target of", "loaded by glibc", "missed"):  # fmt: skip
        if reason.startswith(start):
            return start.removesuffix(" of")
    return "whole package" if reason.startswith("package ") else reason


def treemap(shares: Sequence[Share], box: Box) -> list[Cell]:
    """Draw where the original's bytes were, and which of them are left."""
    areas = [share for share in shares if share.before > 0]
    rest = _rest(areas[MOST - 1 :]) if len(areas) > MOST else None
    areas = sorted(areas[: MOST - 1] if rest else areas, key=lambda each: -each.before)
    areas += [rest] if rest else []
    areas.sort(key=lambda each: -each.before)
    boxes = squarify([share.before for share in areas], box)
    return [_cell(share, each) for share, each in zip(areas, boxes, strict=True)]


def _cell(share: Share, box: Box) -> Cell:
    part = min(share.after / share.before, 1.0)
    kept = None
    if part > 0 and box.width >= box.height:
        kept = Box(box.x, box.y, box.width * part, box.height)
    elif part > 0:
        height = box.height * part
        kept = Box(box.x, box.y + box.height - height, box.width, height)
    return Cell(share, box, kept, _label(share.name, box))


def _label(name: str, box: Box) -> str:
    letters = int((box.width - 8.0) / LETTER)
    if box.height < LINE or letters < 3:
        return ""
    return name if len(name) <= letters else name[: letters - 1] + "\N{HORIZONTAL ELLIPSIS}"


def megabytes(size: int) -> str:
    """Write a size as people read it: 10^6 bytes."""
    return f"{size / 1e6:,.2f}\N{NO-BREAK SPACE}MB"


def count(number: int) -> str:
    """Write a number with its thousands separated."""
    return f"{number:,}"
