"""`mlkit pairs`: its commands, in the order of their use."""

from __future__ import annotations

from mlkit.cli.groups import group

app = group(
    "pairs",
    "Find pairs of securities, fit and backtest them, and trade them on paper.",
    {
        "screen": (
            "mlkit.cli.pairs.screen:screen",
            "Rank all pairs of a universe, and keep those that pass false discovery control.",
        ),
        "fit": (
            "mlkit.cli.pairs.fit:fit",
            "Fit one pair: hedge ratios, the spread's process, and tests of cointegration.",
        ),
        "backtest": (
            "mlkit.cli.pairs.backtest:backtest",
            "Backtest pairs with two-leg costs: given ones, or chosen again in each window.",
        ),
        "sweep": (
            "mlkit.cli.pairs.sweep:sweep",
            "Score a grid of thresholds, and deflate the Sharpe ratio of the best.",
        ),
        "live": (
            "mlkit.cli.pairs.live.app:app",
            "Trade pairs on paper, bar by bar, as prices come; watch and control it.",
        ),
        "job": (
            "mlkit.cli.pairs.job.app:app",
            "Run jobs of one file (Python, R) on the topics of a log, each record exactly once.",
        ),
    },
)
