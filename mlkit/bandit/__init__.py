"""Multi-armed bandits: posteriors, Thompson sampling, and serving them.

The names below load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlkit.bandit.distribution import beta_cdf, beta_isf, beta_ppf, beta_sf
    from mlkit.bandit.sampler import BetaSampler

__all__ = ["BetaSampler", "beta_cdf", "beta_isf", "beta_ppf", "beta_sf"]

_HOME = {
    "BetaSampler": "mlkit.bandit.sampler",
    "beta_cdf": "mlkit.bandit.distribution",
    "beta_isf": "mlkit.bandit.distribution",
    "beta_ppf": "mlkit.bandit.distribution",
    "beta_sf": "mlkit.bandit.distribution",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
