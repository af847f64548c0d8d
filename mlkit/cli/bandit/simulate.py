"""`mlkit bandit simulate`: policies in a simulated world."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, Json
from mlkit.cli.output import Output, of

if TYPE_CHECKING:
    from mlkit.bandit.simulation.scenario import Scenario
    from mlkit.bandit.simulation.simulation import Result


@examples(
    "mlkit bandit simulate examples/bandit/launch.toml",
    "mlkit bandit simulate launch.toml --policy thompson --policy ucb1 --runs 1000 --json",
)
def simulate(
    ctx: typer.Context,
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file (TOML).")],
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC", help=("Policy to compare (repeatable; default: those of the scenario).")
        ),
    ] = None,
    runs: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Number of runs (default: the scenario's)."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=10**9, help="Number of steps per run (default: the scenario's)."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**64 - 1, help="Seed of all runs.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Number of threads (default: one per core).")
    ] = None,
    json: Json = False,
) -> None:
    """Compare policies in a simulated world.

    Regret is the expected reward that is lost, compared with always showing the arm that is best at
    the time. The best arm counts as found once it is shown in 90 of 100 steps.
    """
    from dataclasses import replace

    from mlkit.bandit.simulation import scenario as scenarios
    from mlkit.bandit.simulation.simulation import simulate as run
    from mlkit.errors import UsageError

    world = scenarios.read(scenario)
    world = replace(world, runs=runs or world.runs, steps=steps or world.steps)
    names = list(dict.fromkeys(policy or world.policies))
    if not names:
        raise UsageError("no policies", hint="--policy SPEC, or policies = [...] in the scenario")
    count = threads or len(os.sched_getaffinity(0))
    with of(ctx).progress("simulating") as progress:
        found = []
        for number, name in enumerate(names):
            progress(number, len(names))
            found.append(run(world, name, seed=seed, threads=count))
    if json:
        Output.document("bandit.simulate", 1, _document(world, found, seed))
        return
    from mlkit.cli.bandit import tables

    Output.result(tables.simulations(found, world.runs))
    users = "" if world.users is None else f" and {len(world.users.names):,} users"
    Output.line(
        f"{world.runs:,} runs of {world.steps:,} steps, {len(world.arms)} arms{users}, seed {seed}"
    )


def _document(world: Scenario, found: list[Result], seed: int) -> dict[str, Any]:
    policies = [
        each._asdict()
        | {name: getattr(each, name).tolist() for name in ("steps", "regret", "low", "high")}
        for each in found
    ]
    about = {"rewards": world.rewards.name, "arms": len(world.arms), "steps": world.steps}
    if world.users is not None:
        about["users"] = len(world.users.names)
    return about | {"runs": world.runs, "seed": seed, "policies": policies}
