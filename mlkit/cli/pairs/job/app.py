"""`mlkit pairs job`: its commands."""

from __future__ import annotations

from mlkit.cli.groups import group

app = group(
    "job",
    "Run jobs of one file (Python, R) on the topics of a log, each record exactly once.",
    {
        "run": (
            "mlkit.cli.pairs.job.run:run",
            "Process the records of topics, and write what the job returns to another topic.",
        ),
        "test": (
            "mlkit.cli.pairs.job.recorded:recorded",
            "Run a job over recorded data, without a log, and print what it returns.",
        ),
        "history": (
            "mlkit.cli.pairs.job.history:history",
            "Write a topic as Parquet, one file per day (UTC), or as JSON Lines.",
        ),
    },
)
