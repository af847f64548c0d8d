"""What a live run is: its pairs, its settings, and how its bars are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from mlkit import __version__
from mlkit.errors import BadData, InputMissing
from mlkit.files import replacing
from mlkit.pairs import settings as sets
from mlkit.pairs.defaults import HALTED_AFTER, TIMEZONE
from mlkit.pairs.live.limits import RiskLimits
from mlkit.pairs.live.limits import from_document as limits_of
from mlkit.pairs.settings import Settings
from mlkit.pairs.strategy.strategy import Reference
from mlkit.pairs.windows import GivenPair

FILE = "live.json"
SCHEMA, VERSION = "mlkit.pairs.live", 1


@dataclass(frozen=True)
class RunPlan:
    """What a run trades, and how; it never changes.

    Attributes:
        feed: The name of its feed.
        tickers: Those that it knows.
        pairs: Given pairs; none if they are chosen again in each window.
        settings: Those of a backtest.
        bars_per_year: Bars per year.
        delisted_after: Missing bars in a row that mean a delisting; 0: none do.
        quotes: Orders fill at bid and ask, where the feed has them.
        length: Nanoseconds of a bar that is made of ticks; 0: records are bars.
        lateness: Nanoseconds that records may be late.
        halted_after: Missing bars in a row after which a ticker is not awaited.
        timezone: In which days begin.
        strategy: What decides; None: the built-in rule.
        limits: Risk limits.
        evidence: A rule that promotes pairs of the universe; None: there is none.
        rescreen: Bars between two screens of all pairs for evidence.
        content_hash: SHA-256 of a price file that is replayed.
    """

    feed: str
    tickers: tuple[str, ...]
    pairs: tuple[GivenPair, ...]
    settings: Settings
    bars_per_year: float
    delisted_after: int = 0
    quotes: bool = False
    length: int = 0
    lateness: int = 0
    halted_after: int = HALTED_AFTER
    timezone: str = TIMEZONE
    strategy: Reference | None = None
    limits: RiskLimits = field(default_factory=RiskLimits)
    evidence: str | None = None
    rescreen: int = 0
    content_hash: str = ""

    def document(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        plain = {
            name: getattr(self, name)
            for name in (
                "feed", "bars_per_year", "delisted_after", "quotes", "length", "lateness",
                "halted_after", "timezone", "evidence", "rescreen", "content_hash",
            )
        }  # fmt: skip
        return {
            "schema": SCHEMA, "version": VERSION, "mlkit": __version__, **plain,
            "tickers": list(self.tickers),
            "pairs": [asdict(each) for each in self.pairs],
            "settings": self.settings.document(),
            "strategy": None if self.strategy is None else asdict(self.strategy),
            "limits": self.limits.document(),
        }  # fmt: skip


def from_document(document: Mapping[str, Any]) -> RunPlan:
    """Rebuild a plan from `RunPlan.document`.

    Raises:
        BadData: It is none, or of another version.
    """
    try:
        cells = dict(document)
        if (cells.pop("schema"), cells.pop("version")) != (SCHEMA, VERSION):
            raise BadData("a live run of another version")
        cells.pop("mlkit")
        settings, limits = cells.pop("settings"), cells.pop("limits")
        types = get_type_hints(RunPlan)
        typed = {name: msgspec.convert(each, types[name]) for name, each in cells.items()}
        return RunPlan(settings=sets.from_document(settings), limits=limits_of(limits), **typed)
    except (KeyError, TypeError, ValueError, AttributeError, msgspec.ValidationError) as error:
        raise BadData(f"not the plan of a live run: {error}") from error


def write(folder: Path, plan: RunPlan) -> None:
    """Write the plan of a run into its folder."""
    text = msgspec.json.format(msgspec.json.encode(plan.document()), indent=2)
    with replacing(folder / FILE, mode=0o600) as file:
        file.write(text + b"\n")


def read(folder: Path) -> RunPlan:
    """Read the plan of a run.

    Raises:
        InputMissing: The folder holds no run.
        BadData: Its plan is damaged or of another version.
    """
    path = folder / FILE
    try:
        return from_document(msgspec.json.decode(path.read_bytes()))
    except OSError as error:
        hint = "mlkit pairs live FEED --state DIR starts a run"
        raise InputMissing(f"{folder}: no live run: {error.strerror}", hint=hint) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadData(f"{path}: not JSON") from error
    except BadData as error:
        raise BadData(f"{path}: {error.message}", hint=error.hint) from error
