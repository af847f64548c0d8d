"""What a user asks of a slimming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlkit.image.choices import BASE, INIT, PROFILE, USER, Init, Profile, User
from mlkit.image.run.trace import Trace


@dataclass(frozen=True)
class Options:
    """What the user asks for.

    Attributes:
        profile: How much is kept besides what was traced.
        base: `auto`, a kind of base, `none`, or the name of an image in the engine.
        init: Whether an init goes in front.
        include: Globs of paths to keep.
        exclude: Globs of paths to drop.
        runs: Arguments of further runs that are traced.
        trace: What earlier runs looked up.
        asked: The user gave probes; otherwise little is shown.
        timestamps: The time of all files of the result, in seconds since 1970; None: their own.
        explore: Ask a command that ends by itself for its help as well.
        one_at_a_time: Run no two containers of the image at the same time.
        seccomp: Find a seccomp profile for the result, and prove it.
        user: Who the result runs as: as in the original, or user 65532, who owns nothing.
    """

    profile: Profile = PROFILE
    base: str = BASE
    init: Init = INIT
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    runs: Sequence[Sequence[str]] = ()
    trace: Trace = field(default_factory=Trace)
    asked: bool = True
    timestamps: int | None = None
    user: User = USER
    one_at_a_time: bool = False
    explore: bool = False
    seccomp: bool = False
