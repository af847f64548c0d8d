"""The tables of `mlkit bandit evaluate`, of at most 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.table import Table

from mlkit.bandit.evaluation.evaluation import Ends, Estimate, Judgement, Support, difference
from mlkit.bandit.evaluation.terms import name_of
from mlkit.cli.output import plain

_NONE = "-"
_BESIDE = 3
"""Policies beside one another."""
_WIDTH = 18


def estimates(own: Estimate, judged: Sequence[Judgement], level: float) -> Iterator[Table]:
    """Make a table of the estimates of each policy, below one of what the log's own earned.

    Behind the second and every further policy follows what the first one has over it.
    """
    ends = f"{100 * level:.4g} % bootstrap", f"{100 * level:.4g} % Bernstein"
    yield _of_estimates("the log's own policy", [own], ends)
    for judgement in judged:
        yield _of_estimates(judgement.policy, judgement.estimates, ends)
    for other in judged[1:]:
        yield _differences(judged[0], other, level)


def _of_estimates(title: str, found: Sequence[Estimate], ends: tuple[str, str]) -> Table:
    table = _table(title, "estimator", "value", *ends)
    for each in found:
        bootstrap, bernstein = _ends(each.bootstrap), _ends(each.bernstein)
        table.add_row(plain(name_of(each.estimator)), _number(each.value), bootstrap, bernstein)
    return table


def _differences(first: Judgement, other: Judgement, level: float) -> Table:
    name = f"{100 * level:.4g} % bootstrap"
    table = _table(f"{first.policy} minus {other.policy}", "estimator", "difference", name)
    for each in other.estimates:
        found = difference(first, other, each.estimator, level)
        if found is not None:
            ends = _ends(found.bootstrap)
            table.add_row(plain(name_of(each.estimator)), _number(found.value), ends)
    return table


def _table(title: str | None, first: str, *names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    if title is not None:
        table.title, table.title_justify, table.title_style = plain(title), "left", "bold"
    table.add_column(first, max_width=_WIDTH, overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    return table


def support(judged: Sequence[Judgement]) -> Iterator[Table]:
    """Make tables of how much the log supports of each policy, a column each."""
    for begin in range(0, len(judged), _BESIDE):
        beside = judged[begin : begin + _BESIDE]
        table = _table(None, "support of the log")
        for each in beside:
            header = plain(each.policy)
            table.add_column(header, justify="right", max_width=_WIDTH, overflow="fold")
        for name, show in _SUPPORT.items():
            table.add_row(name, *(show(each.support) for each in beside))
        yield table


_SUPPORT: dict[str, Callable[[Support], str]] = {
    "effective rows": lambda found: f"{found.effective:,.1f}",
    "mean weight": lambda found: _number(found.mean),
    "largest weight": lambda found: _number(found.largest[0]),
    "its share": lambda found: f"{found.largest_share:.2%}",
    "lacking": lambda found: _NONE if found.unsupported is None else f"{found.unsupported:.1%}",
    "with reward": lambda found: f"{found.rewarded:,.1f}",
    "replayed": lambda found: f"{found.replayed:,}",
}


def _number(value: float | None) -> str:
    """Return a number with three significant digits, whole ones with all of theirs."""
    if value is None:
        return _NONE
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def _ends(ends: Ends | None) -> str:
    return _NONE if ends is None else f"{_number(ends[0])} to {_number(ends[1])}"
