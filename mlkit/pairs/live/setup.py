"""How a run comes about: its plan is checked, and is the plan that its folder has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from mlkit.errors import ConfigurationError, UsageError
from mlkit.pairs.fit.formation import require_length
from mlkit.pairs.live import evidence
from mlkit.pairs.live import plan as plans
from mlkit.pairs.live.folder import RunFolder
from mlkit.pairs.live.plan import RunPlan
from mlkit.pairs.settings import Settings
from mlkit.pairs.windows import GivenPair, require_signal


def tickers_of(
    known: Iterable[str], pairs: Sequence[GivenPair], most: int | None = None
) -> tuple[str, ...]:
    """Return the tickers of a run: those of its pairs, or the first ones that are known.

    Args:
        known: The tickers of the feed, in their order; empty if it does not say.
        pairs: Given pairs.
        most: How many tickers to take without pairs; None: all.

    Raises:
        UsageError: There are not two of them, or a pair's ticker is not in the feed.
    """
    there = list(dict.fromkeys(known))
    wanted = list(dict.fromkeys(name for pair in pairs for name in (pair.y, pair.x)))
    for name in wanted:
        if there and name not in there:
            raise UsageError(f"the feed has no ticker '{name}'")
    found = [name for name in there or wanted if not wanted or name in wanted]
    found = found[: None if wanted else most]
    if len(found) < 2:
        hint = "--pair KO,PEP, --pairs FILE, --tickers KO,PEP,MCD or --universe 100"
        raise UsageError("which tickers?", hint=hint)
    return tuple(found)


def check(plan: RunPlan) -> RunPlan:
    """Refuse a plan that cannot be traded, and return any other.

    Raises:
        UsageError: It trades nothing, or its settings contradict one another.
    """
    settings = plan.settings
    if not plan.pairs and not settings.trading and plan.evidence is None:
        hint = "--pair KO,PEP, --pairs FILE, --formation 252 --trading 126, or --evidence RULE"
        raise UsageError("nothing to trade", hint=hint)
    for pair in plan.pairs:
        require_signal(pair, settings)
        if pair.y == pair.x:
            raise UsageError(f"{pair.y}/{pair.x}: a pair needs two different tickers")
        if settings.trading and pair.beta is not None:
            raise UsageError(f"{pair.y}/{pair.x}: a pair that carries its beta is not fitted in "
                             "windows", hint="drop --trading, or use --refit")  # fmt: skip
    if settings.trading or plan.evidence is not None or any(p.beta is None for p in plan.pairs):
        require_length(settings.formation, plan.feed, settings.signal)
    if plan.evidence is not None:
        _check_evidence(plan, settings)
    if settings.same_bar:
        raise UsageError(
            "--same-bar: a live order cannot fill at the close that it is decided at",
            hint="leave it out: orders fill at the next bar",
        )
    if not (plan.bars_per_year > 0.0 and math.isfinite(plan.bars_per_year)):
        raise UsageError("a live run needs its bars per year", hint="--bars-per-year 252")
    return plan


def _check_evidence(plan: RunPlan, settings: Settings) -> None:
    if plan.pairs or settings.trading:
        raise UsageError("--evidence chooses the pairs itself: without --pair, --pairs, --trading")
    if settings.formation < 30:
        raise UsageError(f"--evidence: {settings.formation} formation bars are too few",
                         hint="--formation 252")  # fmt: skip
    if plan.rescreen < 1:
        raise UsageError("--rescreen must be at least 1 bar")
    evidence.parse(plan.evidence or "")


def keep(folder: RunFolder, plan: RunPlan) -> bool:
    """Write the plan into a new folder; return whether the run goes on that the folder holds.

    Raises:
        ConfigurationError: The folder has another plan.
    """
    if not folder.has_plan():
        plans.write(folder.path, plan)
        return False
    before, now = folder.plan().document(), plan.document()
    for name in before.keys() | now.keys():
        if before.get(name) != now.get(name) and name != "mlkit":
            raise ConfigurationError(
                f"{folder.path}: holds a run with another '{name}'",
                hint="start it with the same options, or a new one with another --state",
            )
    if before["mlkit"] != now["mlkit"]:
        raise ConfigurationError(
            f"{folder.path}: a run of mlkit {before['mlkit']}, and this is {now['mlkit']}",
            hint=f"pip install mlkit=={before['mlkit']}, or a new run with another --state",
        )
    return True
