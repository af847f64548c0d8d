"""What the parser and lint find wrong with a diagram."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that lint found.

    Attributes:
        rule: The id of the rule, such as `flow.dangling`.
        severity: `error` stops a run before it starts; `warning` does not.
        element: The id of the element, or its name where it has no id.
        line: Its line in the file.
        message: What is wrong.
    """

    rule: str
    severity: str
    element: str
    line: int
    message: str
