"""`mlkit bandit`: its commands, in the order of their use."""

from __future__ import annotations

from mlkit.cli.groups import group

log = group(
    "log",
    "Join and check the logs of `serve --log`.",
    {
        "compact": (
            "mlkit.cli.bandit.log:compact",
            "Join decisions and rewards into one Parquet table.",
        ),
        "verify": (
            "mlkit.cli.bandit.log:verify",
            "Check that logged propensities agree with how often arms were shown.",
        ),
        "positions": (
            "mlkit.cli.bandit.log:positions",
            "Estimate the probability that each position is looked at.",
        ),
    },
)
app = group(
    "bandit",
    "Fit, inspect and serve bandits.",
    {
        "fit": (
            "mlkit.cli.bandit.fit:fit",
            "Fit one Beta posterior for each arm, and for each arm in each context.",
        ),
        "show": (
            "mlkit.cli.bandit.posteriors:show",
            "Show the arms, most likely best first.",
        ),
        "sample": (
            "mlkit.cli.bandit.posteriors:sample",
            "Draw recommendations by the policy, as the server does.",
        ),
        "quantile": (
            "mlkit.cli.bandit.posteriors:quantile",
            "Show quantiles of every arm's mean reward, the highest first.",
        ),
        "evaluate": (
            "mlkit.cli.bandit.evaluate:evaluate",
            "Estimate what a policy would have earned, from the log of another policy.",
        ),
        "simulate": (
            "mlkit.cli.bandit.simulate:simulate",
            "Compare policies in a simulated world.",
        ),
        "serve": (
            "mlkit.cli.bandit.serve:serve",
            "Serve recommendations over HTTP, and learn from feedback.",
        ),
        "log": ("mlkit.cli.bandit.app:log", "Join and check the logs of `serve --log`."),
        "export": (
            "mlkit.cli.bandit.serve:export",
            "Write the current posteriors of a server, running or not.",
        ),
    },
)
