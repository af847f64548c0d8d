"""The `mlkit` command: global options, settings, the groups, and the handling of errors."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError

from mlkit import __version__
from mlkit.cli.groups import LazyGroup, Members
from mlkit.cli.output import Output
from mlkit.config import find, load
from mlkit.errors import (
    ConfigurationError,
    InputMissing,
    Interrupted,
    MlkitError,
    ServiceUnavailable,
    UsageError,
)
from mlkit.files import BAD_NAME, FULL, bad_name, full_disk


class RootGroup(LazyGroup):
    """The groups of `mlkit`."""

    members: ClassVar[Members] = {
        "bandit": ("mlkit.cli.bandit.app:app", "Fit, inspect and serve bandits."),
        "pairs": (
            "mlkit.cli.pairs.app:app",
            "Find pairs of securities, fit and backtest them, and trade them on paper.",
        ),
        "bpmn": (
            "mlkit.cli.bpmn.app:app",
            "Run BPMN diagrams as durable pipelines: scripts, people, timers, errors.",
        ),
        "image": ("mlkit.cli.image.app:app", "Slim container images, and prove that they work."),
        "doctor": (
            "mlkit.cli.doctor:doctor",
            "Show what this machine offers each workload, and how to get what is missing.",
        ),
    }

    def invoke(self, ctx: Any) -> Any:
        """Apply the global options and run the command; turn an MlkitError into an exit."""
        ctx.obj = Output(quiet=ctx.params["quiet"], debug=ctx.params["debug"])
        try:
            _apply_settings(ctx)
            return super().invoke(ctx)
        except MlkitError as error:
            ctx.obj.fail(error)
        except BrokenPipeError:
            _leave_quietly()
        except KeyboardInterrupt as stop:  # typer would leave with 130 and without a word
            raise typer.Abort from stop

    def make_context(self, *arguments: Any, **extra: Any) -> Any:
        """Read the arguments; `--help` and `--version` print here."""
        try:
            return super().make_context(*arguments, **extra)
        except BrokenPipeError:  # typer would leave with 1, which means a negative result here
            _leave_quietly()


def _apply_settings(ctx: Any) -> None:
    path = ctx.params["config"] or find(Path.cwd())
    if path is not None:
        ctx.meta["settings"] = path
        ctx.default_map = load(path)


app = typer.Typer(
    cls=RootGroup,
    name="mlkit",
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "MLKIT", "help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"mlkit {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings file (default: ./mlkit.toml)."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print results and errors only.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Production machine-learning workloads from one command."""


def main() -> None:
    """Run `mlkit` and leave with the documented exit code."""
    output = Output(debug="--debug" in sys.argv)
    try:
        _require_streams()
        code = app(prog_name="mlkit", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_quietly()
    except NoArgsIsHelpError as help_text:
        sys.stdout.write(f"{help_text.format_message()}\n")
        code = UsageError.exit_code
    except ClickException as error:
        output.fail(_usage_error(error))
    except typer.Abort:
        _leave_at_once(output)
    except OSError as error:
        output.fail(_system_error(error))
    except UnicodeEncodeError as error:
        output.fail(_text_error(error))
    except Exception as bug:  # what is not an MlkitError is a defect of ours: exit 70
        output.fail(bug)
    sys.exit(code if isinstance(code, int) else 0)


def _leave_at_once(output: Output) -> NoReturn:
    """End after Ctrl-C without the interpreter's own end.

    What was open has been closed on the way here, but threads of a library may still use what that
    end takes away: Arrow's reader of CSV then aborts the process.
    """
    try:
        output.fail(Interrupted(signal.SIGINT))
    except SystemExit as end:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(int(end.code or 0))


_UNREADABLE = re.compile(r"Invalid value for '(.*?)': path '(.*)' is not readable\.", re.DOTALL)
"""What typer says before a command begins; to users it is a file that cannot be read."""


def _usage_error(error: ClickException) -> MlkitError:
    """Return a wrong option or argument as an error like all others."""
    if unreadable := _UNREADABLE.fullmatch(error.format_message()):
        name, path = unreadable.groups()
        kind = ConfigurationError if name in ("--config", "--state") else InputMissing
        return kind(f"{path}: cannot be read: {os.strerror(errno.EACCES)}")
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help" if context is not None else None
    # What converts values puts its own words around a message.
    message = error.format_message().replace(": Value error, ", ": ")
    return UsageError(message.partition(", unable to parse string as ")[0], hint=hint)


def _require_streams() -> None:
    """Make sure that there is somewhere to write; Python has None for a stream that is closed.

    A closed standard input is an empty one, as under a supervisor that gives its programs none.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stdout is None:
        sys.stdout = sys.stderr
        hint = "send results that nobody needs to /dev/null"
        raise ServiceUnavailable("standard output is closed", hint=hint)


def _leave_quietly() -> NoReturn:
    """End after the reader of our output has gone, as SIGPIPE ends other programs."""
    _forget_standard_output()
    sys.exit(128 + signal.SIGPIPE)


def _system_error(error: OSError) -> Exception:
    """Return an error of the system as an error like all others, where it is no defect."""
    if error.errno in FULL:
        return _disk_error(error)
    if error.errno in BAD_NAME and error.filename is not None:
        return bad_name(error)
    if isinstance(error, PermissionError) and error.filename is not None:
        return InputMissing(f"{os.fsdecode(error.filename)}: {error.strerror}")
    return error


def _text_error(error: UnicodeEncodeError) -> Exception:
    """Return an error like all others where somebody has given bytes that are not UTF-8."""
    if not any("\udc80" <= each <= "\udcff" for each in error.object):
        return error
    hint = "text is UTF-8; only names of files may have other bytes"
    return UsageError(f"{error.object!a}: not UTF-8", hint=hint)


def _disk_error(error: OSError) -> MlkitError:
    """Return the error for a full disk; without a file's name, it is that of standard output."""
    if error.filename is None:
        error.filename = "standard output"
    _forget_standard_output()
    return full_disk(error)


def _forget_standard_output() -> None:
    """Send what is still buffered nowhere: the interpreter's last flush would fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
