"""The tables of `mlkit bandit evaluate`."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from mlkit.bandit.evaluation.evaluation import Ends, Estimate, Judgement, difference
from mlkit.cli.output import plain

_NAMES = {
    "replay": "replay",
    "ips": "IPS",
    "clipped": "clipped IPS",
    "snips": "SNIPS",
    "dm": "direct method",
    "dr": "doubly robust",
    "switch-dr": "SWITCH-DR",
    "iips": "IIPS, per slate",
    "rips": "RIPS, per slate",
    "sips": "slate IPS, per slate",
}
_NONE = "-"


def estimates(own: Estimate, judged: Sequence[Judgement], level: float) -> Table:
    """Make a table of the estimates of all policies, below what the log's own earned."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("policy", overflow="fold")
    table.add_column("estimator")
    several = len(judged) > 1
    names = ["value", f"{100 * level:.4g} % bootstrap", f"{100 * level:.4g} % Bernstein"]
    for name in [*names, *([f"{plain(judged[0].policy)} minus this"] if several else [])]:
        table.add_column(name, justify="right")
    _add(table, "(the log's own)", own, [""] if several else [])
    for judgement in judged:
        table.add_section()
        for place, each in enumerate(judgement.estimates):
            more = [_advantage(judged[0], judgement, each, level)] if several else []
            _add(table, "" if place else judgement.policy, each, more)
    return table


def _add(table: Table, policy: str, found: Estimate, more: Sequence[str]) -> None:
    name = "mean" if found.estimator == "logged" else _name(found.estimator)
    ends = _ends(found.bootstrap), _ends(found.bernstein)
    table.add_row(plain(policy), plain(name), _number(found.value), *ends, *more)


def _name(estimator: str) -> str:
    return _NAMES.get(estimator, estimator.replace("ips at", "IPS at"))


def _advantage(first: Judgement, other: Judgement, each: Estimate, level: float) -> str:
    found = None if other is first else difference(first, other, each.estimator, level)
    return "" if found is None else f"{_number(found.value)} ({_ends(found.bootstrap)})"


def support(judged: Sequence[Judgement]) -> Table:
    """Make a table of how much the log says of each policy."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("policy", overflow="fold")
    for name in (
        "effective rows",
        "mean weight",
        "largest weight",
        "its share",
        "lacking",
        "with reward",
        "replayed",
    ):
        table.add_column(name, justify="right")
    for each in judged:
        found = each.support
        lacking = _NONE if found.unsupported is None else f"{found.unsupported:.1%}"
        table.add_row(
            plain(each.policy),
            f"{found.effective:,.1f}",
            f"{found.mean:.4f}",
            f"{found.largest[0]:.4g}",
            f"{found.largest_share:.2%}",
            lacking,
            f"{found.rewarded:,.1f}",
            f"{found.replayed:,}",
        )
    return table


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.5g}"


def _ends(ends: Ends | None) -> str:
    return _NONE if ends is None else f"{ends[0]:.5g} to {ends[1]:.5g}"
