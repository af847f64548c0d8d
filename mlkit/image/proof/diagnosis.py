"""The diagnosis of a container: process 1, signals, zombies, shell, user."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Any

from mlkit.image.command import script
from mlkit.image.command.entrypoint import SHELLS, parse
from mlkit.image.command.health import health_command
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.proof import findings
from mlkit.image.proof.findings import Finding
from mlkit.image.run.observation import Observation, Runner


@dataclass(frozen=True)
class Diagnosis:
    """What running an image showed.

    Attributes:
        findings: What is wrong.
        notes: What is worth knowing, and no reason to fail a check.
        needs_init: An init cures some of it.
        alone: The run as the image is.
        helped: The run with an init in front, if one was tried.
    """

    findings: list[Finding]
    notes: list[Finding]
    needs_init: bool
    alone: Observation
    helped: Observation | None

    def facts(self) -> dict[str, Any]:
        """Return what was seen of the image as it is, as JSON values."""
        app = self.alone.app
        return {
            "process_1": self.alone.first or None,
            "caught": f"{app.caught:016x}" if app else None,
            "app": app.command if app else None,
            "user": app.user if app else None,
            "zombies": self.alone.zombies,
            "healthy": self.alone.healthy,
            "exit_code": self.alone.exit_code,
            "stop_seconds": self.alone.stop,
            "killed": self.alone.killed,
        }


def diagnose(runner: Runner, inventory: Inventory, image: str, argv: list[str]) -> Diagnosis:
    """Run an image as it is, and, where that goes badly, with an init in front.

    Args:
        runner: How it is run.
        inventory: The image's files.
        image: Its name in the engine.
        argv: Entrypoint and command in one.
    """
    alone = runner.run(image, argv)
    suspicious = not alone.works or alone.killed or alone.zombies > 0
    helped = runner.run(image, argv, init=True) if suspicious and not alone.problem else None
    config = inventory.image.config
    found = _process_one(runner, image, argv, alone, helped) if helped else []
    if not alone.works and not found:
        found.append(Finding("fails", _how(alone), "fix the image: an init does not help"))
    behind_shell = _is_shell(alone.first) and parse(config).converted
    needs = any(each.code.startswith("pid1-") for each in found) or behind_shell
    found += [*_health(alone, config), *findings.form(config)]
    notes = list(findings.notes(config, alone.app.user if alone.app else None))
    _, start = script.without_shell(inventory, parse(config))
    notes += [script.note(start)] if start else []
    return Diagnosis(found, notes, needs, alone, helped)


def _health(alone: Observation, config: dict[str, Any]) -> list[Finding]:
    if alone.healthy is not False:
        return []
    observed = f"its health check fails: {' '.join(health_command(config))}"
    return [Finding("health-check", observed, "fix the app, or the check if that is wrong")]


def _process_one(
    runner: Runner, image: str, argv: list[str], alone: Observation, helped: Observation
) -> list[Finding]:
    found = []
    if not alone.works and helped.works:
        traced = runner.run(image, argv, traced=True).trace
        why = "; a process asked getppid(), got 1, and took itself for an orphan"
        orphaned = why if traced and traced.orphaned else ""
        found.append(Finding("pid1-dies", f"as process 1: {_how(alone)}{orphaned}", findings.INIT))
    found += [_signal(alone, helped)] if alone.killed else []
    if alone.orphans and helped.orphans < alone.orphans:
        observed = f"{alone.orphans} zombies that process 1 does not reap"
        found.append(Finding("pid1-zombies", observed, findings.INIT))
    elif alone.zombies and helped.zombies >= alone.zombies:
        cure = "wait for its children in the app; an init does not help while their parent lives"
        observed = f"{alone.zombies} zombies that a process other than the first does not reap"
        found.append(Finding("zombies", observed, cure))
    return found


def _signal(alone: Observation, helped: Observation) -> Finding:
    """Return why an app had to be killed: it ignores the signal, or takes too long."""
    handles = alone.app is not None and alone.app.stops
    slow = f"it handles SIGTERM, and has not ended {alone.patience} s later"
    if not helped.killed:
        why = "" if alone.app is None else ", which it does not handle (SigCgt)"
        deaf = f"as process 1 it ignores SIGTERM{why}, and has to be killed"
        return Finding("pid1-signal", slow if handles else deaf, findings.INIT)
    cure = "handle SIGTERM in the app; with an init it is killed as well"
    text = slow if handles else "it ignores SIGTERM and has to be killed"
    return Finding("signal", text, "end sooner, or raise the limit" if handles else cure)


def _how(run: Observation) -> str:
    if run.problem:
        return run.problem
    failed = [f"{each.probe}: {each.problem}" for each in run.answers if not each.held]
    ending = "it stays up" if run.exit_code is None else f"it ends with exit code {run.exit_code}"
    return "; ".join([ending, *failed])


def _is_shell(command: str) -> bool:
    return posixpath.basename(command.split(" ")[0]) in SHELLS if command else False
