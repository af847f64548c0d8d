"""Running two images side by side: how they behave, and what the second one lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlkit.image.command.entrypoint import original_argv
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.keep.ownership import own_code
from mlkit.image.proof.compare import Difference, missing, settle
from mlkit.image.proof.reach import Reach, reach
from mlkit.image.run.observation import Observation, Runner
from mlkit.image.run.together import Together
from mlkit.image.run.trace import Trace, failed_lookups
from mlkit.progress import Progress, silent

RUNS = 3
"""Fresh runs of the original, from which noise is learned."""
STEPS = RUNS + 2
BLIND = "ptrace is refused here: failed look-ups of the candidate were not seen."


@dataclass(frozen=True)
class Subject:
    """One of two images.

    Attributes:
        name: In the engine.
        inventory: Its files.
    """

    name: str
    inventory: Inventory

    @property
    def argv(self) -> list[str]:
        """Return what it starts.

        Raises:
            BadData: It starts nothing.
        """
        return original_argv(self.inventory)


@dataclass(frozen=True)
class Compared:
    """How two images behave.

    Attributes:
        originals: Runs of the original.
        candidate: A run of the candidate.
        differences: Where it behaves otherwise, with its failed look-ups.
        warnings: What makes the comparison weaker than it looks.
        reach: How much of the user's own code the traced run of the candidate has loaded.
    """

    originals: Sequence[Observation]
    candidate: Observation
    differences: list[Difference]
    warnings: list[str]
    reach: Reach


def side_by_side(
    runner: Runner,
    original: Subject,
    candidate: Subject,
    progress: Progress = silent,
    *,
    one_at_a_time: bool = False,
) -> Compared:
    """Compare two images; a further run of the candidate is traced.

    Where the settings want it, the original is explored first, and both are asked what it answers.

    Args:
        runner: Runs them.
        original: What it should be like.
        candidate: What is judged.
        progress: Told of each run.
        one_at_a_time: Run no two containers at the same time.

    Raises:
        BadData: One of them starts nothing.
    """
    ours, theirs = original.argv, candidate.argv
    with contextlib.closing(Together(runner.engine, one_at_a_time)) as together:
        crowded = together.at_once

        def further() -> Observation:
            return replace(runner.run(original.name, ours), crowded=crowded)

        first, runner = _explore(runner, original.name, ours)
        originals = [first]
        progress(1, STEPS)
        others = [together.start(further) for _ in range(RUNS - 1)]
        traced = together.start(lambda: runner.run(candidate.name, theirs, traced=True))
        for each in others:
            originals.append(each())
            progress(len(originals), STEPS)
        trace = traced().trace or Trace()
        progress(RUNS + 1, STEPS)
        run, differences = settle(
            originals,
            lambda: runner.run(original.name, ours),
            lambda: runner.run(candidate.name, theirs),
            together.both,
        )
    lost = failed_lookups(trace, original.inventory.files, candidate.inventory.files)
    blind = [] if trace.method == "ptrace" else [BLIND]
    files, probes = original.inventory.files, runner.settings.probes
    reached = reach(own_code(original.inventory), trace, files, probes, first.found)
    return Compared(originals, run, [*differences, *missing(lost)], blind, reached)


def _explore(runner: Runner, image: str, argv: Sequence[str]) -> tuple[Observation, Runner]:
    """Run the original; return that run, and what asks the same of all further ones."""
    first = runner.run(image, argv)
    settings = replace(runner.settings, exploration=None)
    if not first.works and first.found:  # what was found may have ended it
        runner = replace(runner, settings=settings)
        return runner.run(image, argv), runner
    probes = [*settings.probes, *first.found]
    return first, replace(runner, settings=replace(settings, probes=probes))
