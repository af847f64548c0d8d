"""The errors that mlkit raises on purpose.

    MlkitError               70  internal, unless a subclass has another
    ├── NegativeResult        1  a check that was asked for does not hold
    ├── UsageError            2  arguments that contradict one another
    ├── Waiting               3  a person or an event has to come first
    ├── BadData              65  input that was found and cannot be used
    ├── InputMissing         66  input that is not there or cannot be read
    ├── ServiceUnavailable   69  an engine, interpreter or server that is not there
    │   └── PackageMissing   69  an optional package that is not installed
    ├── ConfigurationError   78  mlkit.toml, a MLKIT_* variable, or a state directory
    └── Interrupted         130  stopped by a signal (128 + its number)

Code below the command line raises them and never prints or exits; `mlkit.cli.main` turns one
into `error: ...` and `hint: ...` on standard error and the exit code.
"""

from __future__ import annotations

from typing import ClassVar

LONGEST = 500
"""Characters of a message; the middle of a longer one is left out."""


class MlkitError(Exception):
    """A failure with a message for the user, a hint at the cure, and an exit code.

    Args:
        message: One line that names the place (file, line, row, element id, index). What it
            quotes from the input may be anything: see `one_line`.
        hint: One line about what to do, if that is known.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        message = one_line(message)
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is None else one_line(hint)


def one_line(text: str) -> str:
    """Make text fit for a line of a terminal: no control characters, and not endless."""
    text = printable(text)
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return text


def printable(text: str) -> str:
    """Escape what would steer a terminal or end the line, as Python writes it."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


class NegativeResult(MlkitError):
    """A check that the user asked for does not hold."""

    exit_code = 1


class UsageError(MlkitError):
    """Arguments that contradict one another or are out of range."""

    exit_code = 2


class Waiting(MlkitError):
    """The work cannot go on before a person or an event acts."""

    exit_code = 3


class BadData(MlkitError, ValueError):
    """Input that was found but cannot be used."""

    exit_code = 65


class InputMissing(MlkitError):
    """Input that does not exist or cannot be read."""

    exit_code = 66


class ServiceUnavailable(MlkitError):
    """An engine, interpreter, package or server that is needed and not there."""

    exit_code = 69


class PackageMissing(ServiceUnavailable):
    """A package that only some need, and that is not installed."""

    @classmethod
    def of(cls, problem: str, extra: str, instead: str = "") -> PackageMissing:
        """Build the error of what needs a package.

        Args:
            problem: What needs which package.
            extra: The extra of mlkit that installs it.
            instead: How to do without it, as the end of the hint.
        """
        return cls(problem, hint=f"pip install 'mlkit[{extra}]'{instead}")


class ConfigurationError(MlkitError):
    """A wrong setting: in mlkit.toml, in a MLKIT_* variable, or in a state directory."""

    exit_code = 78


class Interrupted(MlkitError):
    """Stopped by a signal.

    Args:
        signal_number: The signal; the exit code is 128 + this number.
    """

    def __init__(self, signal_number: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number  # type: ignore[misc]
