"""What a bandit server counts beside its requests."""

from __future__ import annotations

from mlkit.web.metrics import Counter, Counters, Gauge, Layout, Shown

ROUTES = (
    *("/predict", "/predict/batch", "/feedback", "/feedback/batch", "/health", "/arms"),
    "/feedback/amend",
    *(
        "/arms/{id}",
        "/versions",
        "/promote",
        "/rollback",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/assets/{name}",
        "other",
    ),
)
PREDICTIONS = "predictions"
UNKNOWN_CONTEXTS = "unknown contexts"
UNKNOWN_ARMS = "unknown arms"
EVENTS = "events"
DUPLICATES = "duplicates"
IGNORED = "ignored"
CONFLICTS = "conflicts"
UNKNOWN_EVENTS = "events of unknown arms"
COMMITS = "commits"
RESTARTS = "restarts"
AMENDED = "amended events"
ZEROS = "implied zeros"
UNKEPT = "decisions not kept"
DECISIONS, CANDIDATE_DECISIONS = "decisions of stable", "decisions of candidate"
REWARDS, CANDIDATE_REWARDS = "rewards of stable", "rewards of candidate"
SQUARES, CANDIDATE_SQUARES = "squared rewards of stable", "squared rewards of candidate"
LAG = "feedback lag"
BEGUN = "journal applied up to, begun"
SHOWN = "journal applied up to, shown"
"""Numbers of changes in the journal, in the writer's row: what workers answer with lies between."""

LAYOUT = Layout(
    ROUTES,
    (
        *(PREDICTIONS, UNKNOWN_CONTEXTS, UNKNOWN_ARMS, EVENTS, DUPLICATES, IGNORED),
        *(CONFLICTS, UNKNOWN_EVENTS, COMMITS, RESTARTS, BEGUN, SHOWN),
        *(AMENDED, ZEROS, UNKEPT),
        *(DECISIONS, CANDIDATE_DECISIONS, REWARDS, CANDIDATE_REWARDS),
        *(SQUARES, CANDIDATE_SQUARES),
    ),
    (LAG,),
)
_COUNTERS = {
    "predictions": Counter("Candidates scored.", PREDICTIONS),
    "journal_commits": Counter("Synced commits of the journal.", COMMITS),
    "feedback_amendments": Counter("Events that were amended or withdrawn.", AMENDED),
    "implied_zeros": Counter("Arms that counted as 0 as no reward came in time.", ZEROS),
    "decisions_not_kept": Counter(
        "Decisions answered without waiting for rewards, as the journal did not answer.", UNKEPT
    ),
    "version_decisions": Counter(
        "Decisions by version of the model.",
        label="version",
        counters={"stable": DECISIONS, "candidate": CANDIDATE_DECISIONS},
    ),
    "version_rewards": Counter(
        "Sum of the rewards of decisions, by the version that made them.",
        label="version",
        counters={"stable": REWARDS, "candidate": CANDIDATE_REWARDS},
    ),
    "process_restarts": Counter("Workers and writers started again after their death.", RESTARTS),
    "unknown_candidates": Counter(
        "Candidates that fell back: to the arm's posterior (context) or to the prior (arm).",
        label="missing",
        counters={"context": UNKNOWN_CONTEXTS, "arm": UNKNOWN_ARMS},
    ),
    "feedback_events": Counter(
        "Feedback events by outcome.",
        label="outcome",
        counters={
            "counted": EVENTS,
            "duplicate": DUPLICATES,
            "ignored": IGNORED,
            "conflict": CONFLICTS,
            "unknown_arm": UNKNOWN_EVENTS,
        },
    ),
}
_HISTOGRAMS = {
    "feedback_lag_seconds": (
        "From the receipt of feedback until it is durable and all workers see it.",
        LAG,
    )
}


class PredictionCounters:
    """The counters that each prediction adds to, found once."""

    def __init__(self, counters: Counters) -> None:
        self._values = counters.values
        places = counters.layout.counters
        self._predictions = places[PREDICTIONS]
        self._contexts = places[UNKNOWN_CONTEXTS]
        self._arms = places[UNKNOWN_ARMS]

    def add(self, candidates: int, unknown_contexts: int, unknown_arms: int) -> None:
        """Count one prediction."""
        values = self._values
        values[self._predictions] += candidates
        values[self._contexts] += unknown_contexts
        values[self._arms] += unknown_arms


def shown(gauges: dict[str, Gauge]) -> Shown:
    """Return what `GET /metrics` shows beside the requests."""
    return Shown(_COUNTERS, _HISTOGRAMS, gauges)
