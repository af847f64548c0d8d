"""Cointegration tests of all pairs in portions, and the false discoveries among them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlkit.pairs.cluster import Cluster, in_order
from mlkit.pairs.screen import prior
from mlkit.pairs.screen.checkpoint import Arrays, Checkpoint
from mlkit.pairs.screen.cointegration import Matrix, PairTests, Panel, Report, band_pairs
from mlkit.pairs.screen.criteria import Criteria, Resources
from mlkit.pairs.screen.null import Null, null_of
from mlkit.pairs.screen.prior import Weights
from mlkit.pairs.screen.ranking import Ranking, portion_of
from mlkit.pairs.screen.significance import adjust, harmonic
from mlkit.pairs.screen.universe import Universe, group_names, products
from mlkit.progress import Progress, silent

# Below this 1 - R^2 two series are one but for rounding (statsmodels draws the line here too).
NEAR_COLLINEAR = 100.0 * float(np.sqrt(np.finfo(float).eps))

# The pairs above the accepted rate are only counted, by log10 of their weighted p-value.
_EDGES = np.linspace(-12.0, 6.0, 18_001)


Columns = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Portions:
    """What the portions of a screen have in common; on a cluster, each worker has one.

    Attributes:
        universe: The tickers.
        criteria: What is looked for.
    """

    universe: Universe
    criteria: Criteria

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to other processes: the kernels' copy of the series does not."""
        return {"universe": self.universe, "criteria": self.criteria}

    @cached_property
    def panel(self) -> Panel:
        """The series, detrended for the tests."""
        return Panel.of(self.universe.series, self.criteria.trend, self.criteria.lags)

    def part(
        self,
        columns: Columns,
        null: Null,
        weights: Weights,
        threads: int = 1,
        progress: Report = silent,
    ) -> Arrays:
        """Test the pairs of some columns; return those that may pass, and count the others."""
        tests = _tests(self.panel, self.universe, self.criteria, columns, threads, progress)
        weight = weights.of(self.universe, *columns, tests.i, tests.j)
        return _significant(tests, null, weight, self.criteria)


def by_cointegration(
    universe: Universe, criteria: Criteria, resources: Resources, progress: Progress
) -> Ranking:
    """Rank by the weighted p-value of the better Engle-Granger direction."""
    portions = Portions(universe, criteria)
    null = null_of(len(universe.series), trend=criteria.trend, lags=criteria.lags)
    weights = _weights(portions, resources.cluster)
    checkpoint = Checkpoint.open(resources.checkpoint, _identity(universe, criteria))
    if resources.cluster is not None:
        parts = _on_cluster(portions, null, weights, checkpoint, resources.cluster, progress)
    else:
        parts = _here(portions, null, weights, checkpoint, resources.threads, progress)
    return _rank(parts, criteria)


def _here(
    portions: Portions,
    null: Null,
    weights: Weights,
    checkpoint: Checkpoint,
    threads: int,
    progress: Progress,
) -> list[Arrays]:
    universe, parts, done = portions.universe, list[Arrays](), 0
    for number, columns in enumerate(universe.portions()):
        part = checkpoint.load(number)
        if part is None:
            report = portion_of(progress, done, universe.pairs)
            part = portions.part(columns, null, weights, threads, report)
            checkpoint.save(number, part)
        parts.append(part)
        begin, end = columns
        done += int((np.arange(begin, end) - universe.first[begin:end]).sum())
        progress(done, universe.pairs)
    return parts


def _on_cluster(
    portions: Portions,
    null: Null,
    weights: Weights,
    checkpoint: Checkpoint,
    cluster: Cluster,
    progress: Progress,
) -> list[Arrays]:
    columns = list(portions.universe.portions())
    parts = {number: checkpoint.load(number) for number in range(len(columns))}
    missing = [number for number, part in parts.items() if part is None]
    tasks = [columns[number] for number in missing]
    for place, part in cluster.work(_part, (portions, null, weights), tasks, progress):
        checkpoint.save(missing[place], part)
        parts[missing[place]] = part
    return [part for part in parts.values() if part is not None]


def _part(portions: Portions, null: Null, weights: Weights, columns: Columns) -> Arrays:
    return portions.part(columns, null, weights)


def _count(portions: Portions, columns: Columns) -> NDArray[np.int64]:
    return prior.count(portions.universe, portions.criteria.filters.min_correlation, *columns)


