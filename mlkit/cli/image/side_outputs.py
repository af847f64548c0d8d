"""What `mlkit image slim` writes beside the result: trace, bill, report, summary, Dockerfile."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlkit.image.filesystem.image_source import Source
    from mlkit.image.filesystem.inventory import Inventory
    from mlkit.image.filesystem.output import Output, Place
    from mlkit.image.options import Options
    from mlkit.image.packages.attestation import Attester
    from mlkit.image.packages.vulnerabilities import Scanner
    from mlkit.image.run.engine.engine import Engine
    from mlkit.image.slimmed import Slimmed


@dataclass(frozen=True)
class SideOutputs:
    """Where it goes; None: nowhere.

    Attributes:
        trace: `--trace-out`.
        sbom: `--sbom`.
        report: `--report`.
        summary: `--summary`.
        dockerfile: `--dockerfile`, a folder.
        seccomp: `--seccomp`.
        attest: `--attest`: the bill of materials, beside the result.
        sign_key: `--sign-key`: what signs it.
        scanner: `--vulnerabilities`: what finds them.
    """

    trace: Path | None = None
    sbom: Path | None = None
    report: Path | None = None
    summary: Path | None = None
    dockerfile: Path | None = None
    seccomp: Path | None = None
    attest: bool = False
    sign_key: str | None = None
    scanner: Scanner | None = None

    def check(self, options: Options, target: Output) -> None:
        """Make sure, before any work is done, that all of it can be written.

        Raises:
            UsageError: A file is a folder, the folder is not empty, or options contradict.
            InputMissing: A place is not there.
            ServiceUnavailable: Nothing here can sign.
        """
        from mlkit.errors import UsageError
        from mlkit.files import check_place
        from mlkit.image.filesystem.output import check_attaching, check_folder
        from mlkit.image.packages.attestation import check_signing

        files = (self.trace, self.sbom, self.report, self.summary, self.seccomp)
        for path in filter(None, files):
            check_place(path)
        if self.dockerfile is not None:
            check_folder(self.dockerfile)
            if options.timestamps is not None:
                raise UsageError("--dockerfile keeps the original's times: without --timestamps")
        if self.attest:
            check_attaching(target)
        if self.sign_key is not None:
            if not self.attest:
                raise UsageError("--sign-key signs what --attest attaches: give both")
            check_signing()

    def check_source(self, image: str, source: Source) -> None:
        """Make sure that an image is one that a Dockerfile can begin with.

        Raises:
            UsageError: It has no name in the engine.
            BadData: Its config is nothing that a Dockerfile can say.
        """
        from mlkit.errors import UsageError
        from mlkit.image import dockerfile

        if self.dockerfile is None:
            return
        if source.name != image:
            hint = "load it into the engine, or push it, and slim it by its name"
            raise UsageError(f"--dockerfile: {image} has no name that a builder knows", hint=hint)
        dockerfile.check(image, source.config)

    def of(self, platform: str) -> SideOutputs:
        """Return where it goes for one platform of several: names with the platform in them."""
        mark = re.sub("[^a-z0-9]+", "-", platform).strip("-")

        def named(path: Path | None) -> Path | None:
            return path and path.with_name(f"{path.stem}-{mark}{path.suffix}")

        trace, sbom, report = map(named, (self.trace, self.sbom, self.report))
        return replace(self, trace=trace, sbom=sbom, report=report)

    def check_several(self) -> None:
        """Make sure that all of it can be written for several platforms.

        Raises:
            UsageError: It is about one.
        """
        from mlkit.errors import UsageError

        for name, path in (("--dockerfile", self.dockerfile), ("--seccomp", self.seccomp)):
            if path is not None:
                raise UsageError(f"{name}: for one platform at a time", hint="--platform, once")

    def show(
        self, image: str, inventory: Inventory, result: Slimmed, found: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Return what the report shows, if there is to be one."""
        from mlkit.image.report import page

        return None if self.report is None else page.show(image, inventory, result, found)

    def write_report(self, shown: dict[str, Any] | None, place: Place | None) -> None:
        """Write the report, about any result."""
        from mlkit.image.report import page

        if self.report is not None and shown is not None:
            page.write(self.report, shown | {"place": place.text if place else None})

    def write_trace(self, result: Slimmed) -> None:
        """Write the trace, of any result."""
        from mlkit.image.run.trace import write_file

        if self.trace is not None:
            write_file(result.trace, self.trace)

    def write_kept(self, image: str, inventory: Inventory, result: Slimmed) -> None:
        """Write the Dockerfile and the profile of a good result."""
        from mlkit.files import replacing, replacing_folder
        from mlkit.image import dockerfile

        if self.seccomp is not None and result.seccomp is not None:
            with replacing(self.seccomp) as file:
                file.write(result.seccomp.encode())
        if self.dockerfile is not None:
            with replacing_folder(self.dockerfile) as fresh:
                dockerfile.write(fresh, image, inventory, result.built, result.gained)

    def read_result(
        self, engine: Engine, inventory: Inventory, result: Slimmed, name: str
    ) -> tuple[str | None, dict[str, Any] | None]:
        """Return the bill of materials and the vulnerabilities, if something asks for them."""
        from dataclasses import asdict

        from mlkit.image.filesystem.image_source import open_saved
        from mlkit.image.packages import sbom

        if self.sbom is None and not self.attest and self.scanner is None:
            return None, None
        with open_saved(engine, result.built.image, name) as after:
            bill = sbom.bill(after) if self.sbom is not None or self.attest else None
            if self.scanner is None:
                return bill, None
            both = {"before": self.scanner.find(inventory), "after": self.scanner.find(after)}
        return bill, {when: [asdict(each) for each in found] for when, found in both.items()}

    def attester(self, bill: str | None, name: str) -> Attester | None:
        """Return what attests the bill of a result, if that is asked for."""
        from mlkit.image.packages.attestation import Attester

        return Attester(bill, name, self.sign_key) if self.attest and bill is not None else None

    def write_bill(self, bill: str | None) -> None:
        """Write the bill of materials of a result that is kept."""
        from mlkit.files import replacing

        if self.sbom is not None and bill is not None:
            with replacing(self.sbom) as file:
                file.write(bill.encode())

    def summarize(self, fields: dict[str, Any]) -> None:
        """Write the summary in Markdown."""
        from mlkit.files import replacing
        from mlkit.image.report.markdown import summary

        if self.summary is not None:
            with replacing(self.summary) as file:
                file.write(summary(fields).encode())
