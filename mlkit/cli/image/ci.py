"""`mlkit image slim --ci`: groups, annotations and summaries of CI services, by their environment.

All of it goes to standard error, so that standard output keeps the result. What the app has printed
can be quoted in any of it: nothing of that may become a command of the service.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.errors import InputMissing, printable

CODE_QUALITY = "gl-code-quality-report.json"
"""The artifact that GitLab shows at a merge request, as `artifacts:reports:codequality`."""
SEVERITIES = {"error": "major", "warning": "minor", "notice": "info"}


@dataclass(frozen=True)
class Annotation:
    """A remark that a service shows beside the job.

    Attributes:
        level: `error`, `warning` or `notice`.
        title: What it is about.
        text: One sentence.
    """

    level: str
    title: str
    text: str


def remarks_of(fields: Mapping[str, Any]) -> list[Annotation]:
    """Return what a reader of the job should not miss, the worst first.

    Args:
        fields: What `mlkit image slim --json` prints, of one image or of an index.
    """
    from mlkit.image.report.markdown import parts

    said = [each for part in parts(fields) for each in _remarks_of(part)]
    said += [
        Annotation(
            "warning", str(fields["image"]), f"{each['platform']} not slimmed: {each['reason']}"
        )
        for each in fields.get("refused", ())
    ]
    return sorted(said, key=lambda each: list(SEVERITIES).index(each.level))


def _remarks_of(fields: Mapping[str, Any]) -> list[Annotation]:
    from mlkit.image.report.sentences import of_difference, of_finding

    image = fields["image"]
    said = [Annotation("error", image, each) for each in fields["failures"]]
    for each in fields["differences"]:
        level = "error" if each["effect"] == "broken" else "notice"
        said.append(Annotation(level, f"{image}: {each['effect']}", of_difference(each)))
    said += [
        Annotation("warning", f"{image}: {each['code']}", of_finding(each))
        for each in fields["findings"]
    ]
    return said + [
        Annotation("notice", f"{image}: weak proof", each) for each in fields["warnings"]
    ]


class Service:
    """A CI service of which nothing is known: plain lines on standard error."""

    def __init__(self) -> None:
        self._open: str | None = None

    @contextmanager
    def phases(self) -> Iterator[Callable[[str], None]]:
        """Show the phase that work is in, a group each, while the block runs."""
        try:
            yield self._phase
        finally:
            self._end()

    @contextmanager
    def quoting(self) -> Iterator[None]:
        """Let the service read no command from the result while it is printed."""
        yield

    def annotate(self, remarks: Sequence[Annotation]) -> None:
        """Show remarks."""
        for each in remarks:
            _write(printable(f"{each.level}: {each.title}: {each.text}"))

    def report(self, fields: Mapping[str, Any]) -> None:
        """Report the outcome of a slimming.

        Args:
            fields: What `mlkit image slim --json` prints.
        """
        self.annotate(remarks_of(fields))

    def _phase(self, name: str) -> None:
        self._end()
        self._open = name
        self._begin(name)

    def _end(self) -> None:
        if self._open is not None:
            self._finish(self._open)
            self._open = None

    def _begin(self, name: str) -> None:
        _write(f"{name} ...")

    def _finish(self, name: str) -> None:
        """Close a group, where the service has them."""


class GitHub(Service):
    """Workflow commands of GitHub Actions, its step summary and its step outputs.

    Args:
        environment: With `GITHUB_STEP_SUMMARY` and `GITHUB_OUTPUT`, the files that it reads.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._environment = environment

    def _begin(self, name: str) -> None:
        _write(f"::group::{_data(name)}")

    def _finish(self, name: str) -> None:
        _write("::endgroup::")

    @contextmanager
    def quoting(self) -> Iterator[None]:
        """Stop commands by a word that nobody can guess, on the stream that the result is on."""
        import secrets

        word = secrets.token_hex(16)
        sys.stdout.write(f"::stop-commands::{word}\n")
        try:
            yield
        finally:
            sys.stdout.write(f"::{word}::\n")

    def annotate(self, remarks: Sequence[Annotation]) -> None:
        """Show remarks as annotations of the workflow."""
        for each in remarks:
            title = _data(each.title).replace(":", "%3A").replace(",", "%2C")
            _write(f"::{each.level} title={title}::{_data(each.text)}")

    def report(self, fields: Mapping[str, Any]) -> None:
        """Annotate, and write the step's summary and its outputs."""
        from mlkit.image.report.markdown import summary

        super().report(fields)
        self._append("GITHUB_STEP_SUMMARY", summary(fields))
        outputs = {
            "verdict": fields["verdict"],
            "result": fields["result"] or "",
            "digest": fields["digest"] or "",
            "size-before": str(fields["size"]["before"]),
            "size-after": str(fields["size"]["after"]),
        }
        lines = [f"{name}={printable(value)}\n" for name, value in outputs.items()]
        self._append("GITHUB_OUTPUT", "".join(lines))

    def _append(self, variable: str, text: str) -> None:
        name = self._environment.get(variable)
        if not name:
            return
        try:
            with Path(name).open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise InputMissing(f"{variable}: {name}: {error.strerror}") from error


class GitLab(Service):
    """Collapsible sections of GitLab's job logs, and its report of code quality."""

    def _begin(self, name: str) -> None:
        key = _section(name)
        _write(f"\x1b[0Ksection_start:{int(time.time())}:{key}\r\x1b[0K{printable(name)}")

    def _finish(self, name: str) -> None:
        _write(f"\x1b[0Ksection_end:{int(time.time())}:{_section(name)}\r\x1b[0K")

    def annotate(self, remarks: Sequence[Annotation]) -> None:
        """Show remarks as lines, and write them as a report of code quality."""
        from mlkit.files import replacing

        super().annotate(remarks)
        with replacing(Path(CODE_QUALITY)) as file:
            file.write(json.dumps([_quality(each) for each in remarks], indent=2).encode())


def service(environment: Mapping[str, str] = os.environ) -> Service:
    """Return the service that a job's environment names."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return GitHub(environment)
    return GitLab() if environment.get("GITLAB_CI") == "true" else Service()


def _quality(remark: Annotation) -> dict[str, Any]:
    text = f"{remark.title}: {remark.text}"
    return {
        "description": text,
        "check_name": "mlkit image slim",
        "fingerprint": hashlib.sha256(text.encode()).hexdigest(),
        "severity": SEVERITIES[remark.level],
        "location": {"path": "Dockerfile", "lines": {"begin": 1}},
    }


def _section(name: str) -> str:
    """Return a section's key: letters, digits and underscores."""
    return "mlkit_" + "".join(each if each.isalnum() else "_" for each in name)


def _data(text: str) -> str:
    """Escape a text for a workflow command, as the runner's toolkit does."""
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _write(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
