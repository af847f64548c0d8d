"""What is wrong with how a container starts, stops and lives, and what is worth knowing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlkit.image.command.entrypoint import parse, shell_line

INIT = 'put an init in front: ENTRYPOINT ["/tini", "--", ...]; `mlkit image slim` does'
ROOT = {"", "0", "root"}


@dataclass(frozen=True)
class Finding:
    """Something wrong, or worth a change.

    Attributes:
        code: A short name that stays.
        observed: What was seen.
        cure: What to do.
    """

    code: str
    observed: str
    cure: str


def of_index(others: Sequence[str]) -> list[Finding]:
    """Return what a user should know of an index of which one image was taken.

    Args:
        others: What else it holds.
    """
    if not others:
        return []
    observed = f"its index also holds {', '.join(others)}: they are not in the result"
    cure = "--all-platforms slims each that can be run, into one index; attest and sign the result"
    return [Finding("index", observed, cure)]


def form(config: dict[str, Any]) -> Iterator[Finding]:
    """Find what is written for a shell."""
    command = parse(config)
    if command.form == "exec":
        return
    if command.converted:
        used = "only $VAR" if command.launched else "nothing"
        observed = f"shell form, but {used} of the shell is used"
        cure = "write exec form; `mlkit image slim` does"
    else:
        observed, cure = command.shell, "write exec form, or keep the shell"
    yield Finding("shell-form", observed, cure)


def notes(config: dict[str, Any], user: str | None) -> Iterator[Finding]:
    """Return what many sound images do as well: no reason to fail a check.

    Args:
        config: The config of an image or a container.
        user: Who the app was seen to run as, `UID:GID`; None: it was not seen.
    """
    named = str(config.get("User") or "")
    if (named if user is None else user).partition(":")[0] in ROOT:
        cure = (
            "USER 65532 in the Dockerfile; `mlkit image slim --user nonroot` proves whether it can"
        )
        yield Finding("root", "it runs as root", cure)
    test = (config.get("Healthcheck") or {}).get("Test") or ["NONE"]
    if test[0] == "NONE":
        cure = "HEALTHCHECK in the Dockerfile, unless an orchestrator probes it"
        yield Finding("no-health-check", "it has no health check", cure)
    elif test[0] == "CMD-SHELL" or shell_line(test[1:]):
        observed = f"its health check needs a shell: {' '.join(test[1:])}"
        yield Finding("shell-health-check", observed, "HEALTHCHECK CMD [...] in exec form")
