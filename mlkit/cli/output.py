"""Where the command line writes: results on standard output, all else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from mlkit.errors import MlkitError, printable
from mlkit.progress import Progress, silent

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType
    from rich.text import Text


@dataclass(frozen=True)
class Output:
    """The output settings of one run of `mlkit`.

    Attributes:
        quiet: Print results and errors only.
        debug: Print tracebacks of errors.
    """

    quiet: bool = False
    debug: bool = False

    @staticmethod
    def result(renderable: RenderableType) -> None:
        """Print a result for people on standard output; text is shown unchanged, without markup."""
        text = isinstance(renderable, str)
        if isinstance(renderable, str):
            renderable = "\n".join(map(printable, renderable.split("\n")))
        # Text is wrapped at words on a terminal only: what a program reads is a line.
        _console(sys.stdout).print(renderable, soft_wrap=text and not sys.stdout.isatty())

    @staticmethod
    def line(text: str) -> None:
        """Print a line of a result; what it quotes of a user's data cannot steer the terminal."""
        sys.stdout.write(printable(text) + "\n")

    @staticmethod
    def document(schema: str, version: int, fields: Mapping[str, Any]) -> None:
        """Print one versioned JSON document on standard output.

        Args:
            schema: What the document is, such as `bandit.show`.
            version: Raised when a field changes its meaning or goes away.
            fields: The document's own fields.
        """
        document = {"schema": f"mlkit.{schema}", "version": version, **fields}
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def note(self, text: str) -> None:
        """Write something for a person on standard error, unless they asked for quiet."""
        if not self.quiet:
            sys.stderr.write("\n".join(map(printable, text.split("\n"))) + "\n")

    def wrote(self, target: Path | str) -> None:
        """Name a file or folder that was written; nothing for standard output."""
        if str(target) != "-":
            self.note(f"wrote {target}")

    @contextmanager
    def progress(self, label: str) -> Iterator[Progress]:
        """Show a progress bar on standard error while the block runs, on a terminal only."""
        if self.quiet or not sys.stderr.isatty():
            yield silent
            return
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
        with Bar(*columns, console=_console(sys.stderr), transient=True) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total=None: bar.update(task, completed=done, total=total)

    @contextmanager
    def phases(self) -> Iterator[Callable[[str], None]]:
        """Show the phase that work is in, and the time of each, on standard error of a terminal."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.progress import Progress as Bar
        from rich.progress import ProgressColumn, SpinnerColumn, Task, TextColumn
        from rich.text import Text

        class Seconds(ProgressColumn):
            """The time that a phase has taken so far, or in all."""

            def render(self, task: Task) -> Text:
                return Text(f"{task.finished_time or task.elapsed or 0.0:6.1f} s")

        columns = SpinnerColumn(finished_text=" "), TextColumn("{task.description:12}"), Seconds()
        with Bar(*columns, console=_console(sys.stderr)) as bar:

            def end() -> None:
                for each in bar.task_ids[-1:]:
                    bar.update(each, completed=1)

            def phase(name: str) -> None:
                end()
                bar.add_task(name, total=1)

            yield phase
            end()

    def fail(self, error: Exception) -> NoReturn:
        """Print an error and leave with its exit code; a bug leaves with 70."""
        if self.debug:
            import traceback

            traceback.print_exception(error)
        if not isinstance(error, MlkitError):
            kind = f"{type(error).__name__}: {error}"
            error = MlkitError(f"internal: {kind}", hint="`mlkit --debug ...` shows where")
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        sys.exit(error.exit_code)


def format_count(number: int, noun: str) -> str:
    """Write a number of things: `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def of(context: typer.Context) -> Output:
    """Return the output settings of the running command."""
    output = context.find_object(Output)
    return output if output is not None else Output()


def _console(stream: Any) -> Console:
    from rich.console import Console

    class Plain(Console):
        """A console that leaves a broken pipe to the command line."""

        def on_broken_pipe(self) -> None:
            raise

    # A pipe has no width: never cut what a program reads.
    width = None if stream.isatty() else 160
    # What a user's data hold is not a markup: only what is styled on purpose is styled.
    return Plain(file=stream, width=width, highlight=False, markup=False, emoji=False)


def plain(text: str) -> Text:
    """Return a user's text for a table: no markup, and nothing that steers the terminal."""
    from rich.text import Text

    return Text(printable(text))
