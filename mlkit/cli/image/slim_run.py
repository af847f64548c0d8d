"""One slimming of `mlkit image slim`, and one for each platform of an index."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlkit.cli.image import slim_result
from mlkit.cli.image.options import Asked, Wish, ready

if TYPE_CHECKING:
    from mlkit.cli.image.side_outputs import SideOutputs
    from mlkit.image.choices import Compression
    from mlkit.image.compose import Composition
    from mlkit.image.filesystem.index import Listed, Selection
    from mlkit.image.filesystem.index_layout import IndexLayout, Member
    from mlkit.image.filesystem.inventory import Inventory
    from mlkit.image.filesystem.output import Output, Place
    from mlkit.image.options import Options
    from mlkit.image.packages.attestation import Attester
    from mlkit.image.report.gate import Gate
    from mlkit.image.run.engine.engine import Engine
    from mlkit.image.run.observation import Settings
    from mlkit.image.slimmed import Slimmed

Phase = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What a call asks for, of one image or of each of an index.

    Attributes:
        image: What the user named.
        asked: What the app is asked.
        settings: Of all runs, but for the probes.
        wish: What the app is asked beyond the probes.
        composition: The services beside it.
        options: How it is slimmed.
        gate: What a result has to meet besides its proof.
        force: Keep a result in any case.
        target: Where it goes.
        compression: Of its layers in a layout.
        dry_run: Keep no result.
        beside: What is written besides.
    """

    image: str
    asked: Asked
    settings: Settings
    wish: Wish
    composition: Composition | None
    options: Options
    gate: Gate
    force: bool
    target: Output
    compression: Compression
    dry_run: bool
    beside: SideOutputs

    @contextlib.contextmanager
    def slim(self, platform: str | Listed | None, phase: Phase) -> Iterator[Outcome]:
        """Slim one image; what belongs to it is in the engine while the block runs."""
        from mlkit.image.run.early_trace import trace_early
        from mlkit.image.slim import Slimmer
        from mlkit.scratch import scratch

        with contextlib.ExitStack() as stack:
            runner, source = stack.enter_context(
                ready(self.image, self.asked, self.settings, self.wish, self.composition, platform)
            )
            self.beside.check_source(self.image, source)
            folder = stack.enter_context(scratch("mlkit-image-"))
            phase("inventory")
            early = trace_early(runner, source, self.options)
            inventory = source.inventory()
            slimmer = Slimmer(runner, inventory, source.name, self.options, folder, early)
            result = stack.enter_context(contextlib.closing(slimmer)).run(phase)
            size = result.built.size if result.gained else inventory.size
            failures = self.gate.failures(size, result.findings, result.warnings)
            good = (result.verdict != "broken" and not failures) or self.force
            engine, name = runner.engine, self.target.name
            bill, found = self.beside.read_result(engine, inventory, result, name)
            attester = self.beside.attester(bill, name)
            yield Outcome(engine, inventory, result, failures, good, bill, found, attester)


@dataclass(frozen=True)
class Outcome:
    """What slimming one image came to.

    Attributes:
        engine: It has the result.
        inventory: The original's files.
        result: The result and its proof.
        failures: What it fails on besides.
        good: It may be kept.
        bill: Its bill of materials, if something asks for it.
        found: The known vulnerabilities, if something asks for them.
        attester: Attests the bill, if that is asked for.
    """

    engine: Engine
    inventory: Inventory
    result: Slimmed
    failures: list[str]
    good: bool
    bill: str | None
    found: dict[str, Any] | None
    attester: Attester | None

    def fields(self, image: str, place: Place | None) -> dict[str, Any]:
        """Return it as JSON values."""
        fields = slim_result.fields(image, place, self.inventory, self.result)
        return fields | {"failures": self.failures, "vulnerabilities": self.found}


def slim_one(job: Job, platform: str | None, phase: Phase) -> dict[str, Any]:
    """Slim one image, and put the result where it is wanted; return what is reported."""
    from mlkit.image.filesystem.output import put

    with job.slim(platform, phase) as done:
        place, beside = None, job.beside
        built = done.result.built
        if done.good and not job.dry_run:
            place = put(job.target, built, done.engine, job.compression, done.attester)
            beside.write_bill(done.bill)
        beside.write_trace(done.result)
        beside.write_report(beside.show(job.image, done.inventory, done.result, done.found), place)
        if done.good:
            beside.write_kept(job.image, done.inventory, done.result)
        return done.fields(job.image, place)


@dataclass(frozen=True)
class _Part:
    """What is left of one platform's slimming when its image has gone from the engine."""

    image: Listed
    result: Slimmed
    good: bool
    member: Member | None
    bill: str | None
    shown: dict[str, Any] | None
    fields: dict[str, Any]


def slim_index(job: Job, selection: Selection, phase: Phase) -> dict[str, Any]:
    """Slim images of an index one by one, and put the results where they are wanted, as one.

    Nothing is put there unless all of them may be kept. Returns what is reported.

    Raises:
        BadData: One of them cannot be slimmed.
    """
    from mlkit.image.filesystem.index_layout import IndexLayout
    from mlkit.image.filesystem.output import put_index
    from mlkit.interruption import stoppable
    from mlkit.scratch import scratch

    with stoppable(), scratch("mlkit-image-") as folder:
        layout = IndexLayout(folder / "index", job.compression)
        parts = [_slim_part(job, each, layout, phase) for each in selection.images]
        kept = all(each.good for each in parts) and not job.dry_run
        phase("index")
        place = put_index(job.target, layout) if kept else None
    fields = slim_result.index_fields(
        job.image, place, [_place(each, place) for each in parts], selection
    )
    for each in parts:
        beside = job.beside.of(each.image.name)
        if place:
            beside.write_bill(each.bill)
        beside.write_trace(each.result)
        if each.shown is not None:
            beside.write_report(each.shown | {"index": fields, "platform": each.image.name}, place)
    return fields


def _slim_part(job: Job, image: Listed, layout: IndexLayout, phase: Phase) -> _Part:
    from mlkit.errors import BadData

    try:
        with job.slim(image, lambda name: phase(f"{image.name} {name}")) as done:
            keeps = done.good and not job.dry_run
            member = layout.add(image, done.result.built, done.attester) if keeps else None
            shown = job.beside.show(job.image, done.inventory, done.result, done.found)
            fields = {"platform": image.name} | done.fields(job.image, None)
            return _Part(image, done.result, done.good, member, done.bill, shown, fields)
    except BadData as error:
        hint = error.hint or "--platform, repeated, names those that are slimmed"
        raise BadData(f"{image.name}: {error.message}", hint=hint) from error


def _place(part: _Part, place: Place | None) -> dict[str, Any]:
    """Return what is reported of a platform, with where its result is."""
    if place is None or part.member is None:
        return part.fields
    attached = part.member.attached
    return part.fields | {
        "result": place.text,
        "digest": part.member.digest,
        "attached": attached.media_type if attached else None,
        "id": part.result.built.image,
    }
