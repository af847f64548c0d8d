"""Multi-armed bandits: posteriors, policies, and serving Thompson sampling.

The names below load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlkit.bandit.distribution import beta_cdf, beta_isf, beta_ppf, beta_sf
    from mlkit.bandit.policies.features import HashingEncoder
    from mlkit.bandit.policies.greedy import EpsilonGreedy, ExploreThenCommit, Softmax
    from mlkit.bandit.policies.linear import LinTS, LinUCB
    from mlkit.bandit.policies.logistic import LogisticThompson
    from mlkit.bandit.policies.policy import Policy
    from mlkit.bandit.policies.thompson import (
        BetaThompson,
        GammaPoissonThompson,
        NormalThompson,
        TopTwoThompson,
    )
    from mlkit.bandit.policies.upper_bounds import KLUCB, UCB1, BayesUCB
    from mlkit.bandit.sampler import BetaSampler

__all__ = [
    "KLUCB",
    "UCB1",
    "BayesUCB",
    "BetaSampler",
    "BetaThompson",
    "EpsilonGreedy",
    "ExploreThenCommit",
    "GammaPoissonThompson",
    "HashingEncoder",
    "LinTS",
    "LinUCB",
    "LogisticThompson",
    "NormalThompson",
    "Policy",
    "Softmax",
    "TopTwoThompson",
    "beta_cdf",
    "beta_isf",
    "beta_ppf",
    "beta_sf",
]

_HOME = {
    "KLUCB": "mlkit.bandit.policies.upper_bounds",
    "UCB1": "mlkit.bandit.policies.upper_bounds",
    "BayesUCB": "mlkit.bandit.policies.upper_bounds",
    "BetaSampler": "mlkit.bandit.sampler",
    "BetaThompson": "mlkit.bandit.policies.thompson",
    "EpsilonGreedy": "mlkit.bandit.policies.greedy",
    "ExploreThenCommit": "mlkit.bandit.policies.greedy",
    "GammaPoissonThompson": "mlkit.bandit.policies.thompson",
    "HashingEncoder": "mlkit.bandit.policies.features",
    "LinTS": "mlkit.bandit.policies.linear",
    "LinUCB": "mlkit.bandit.policies.linear",
    "LogisticThompson": "mlkit.bandit.policies.logistic",
    "NormalThompson": "mlkit.bandit.policies.thompson",
    "Policy": "mlkit.bandit.policies.policy",
    "Softmax": "mlkit.bandit.policies.greedy",
    "TopTwoThompson": "mlkit.bandit.policies.thompson",
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
