"""How much of the user's own code the probes reached: what a verdict is worth."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlkit.image.filesystem.inventory import FileSystem
from mlkit.image.run.probe import Probe
from mlkit.image.run.trace import Trace

LISTED = 50
"""Files that no run has loaded, as far as they are listed."""


@dataclass(frozen=True)
class Reach:
    """What was asked, and what that reached.

    Attributes:
        asked: Questions in all.
        found: Those that were found by exploring.
        own: Files of the user's own code: sources, programs, libraries, archives of classes.
        reached: Those that a traced run has loaded.
        unreached: Those that none has.
        known: The runs were traced.
    """

    asked: int
    found: int
    own: int
    reached: int
    unreached: Sequence[str]
    known: bool

    @property
    def text(self) -> str:
        """Return it as a sentence."""
        found = f", {self.found} of them found by itself" if self.found else ""
        asked = f"{self.asked} asked{found}"
        if not self.known:
            return f"{asked}; what they reached was not traced"
        if not self.own:
            return f"{asked}; no code of one's own was found"
        return f"{asked}; {self.reached} of {self.own} files of own code were loaded"

    def fields(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self) | {"text": self.text, "unreached": list(self.unreached[:LISTED])}


def reach(
    own: Sequence[str], trace: Trace, files: FileSystem, probes: Sequence[Probe],
    found: Sequence[Probe],
) -> Reach:  # fmt: skip
    """Measure how much of the user's own code was loaded.

    Args:
        own: The files of that code.
        trace: What was opened.
        files: The image.
        probes: All that was asked.
        found: What was found by exploring.
    """
    opened = {files.walk(path)[0] for path in trace.opened}
    cached = {
        posixpath.join(posixpath.dirname(folder), posixpath.basename(path).split(".")[0] + ".py")
        for path in opened
        if path and path.endswith(".pyc")
        for folder in [posixpath.dirname(path)]
    }
    left = [path for path in own if path not in opened and path not in cached]
    known = trace.method != "none" or bool(trace.opened)
    return Reach(len(probes), len(found), len(own), len(own) - len(left), left, known)
