"""What makes a proof weaker than it looks."""

from __future__ import annotations

from mlkit.image.keep.request import Plan
from mlkit.image.report.summary import weakness
from mlkit.image.run.trace import Method

BLIND: dict[Method, str] = {
    "ptrace": "",
    "fanotify": "Traced by fanotify, not by ptrace: what was only looked at was not seen, and no"
    " trial could tell what the result lacks; only the comparison supports it.",
    "none": "No run was traced, neither by ptrace nor by fanotify: what is kept follows from the"
    " files alone, and only the comparison supports it.",
}
"""What a way of tracing does not see."""
NOTHING = "There is nothing to gain: the result would be no smaller, and the original is unchanged."
SHOWN = 5
"""Paths that a caveat lists."""


def caveats(probes: list[str], asked: bool, method: Method, kept: Plan, gained: bool) -> list[str]:
    """List them as sentences.

    Args:
        probes: What was asked.
        asked: By the user.
        method: How runs were traced.
        kept: The keep-set.
        gained: The result is smaller, or better.
    """
    found = ["" if gained else NOTHING, weakness(probes, asked), BLIND[method]]
    if kept.privileged:
        names = ", ".join(f"/{path}" for path in kept.privileged)
        found.append(f"Set-id programs that own code may start by a word were left out: {names}.")
    libraries = [path for path in kept.optional if path.endswith(".so")]
    if libraries:
        names = ", ".join(f"/{path}" for path in libraries)
        text = "what starts them goes on without; `--include` keeps them"
        found.append(f"Optional libraries that no run loaded were left out: {names}; {text}.")
    if kept.starting:
        names = ", ".join(f"/{path}" for path in kept.starting[:SHOWN])
        more = len(kept.starting) - SHOWN
        names += f" and {more} more" if more > 0 else ""
        text = "names of programs that it puts together at run time are seen only where a probe"
        found.append(f"Own code starts programs ({names}): {text} makes it start them.")
    for library, user in kept.unresolved:
        found.append(f"/{user} needs {library}, which the original does not hold either.")
    return [each for each in found if each]
