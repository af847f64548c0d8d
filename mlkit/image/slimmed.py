"""What a slimming came to: the result, its proof, and what reports say of it."""

from __future__ import annotations

from dataclasses import dataclass

from mlkit.image.keep.request import Plan
from mlkit.image.packages.package import Packages
from mlkit.image.proof.compare import Difference, Verdict
from mlkit.image.proof.findings import Finding
from mlkit.image.proof.reach import Reach
from mlkit.image.proof.seccomp import Profiled
from mlkit.image.report.summary import Sizes
from mlkit.image.result import Built
from mlkit.image.run.observation import Observation
from mlkit.image.run.trace import Trace


@dataclass(frozen=True)
class Slimmed:
    """What slimming came to.

    Attributes:
        built: The result.
        plan: The keep-set, with reasons.
        trace: What the app looked up.
        verdict: How the result behaves, compared with the original.
        differences: Where it behaves otherwise.
        findings: The diagnosis of the original: what is wrong with it.
        notes: What is worth knowing of it.
        added: Paths that a trial had missed.
        command: What the result starts.
        packages: The original's packages.
        originals: Runs of the original.
        candidate: A run of the result.
        sizes: Where the bytes are.
        gained: The result is smaller or behaves better; else it is the original as it was.
        reach: How much of the user's own code ran.
        profile: How much was kept besides what was traced.
        warnings: What makes the proof weaker than it looks.
        seccomp: The profile that was asked for.
    """

    built: Built
    plan: Plan
    trace: Trace
    verdict: Verdict
    differences: list[Difference]
    findings: list[Finding]
    notes: list[Finding]
    added: list[str]
    command: list[str]
    packages: Packages
    originals: list[Observation]
    candidate: Observation
    sizes: Sizes
    gained: bool
    reach: Reach
    profile: str
    warnings: list[str]
    seccomp: Profiled | None = None
