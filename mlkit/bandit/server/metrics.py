"""What a bandit server counts beside its requests."""

from __future__ import annotations

from time import perf_counter

from mlkit.bandit.server.dashboard import calibration
from mlkit.web.metrics import Counter, Counters, Gauge, Histogram, Layout, Shown

ROUTES = (
    *("/predict", "/predict/batch", "/feedback", "/feedback/batch", "/health", "/arms"),
    "/feedback/amend",
    *(
        "/arms/{id}",
        "/versions",
        "/promote",
        "/rollback",
        "/",
        "/overview",
        "/overview/events",
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
REPLACED_REWARDS, REPLACED_SQUARES = "rewards of replaced", "squared rewards of replaced"
PROMOTED = "when a candidate was promoted, in seconds since 1970"
BEFORE = {name: f"{name}, before the promotion" for name in (DECISIONS, REWARDS, SQUARES)}
"""What the stable version had when a candidate replaced it, in the writer's row."""
LAG = "feedback lag"
DIRECT, DECODE, PREDICT, ENCODE = "direct answer", "decode", "predict", "encode"
FEATURES, POST_PROCESS = "features", "post-process"
STAGES = {
    name: f"stage {name}" for name in (DIRECT, DECODE, FEATURES, PREDICT, POST_PROCESS, ENCODE)
}
"""The stages of a prediction, and their histograms."""
MEASURED_EVERY = 8
"""The stages of one in this many predictions of a worker are measured."""
DIRECT_MEASURED_EVERY = 32
"""The same of direct answers, whose stages are one."""
CHUNKS = {name: f"feature chunks: {name}" for name in ("answered", "timeout", "error", "paused")}
"""Outcomes of chunks of ids that a feature store was asked for, or was not while it is paused."""
ROWS = {name: f"feature rows: {name}" for name in ("fetched", "cached", "default")}
"""Where the features of an id came from."""
FAULTS = {name: f"feature faults: {name}" for name in ("unknown", "invalid", "incomplete")}
"""What was wrong with the features of an id."""
REMOVED, POST_FAILURES = "candidates removed by filters", "failed post-processing"
BEGUN = "journal applied up to, begun"
FLEET_CURRENT = "fleet was known to be followed up to its end"
FLEET_POSITION = "entries of the fleet's stream applied"
FLEET_AWAY = "the fleet's store is away"
FLEET_QUEUED = "requests that wait for the fleet's store"
FLEET_EPOCH = "starts and ends of candidates in the fleet"
FLEET_DECISIONS, FLEET_CANDIDATE_DECISIONS = (
    f"decisions of {name} in the fleet" for name in ("stable", "candidate")
)
FLEET_REWARDS, FLEET_CANDIDATE_REWARDS, FLEET_REPLACED_REWARDS = (
    f"rewards of {name} in the fleet" for name in ("stable", "candidate", "replaced")
)
FLEET_SQUARES, FLEET_CANDIDATE_SQUARES = (
    f"squared rewards of {name} in the fleet" for name in ("stable", "candidate")
)
COUNTED_BY, COUNTED_EPOCH, COUNTED_STABLE, COUNTED_CANDIDATE = (
    f"of decisions that are reported to the fleet: {name}"
    for name in ("source", "epoch", "stable before", "candidate before")
)
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
        *(REPLACED_REWARDS, REPLACED_SQUARES, PROMOTED, *BEFORE.values()),
        *calibration.NAMES,
        *(*CHUNKS.values(), *ROWS.values(), *FAULTS.values()),
        *(REMOVED, POST_FAILURES),
        *(FLEET_CURRENT, FLEET_POSITION, FLEET_AWAY, FLEET_QUEUED),
        *(FLEET_EPOCH, FLEET_DECISIONS, FLEET_REWARDS, FLEET_SQUARES),
        *(FLEET_CANDIDATE_DECISIONS, FLEET_CANDIDATE_REWARDS, FLEET_CANDIDATE_SQUARES),
        *(FLEET_REPLACED_REWARDS,),
        *(COUNTED_BY, COUNTED_EPOCH, COUNTED_STABLE, COUNTED_CANDIDATE),
    ),
    (LAG, *STAGES.values()),
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
        counters={
            "stable": REWARDS,
            "candidate": CANDIDATE_REWARDS,
            "replaced": REPLACED_REWARDS,
        },
    ),
    "feature_chunks": Counter(
        "Chunks of ids that the feature store was to answer, by outcome.",
        label="outcome",
        counters=CHUNKS,
    ),
    "feature_rows": Counter(
        "Ids by where their features came from.", label="origin", counters=ROWS
    ),
    "feature_faults": Counter(
        "Ids whose features the store does not know, or has wrong or in part.",
        label="fault",
        counters=FAULTS,
    ),
    "post_process_removed": Counter("Candidates that filters removed.", REMOVED),
    "post_process_failures": Counter("Predictions whose post-processing failed.", POST_FAILURES),
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
_FLEET_COUNTERS = {
    "fleet_version_decisions": Counter(
        "Decisions of all hosts by version of the model, since the candidate started.",
        label="version",
        counters={"stable": FLEET_DECISIONS, "candidate": FLEET_CANDIDATE_DECISIONS},
    ),
    "fleet_version_rewards": Counter(
        "Sum of the rewards of decisions of all hosts, by the version that made them.",
        label="version",
        counters={
            "stable": FLEET_REWARDS,
            "candidate": FLEET_CANDIDATE_REWARDS,
            "replaced": FLEET_REPLACED_REWARDS,
        },
    ),
}
_HISTOGRAMS = {
    "feedback_lag_seconds": Histogram(
        "From the receipt of feedback until it is durable and all workers see it.",
        LAG,
    ),
    "stage_seconds": Histogram(
        f"Stages of one in {MEASURED_EVERY} single predictions, or one in {DIRECT_MEASURED_EVERY} "
        "of those that are answered directly.",
        label="stage",
        histograms=STAGES,
    ),
}


class StageTimer:
    """Measures the stages of one request.

    Args:
        counters: Where to count; None: this request is not measured.
    """

    def __init__(self, counters: Counters | None) -> None:
        self._counters = counters
        self._last = 0.0 if counters is None else perf_counter()

    def took(self, stage: str, seconds: float) -> None:
        """Count a stage that lies within the one that ends next."""
        if self._counters is not None:
            self._counters.observe(STAGES[stage], seconds)
            self._last += seconds

    def end(self, stage: str) -> None:
        """Count the time since the end of the stage before."""
        if self._counters is not None:
            now = perf_counter()
            self._counters.observe(STAGES[stage], now - self._last)
            self._last = now


class StageTimers:
    """Chooses the requests whose stages are measured."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self.idle = StageTimer(None)
        self._turn = 0

    def begin(self) -> StageTimer:
        """Return the timer of a request that begins."""
        self._turn += 1
        return self.idle if self._turn % MEASURED_EVERY else StageTimer(self._counters)


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


def collect(gauges: dict[str, Gauge], *, in_fleet: bool = False) -> Shown:
    """Return what `GET /metrics` shows beside the requests."""
    return Shown(_COUNTERS | (_FLEET_COUNTERS if in_fleet else {}), _HISTOGRAMS, gauges)
