"""What a keep-set is asked for, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlkit.image.choices import PROFILE, Profile
from mlkit.image.command.entrypoint import Command
from mlkit.image.run.trace import Trace


@dataclass
class Plan:
    """The keep-set.

    Attributes:
        reasons: Path to the first reason for which it is kept.
        unresolved: (library, who needs it) that the image itself does not hold.
        packages: Packages of which something is kept.
        privileged: Set-id programs that were left out, since no code names them by their paths.
        optional: Files of packages that were left out, since their programs go on without them.
        starting: Own code that starts programs, whose names it may put together.
        own_code: Files of the user's own code.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    unresolved: list[tuple[str, str]] = field(default_factory=list)
    packages: set[str] = field(default_factory=set)
    privileged: list[str] = field(default_factory=list)
    optional: list[str] = field(default_factory=list)
    starting: list[str] = field(default_factory=list)
    own_code: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """What to keep a keep-set for.

    Attributes:
        command: What the container starts.
        trace: What it looked up.
        profile: How much more than that.
        include: Globs of paths to keep.
        exclude: Globs of paths to drop; they win.
        required: Paths that a trial has shown to be missing.
        replaced: Scripts that our launcher stands in for.
        asked: Lines that probes start in the container; no trace shows these processes.
    """

    command: Command
    trace: Trace = field(default_factory=Trace)
    profile: Profile = PROFILE
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    required: Sequence[str] = ()
    replaced: Sequence[str] = ()
    asked: Sequence[str] = ()
