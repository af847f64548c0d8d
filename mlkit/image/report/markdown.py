"""The summary of a slimming in Markdown, as CI services show it beside a job."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlkit.errors import printable

SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~@:-])")
SIGNS = {"equal": "✅", "improved": "✅", "broken": "❌"}


def summary(fields: Mapping[str, Any]) -> str:
    """Write the summary.

    Args:
        fields: What `mlkit image slim --json` prints.
    """
    return "\n".join(_lines(fields)) + "\n"


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
    differences = [_difference(each) for each in fields["differences"]]
    yield from _list("Differences", differences)
    findings = [
        f"{each['code']}: {each['observed']}; {each['cure']}" for each in fields["findings"]
    ]
    yield from _list("Findings about the original", findings)
    yield from _list("Warnings", fields["warnings"])


def _list(title: str, lines: Iterable[str]) -> Iterator[str]:
    items = [f"- {text(each)}" for each in lines]
    if items:
        yield f"\n**{title}**\n"
        yield from items


def _difference(each: Mapping[str, Any]) -> str:
    return f"{each['effect']}: {each['what']}: {each['original']} -> {each['candidate']}"


def _finding(each: Mapping[str, Any]) -> str:
    return f"{each['code']}: {each['observed']}; {each['cure']}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def text(value: str) -> str:
    """Return a text of the user's or the app's so that Markdown shows it unchanged, on one line."""
    return SPECIAL.sub(r"\\\1", html.escape(printable(str(value)), quote=False))