def _weights(portions: Portions, cluster: Cluster | None) -> Weights:
    universe, criteria = portions.universe, portions.criteria
    if criteria.fdr == "none" or criteria.prior == "none":
        return Weights()
    if criteria.prior == "groups":
        groups = criteria.filters.groups or {}
        return prior.by_groups(universe, group_names(universe.prices.tickers, groups))
    columns = list(universe.portions())
    if cluster is None:
        counts = [_count(portions, each) for each in columns]
    else:
        counts = in_order(cluster.work(_count, (portions,), columns))
    return prior.by_correlation(np.sum(counts, axis=0))


def _identity(universe: Universe, criteria: Criteria) -> dict[str, object]:
    """Return what a checkpoint's results depend on."""
    options = asdict(criteria)
    options.pop("top")
    return {
        "tickers": universe.prices.tickers,
        "series": hashlib.sha256(universe.series.tobytes()).hexdigest(),
        "criteria": options,
    }


def _tests(
    panel: Panel,
    universe: Universe,
    criteria: Criteria,
    columns: Columns,
    threads: int,
    progress: Report,
) -> PairTests:
    """Test the pairs of some columns that pass the filters before the tests."""
    least = criteria.filters.min_correlation
    if least is None:
        return panel.band(universe.first, *columns, threads, progress)
    i, j = band_pairs(universe.first, *columns)
    kept = np.abs(products(universe.returns, *columns, i, j)) >= least
    return panel.pairs(i[kept], j[kept], threads)


def _significant(tests: PairTests, null: Null, weight: Matrix, criteria: Criteria) -> Arrays:
    """Keep the pairs that may pass, and count the others."""
    t = tests.better
    close = (tests.closeness < NEAR_COLLINEAR) | np.isnan(t)
    p = null.p_value(t)
    weighted = p / weight
    kept = ~close & (weighted <= criteria.alpha)
    swap = tests.statistic[kept, 1] < tests.statistic[kept, 0]
    i, j = tests.i[kept], tests.j[kept]
    way, rows = swap.astype(np.intp), np.arange(len(swap))
    with np.errstate(divide="ignore"):
        logs = np.log10(weighted[~close & ~kept])
    counts, _ = np.histogram(np.clip(logs, _EDGES[0], _EDGES[-1]), _EDGES)
    return {
        "y": np.where(swap, j, i),
        "x": np.where(swap, i, j),
        "hedge_ratio": tests.hedge_ratio[kept][rows, way],
        "statistic": t[kept],
        "reverse": tests.statistic[kept][rows, 1 - way],
        "lags": tests.lags[kept][rows, way],
        "r_squared": 1.0 - tests.closeness[kept],
        "p_value": p[kept],
        "weight": weight[kept],
        "counts": counts,
        "weight_sum": np.array([weight[~close].sum()]),
        "near_collinear": np.stack([tests.i[close], tests.j[close]], axis=1),
    }


def _rank(parts: list[Arrays], criteria: Criteria) -> Ranking:
    whole = {
        name: np.concatenate([part[name] for part in parts])
        for name in parts[0]
        if name not in {"counts", "weight_sum"}
    }
    counts = np.sum([part["counts"] for part in parts], axis=0)
    tested = len(whole["y"]) + int(counts.sum())
    near_collinear = whole.pop("near_collinear")
    # Pairs that are not tested take no weight: the others' mean is 1.
    spent = float(np.sum([part["weight_sum"] for part in parts]))
    whole["weight"] = whole["weight"] * (tested / spent if spent > 0.0 else 1.0)
    weighted = whole["p_value"] / whole["weight"]
    adjusted = adjust(weighted, criteria.fdr, tests=tested)
    order = np.lexsort((whole["x"], whole["y"], whole["statistic"], weighted))
    best = _best(adjusted, weighted, counts, criteria, tested)
    y, x, ratio = (whole.pop(name)[order] for name in ("y", "x", "hedge_ratio"))
    figures = {name: values[order] for name, values in whole.items()}
    figures["adjusted_p"] = adjusted[order]
    return Ranking(y, x, ratio, figures, tested, near_collinear, best)


def _best(
    adjusted: Matrix,
    weighted: Matrix,
    counts: NDArray[np.int64],
    criteria: Criteria,
    tested: int,
) -> float | None:
    """Return the lowest adjusted p-value of all, to a thousandth if no pair passes."""
    if tested == 0:
        return None
    best = float(adjusted.min()) if len(adjusted) else 1.0
    if best <= criteria.alpha:
        return best
    edges = 10.0 ** _EDGES[1:][counts > 0]
    if criteria.fdr == "none":
        return min(best, float(edges[0])) if len(edges) else best
    below = len(weighted) + np.cumsum(counts)[counts > 0]
    factor = harmonic(tested) if criteria.fdr == "by" else 1.0
    others = edges * factor * tested / below
    return float(min(best, others.min(initial=1.0), 1.0))
