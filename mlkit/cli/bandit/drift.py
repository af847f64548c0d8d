"""`mlkit bandit show --drift`: recent rates against old ones."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from mlkit.cli.bandit.durations import seconds_of, time_of
from mlkit.cli.options import expand
from mlkit.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlkit.bandit.logs.drift import Drifts
    from mlkit.unpacking import UnpackLimits

SIGNIFICANT = 0.05


class DriftOptions(NamedTuple):
    """What the options amount to."""

    drift_logs: list[Path] | None
    recent: str
    as_of: str | None
    attribution: str | None
    arm: str | None
    reward: str | None
    time: str | None

    def needs_logs(self) -> bool:
        """Return whether an option was given that is about logs."""
        texts = self.as_of, self.attribution, self.arm, self.reward, self.time
        return self.recent != _RECENT or any(text is not None for text in texts)


def with_drift(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options of drift, which it receives as `drift`."""
    return expand(command, "drift", _OPTIONS, lambda **given: DriftOptions(**given))


def _option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(f"--{name}", metavar=metavar, help=text)


_RECENT = "7d"
_Text = str | None
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "drift_logs": (
        Annotated[
            list[Path] | None,
            _option("drift", "LOG", "Compare recent rates with old ones in this log (repeatable)."),
        ],
        None,
    ),
    "recent": (
        Annotated[str, _option("recent", "DURATION", "With --drift: length of the recent period.")],
        _RECENT,
    ),
    "as_of": (
        Annotated[_Text, _option("as-of", "TIME", "With --drift: end of the recent period.")],
        None,
    ),
    "attribution": (
        Annotated[
            _Text,
            _option("attribution", "DURATION", "With --drift: no reward by then counts as 0."),
        ],
        None,
    ),
    "arm": (Annotated[_Text, _option("arm", "COL", "With --drift: column of the arm.")], None),
    "reward": (
        Annotated[_Text, _option("reward", "COL", "With --drift: column of rewards.")],
        None,
    ),
    "time": (Annotated[_Text, _option("time", "COL", "With --drift: column of times.")], None),
}


def read(
    output: Output, options: DriftOptions, rewards: tuple[float, float], limits: UnpackLimits
) -> Drifts:
    """Read the logs.

    Args:
        output: Where progress is shown.
        options: The options.
        rewards: The range of rewards.
        limits: How much a compressed log may unpack to.
    """
    from mlkit.bandit.logs.drift import read_drifts
    from mlkit.bandit.logs.log import Columns
    from mlkit.bandit.logs.rewards import logs_of
    from mlkit.errors import UsageError

    paths = options.drift_logs or []
    if any(str(path) == "-" for path in paths):
        raise UsageError("--drift -: logs are read twice", hint="write it to a file first")
    columns = None
    if options.arm is not None and options.reward is not None:
        columns = Columns(options.arm, options.reward, time=options.time)
    recent = seconds_of("--recent", options.recent)
    with output.progress("reading") as progress:
        return read_drifts(
            lambda: logs_of(paths, columns, limits=limits, reward_range=rewards, timed=True),
            recent or 0.0,
            as_of=time_of("--as-of", options.as_of),
            attribution=seconds_of("--attribution", options.attribution),
            progress=progress,
        )


def show(output: Output, drifts: Drifts, top: int, *, json: bool) -> None:
    """Show the arms whose rate most surely changed."""
    shown = drifts.arms[:top]
    changed = sum(each.q is not None and each.q <= SIGNIFICANT for each in drifts.arms)
    if json:
        arms = {"arms_total": len(drifts.arms), "arms": [row._asdict() for row in shown]}
        period = {"since": drifts.since, "until": drifts.until}
        Output.document("bandit.drift", 1, period | {"changed": changed} | arms)
        return
    from mlkit.cli.bandit import tables

    Output.result(tables.drifts(shown))
    since = datetime.fromtimestamp(drifts.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
    output.note(
        f"{changed:,} of {len(drifts.arms):,} arms changed after {since} "
        f"(q <= {SIGNIFICANT}: p adjusted for the number of arms)"
    )
