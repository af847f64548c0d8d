"""Slimming: trace, plan, build, and prove, until the result behaves as the original does."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlkit.errors import BadData, ServiceUnavailable
from mlkit.image.command.entrypoint import Command, original_argv, parse
from mlkit.image.command.script import without_shell
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.keep.plan import plan
from mlkit.image.keep.request import Plan, Request
from mlkit.image.options import Options
from mlkit.image.packages.installed import read_packages, refuse_foreign
from mlkit.image.proof import further
from mlkit.image.proof.caveats import caveats
from mlkit.image.proof.compare import Difference, missing, settle, verdict
from mlkit.image.proof.diagnosis import Diagnosis, diagnose
from mlkit.image.proof.expected import note_expected
from mlkit.image.proof.findings import of_index
from mlkit.image.proof.reach import reach
from mlkit.image.proof.seccomp import Profiled, Prover, commands_of
from mlkit.image.report.summary import sizes
from mlkit.image.result import INIT_PATH, Builder, Built
from mlkit.image.run.early_trace import EarlyTrace
from mlkit.image.run.observation import Observation, Runner
from mlkit.image.run.probe import Probe
from mlkit.image.run.together import Together
from mlkit.image.run.trace import Trace, failed_lookups
from mlkit.image.run.tracing import with_links
from mlkit.image.slimmed import Slimmed

TRIALS = 6
"""How often a result is built again because a path was missing."""
PORT = re.compile(r"[1-9][0-9]{0,4}")
Run = Callable[[], Observation]


class Slimmer:
    """One slimming of one image.

    Args:
        runner: Runs containers.
        inventory: The image's files.
        image: Its name in the engine.
        options: What the user asks for.
        folder: For the layers; they stay as long as the folder does.
        early: A run that was traced meanwhile; it stands for the same run.
    """

    def __init__(
        self, runner: Runner, inventory: Inventory, image: str, options: Options, folder: Path,
        early: EarlyTrace | None = None,
    ) -> None:  # fmt: skip
        self._runner = runner
        self._inventory = inventory
        self._image = image
        self._options = options
        self._folder = folder
        self._early = early
        self._packages = read_packages(inventory)
        self._command, script = without_shell(inventory, parse(inventory.image.config))
        self._replaced = [script.path] if script is not None and script.text else []
        self._original = original_argv(inventory)
        self._lost: list[str] = []
        self._found: list[Probe] = []
        self._builder = Builder(
            runner.engine, inventory, self._packages, self._command, options, folder, runner.init
        )
        self._together = Together(runner.engine, options.one_at_a_time or runner.settings.shares)

    def close(self) -> None:
        """Remove the results that nobody has named, and let the base go."""
        self._together.close()
        self._builder.close()

    def run(self, phase: Callable[[str], None] = lambda _: None) -> Slimmed:
        """Slim, and prove.

        Args:
            phase: Told the name of each phase as it begins.

        Raises:
            BadData: The image cannot be slimmed, or does not work itself.
        """
        refuse_foreign(self._inventory)
        self._builder.open_base()
        phase("diagnosis")
        diagnosis = self._diagnosis()
        init = self._wants_init(diagnosis)
        first, others = self._originals(diagnosis)
        phase("trace")
        more = [self._further(each) for each in self._arguments(first)]
        trace = self._trace([each.arguments for each in more], init)
        built, kept, added, ahead = self._build_until_nothing_is_missed(trace, init, phase)
        phase("proof")
        originals = [first, *(each() for each in others)]
        candidate, differences = self._prove(originals, built, init, ahead)
        for each in more:
            entrypoint = self._argv(replace(self._command, arguments=()), init)
            argv = [*entrypoint, *each.arguments]
            differences += each.compare(functools.partial(self._runner.run, built.image, argv))
        probes = self._runner.settings.probes
        if diagnosis.needs_init and init:
            differences += _list_cured(diagnosis, candidate)
        profiled = self._profile(trace, originals, built, init)
        differences += profiled.breaks(self._options) if profiled else []
        differences += missing(self._lost)
        said = verdict(differences)
        gained = said != "equal" or built.size < self._inventory.size
        built = built if gained else self._builder.keep_original(self._image, built)
        return Slimmed(
            built=built,
            gained=gained,
            plan=kept,
            trace=trace,
            verdict=said,
            differences=differences,
            findings=diagnosis.findings,
            notes=[*diagnosis.notes, *of_index(self._inventory.image.others)],
            added=added,
            command=self._argv(self._command, init),
            packages=self._packages,
            originals=originals,
            candidate=candidate,
            reach=reach(kept.own_code, trace, self._inventory.files, probes, self._found),
            sizes=sizes(self._inventory, self._packages, kept, built.files),
            profile=self._options.profile,
            seccomp=profiled,
            warnings=caveats(
                [each.text for each in probes], self._options.asked, trace.method, kept, gained
            ),
        )

    def _diagnosis(self) -> Diagnosis:
        """Diagnose the original, and ask it for more than the probes do while it runs."""
        found = diagnose(self._runner, self._inventory, self._image, self._original)
        alone, helped = found.alone, found.helped
        first = helped if helped is not None and helped.works and not alone.works else alone
        plain = replace(self._runner.settings, exploration=None)
        if not first.works and first.found:  # what was found may have ended it
            self._runner = replace(self._runner, settings=plain)
            return diagnose(self._runner, self._inventory, self._image, self._original)
        self._found = list(first.found)
        probes = [*self._runner.settings.probes, *self._found]
        settings = replace(plain, probes=probes).for_one_that_took(first.ready)
        self._runner = replace(self._runner, settings=settings)
        return found

    def _prove(
        self, originals: list[Observation], built: Built, init: bool, ahead: Run | None
    ) -> tuple[Observation, list[Difference]]:
        """Compare; where only times differ, the machine may have been busy: measure both again."""
        argv = self._argv(self._command, init)
        runs = [] if ahead is None else [ahead]
        candidate, differences = settle(
            originals,
            lambda: self._again(originals),
            lambda: runs.pop()() if runs else self._runner.run(built.image, argv),
            self._together.both,
        )
        return candidate, note_expected(differences, self._options)

    def _profile(
        self, trace: Trace, originals: list[Observation], built: Built, init: bool
    ) -> Profiled | None:
        """Find a seccomp profile, and run the result under it, if that is asked for."""
        if not self._options.seccomp:
            return None
        commands = commands_of(self._runner, built.image)
        argv = self._argv(self._command, init)
        prover = Prover(self._runner, built.image, argv, commands)
        return prover.prove(trace, originals, lambda: self._again(originals))

    def _again(self, originals: list[Observation]) -> Observation:
        """Run the original once more, as it was run before."""
        return self._runner.run(self._image, self._original, init=originals[0].init)

    def _wants_init(self, diagnosis: Diagnosis) -> bool:
        asked = self._options.init
        wanted = diagnosis.needs_init if asked == "auto" else asked == "always"
        if wanted:
            self._builder.take_init()
        return wanted

    def _originals(self, diagnosis: Diagnosis) -> tuple[Observation, list[Run]]:
        """Run what works, the original or the original with an init, three times in all.

        Two of these runs go on beside what follows.
        """
        alone, helped = diagnosis.alone, diagnosis.helped
        init = not alone.works and helped is not None and helped.works
        first = helped if init and helped else alone
        if not first.works:
            failed = [f"{each.probe}: {each.problem}" for each in first.answers if not each.held]
            ending = f"it ends with exit code {first.exit_code}"
            text = first.problem or "; ".join(failed) or ending
            hint = "run it by hand, set --env or --volume, or choose other probes"
            name = self._inventory.image.source
            raise BadData(f"{name}: the original itself does not work: {text}", hint=hint)
        runner = self._runner
        run = functools.partial(runner.run, self._image, self._original, init=init)
        return first, [self._beside(run) for _ in range(2)]

    def _beside(self, run: Run) -> Run:
        """Start a run that goes on beside other work, if that is allowed."""
        crowded = self._together.at_once
        return self._together.start(lambda: replace(run(), crowded=crowded))

    def _arguments(self, first: Observation) -> list[list[str]]:
        """List what the image is run with besides its own command."""
        helped = further.asks_help(self._command, first) if self._options.explore else []
        return [*map(list, self._options.runs), *helped]

    def _further(self, arguments: list[str]) -> further.Further:
        entrypoint = self._inventory.image.config.get("Entrypoint") or ()
        return further.begin(self._runner, self._together, self._image, entrypoint, arguments)

    def _trace(self, more: list[list[str]], init: bool) -> Trace:
        command = list(self._command.argv)
        commands = [command, *([*self._command.entrypoint, *each] for each in more)]
        total = self._options.trace
        for each in commands:
            total |= self._trace_once(list(each), init)
        if total.method == "none" and not total.opened and self._options.profile == "tight":
            hint = "take --profile balanced, or pass what an earlier run looked up by --trace"
            asked = self._runner.settings.tracer == "none"
            why = "no run is" if asked else "the engine refuses to trace"
            text = f"profile tight keeps what is traced, and {why}"
            raise ServiceUnavailable(text, hint=hint)
        files = self._inventory.files
        return with_links(total, files) if total.method == "fanotify" else total

    def _trace_once(self, argv: list[str], init: bool) -> Trace:
        """Trace a run, unless it was traced already."""
        early = self._early
        fits = early is not None and (early.argv, early.init) == (argv, init)
        before = early.trace if early is not None and fits else None
        if before is not None and not self._found:
            return before
        trace = self._runner.run(self._image, argv, traced=True, init=init).trace or Trace()
        return trace if before is None else before | trace

    def _build_until_nothing_is_missed(
        self, trace: Trace, init: bool, phase: Callable[[str], None]
    ) -> tuple[Built, Plan, list[str], Run | None]:
        """Build, try, and add what the trial looked for and the original has.

        Returns:
            The result, what is kept, what was added, and a run of the result that has begun.
        """
        added: list[str] = []
        for _ in range(TRIALS):
            request = Request(
                self._command,
                trace,
                self._options.profile,
                self._options.include,
                self._options.exclude,
                added,
                self._replaced,
                [each.argument for each in self._runner.settings.probes if each.kind == "exec"],
            )
            phase("keep-set")
            kept = plan(self._inventory, self._packages, request)
            phase("build")
            built = self._builder.build(kept, init)
            phase("trial")
            ahead = self._ahead(built, init)
            self._lost = self._trial(built, init) if trace.method == "ptrace" else []
            wanted = [path for path in self._lost if self._is_wanted(path)]
            if not wanted:
                return built, kept, added, ahead
            added += wanted
            if ahead:
                ahead()  # its image goes
            self._builder.forget()
        request = replace(request, required=added)
        kept = plan(self._inventory, self._packages, request)
        built = self._builder.build(kept, init)
        self._lost = self._trial(built, init)
        return built, kept, added, None

    def _ahead(self, built: Built, init: bool) -> Run | None:
        """Start the proof's run of a result beside its trial, which most often misses nothing."""
        if not self._together.at_once:
            return None
        argv = self._argv(self._command, init)
        return self._beside(functools.partial(self._runner.run, built.image, argv))

    def _trial(self, built: Built, init: bool) -> list[str]:
        """Run a result, and list its failed look-ups of what the original has."""
        trial = self._runner.run(built.image, self._argv(self._command, init), traced=True)
        return failed_lookups(trial.trace or Trace(), self._inventory.files, built.files.files)

    def _is_wanted(self, path: str) -> bool:
        real, _ = self._inventory.files.walk(path)
        globs = [each.lstrip("/") for each in self._options.exclude]
        return not any(fnmatch.fnmatchcase(real or "", each) for each in globs)

    def _argv(self, command: Command, init: bool) -> list[str]:
        return [*([f"/{INIT_PATH}", "--"] if init else []), *command.argv]


def _list_cured(diagnosis: Diagnosis, candidate: Observation) -> list[Difference]:
    """Name what the init has fixed; runs of the original with an init cannot show it."""
    if diagnosis.alone.works or not candidate.works:
        return []
    ending = diagnosis.alone.exit_code
    ours = "does not work" if ending is None else f"dies with exit code {ending}"
    return [Difference("as process 1", ours, "works", "improved")]


def exposed_ports(config: dict[str, Any]) -> list[int]:
    """List the exposed TCP ports."""
    names = (str(name).partition("/") for name in config.get("ExposedPorts") or ())
    return sorted(
        {int(port) for port, _, kind in names if kind in {"", "tcp"} and PORT.fullmatch(port)}
    )


def default_probes(config: dict[str, Any]) -> list[Probe]:
    """Probe the exposed ports, which shows little."""
    return [Probe(f"tcp:{port}", "tcp", port=port) for port in exposed_ports(config)]
