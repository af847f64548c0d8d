"""The summary of a slimming in Markdown, as CI services show it beside a job."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlkit.errors import printable
from mlkit.image.report.sentences import of_difference, of_finding

SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~@:-])")
SIGNS = {"equal": "✅", "improved": "✅", "broken": "❌"}


def summary(fields: Mapping[str, Any]) -> str:
    """Write the summary.

    Args:
        fields: What `mlkit image slim --json` prints, of one image or of an index.
    """
    lines = _index_lines(fields) if "platforms" in fields else _lines(fields)
    return "\n".join(lines) + "\n"


def parts(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is reported of each image of an index, titled with its platform.

    Args:
        fields: What `mlkit image slim --json` prints; of one image they are its only part.
    """
    if "platforms" not in fields:
        return [fields]
    image = fields["image"]
    return [{**each, "image": f"{image} for {each['platform']}"} for each in fields["platforms"]]


def _index_lines(fields: Mapping[str, Any]) -> Iterator[str]:
    sign = "❌" if fields["failures"] else SIGNS[fields["verdict"]]
    yield f"## {sign} {text(fields['image'])}: {fields['verdict']}"
    yield f"\nResult: {text(fields['result'] or 'not kept')}."
    refused = [f"{each['platform']}: {each['reason']}" for each in fields["refused"]]
    yield from _list("Platforms that were not slimmed", refused)
    for each in parts(fields):
        yield ""
        yield from _lines(each)


def _lines(fields: Mapping[str, Any]) -> Iterator[str]:
    size, failures = fields["size"], fields["failures"]
    sign = "❌" if failures else SIGNS[fields["verdict"]]
    yield f"### {sign} {text(fields['image'])}: {fields['verdict']}"
    yield ""
    yield "| | before | after |"
    yield "|---|---:|---:|"
    yield f"| size | {_megabytes(size['before'])} | {_megabytes(size['after'])} |"
    packages = fields["packages"]
    yield f"| packages | {packages['before']} | {len(packages['kept'])} |"
    if found := fields.get("vulnerabilities"):
        before, after = (len({each["id"] for each in found[when]}) for when in ("before", "after"))
        yield f"| known vulnerabilities | {before} | {after} |"
    yield ""
    yield f"Result: {text(fields['result'] or 'not kept')}. {text(fields['reach']['text'])}"
    yield from _list("Failed", failures)
    differences = [f"{each['effect']}: {of_difference(each)}" for each in fields["differences"]]
    yield from _list("Differences", differences)
    findings = [f"{each['code']}: {of_finding(each)}" for each in fields["findings"]]
    yield from _list("Findings about the original", findings)
    yield from _list("Warnings", fields["warnings"])


def _list(title: str, lines: Iterable[str]) -> Iterator[str]:
    items = [f"- {text(each)}" for each in lines]
    if items:
        yield f"\n**{title}**\n"
        yield from items


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def text(value: str) -> str:
    """Return a text of the user's or the app's so that Markdown shows it unchanged, on one line."""
    return SPECIAL.sub(r"\\\1", html.escape(printable(str(value)), quote=False))
