"""Where the time of instances goes, as colours: the larger the share, the hotter the element."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlkit.bpmn.render.picture import Colours
from mlkit.bpmn.render.progress import Progress, brief
from mlkit.bpmn.runtime.durations import Duration

HEAT = {
    "under 5 % of the time": Colours("#6d5a2e", "#fff7e6"),
    "5 to 20 %": Colours("#8a4b00", "#ffe3b8"),
    "20 to 50 %": Colours("#8f300a", "#ffc4a3"),
    "over 50 %": Colours("#7d1010", "#f79a90"),
}
"""Colours by the share of the time, which the legend shows."""
_BOUNDS = (0.05, 0.2, 0.5)


@dataclass(slots=True)
class Heat(Progress):
    """How long instances spend at an element; `seconds` is the median."""

    @property
    def text(self) -> str:
        """Return it in a few characters."""
        return brief(self.seconds or 0.0)


def heat(found: Iterable[Duration]) -> dict[str, Heat]:
    """Return the colour and the text of each element, by its id."""
    return {each.element: Heat(_level(each.share), each.completions, each.median) for each in found}


def _level(share: float) -> str:
    return list(HEAT)[sum(share > bound for bound in _BOUNDS)]
