"""A session of R: an isolated process that loads files and runs their functions, call by call.

It has the environment variables that scripts get, ends with the process that started it, and
prints on standard error. A signal from the terminal does not reach it, so that a call that has
begun is finished.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from mlkit.errors import MlkitError, ServiceUnavailable
from mlkit.workers.pool import filter_environment
from mlkit.workers.r_values import LIST, SIZE, Encoded, Vector, decode, encode

_DRIVER = Path(__file__).parent / "child" / "session.R"
_START = "sys.source(commandArgs(TRUE)[[1]], new.env(parent = globalenv()))"
_VARIABLES = ("R_LIBS", "R_LIBS_USER", "R_LIBS_SITE", "LD_LIBRARY_PATH")
_PR_SET_PDEATHSIG = 1
_PRCTL = ctypes.CDLL(None).prctl
PATIENCE = 5.0


class RError(MlkitError):
    """R could not do what was asked.

    Attributes:
        lines: The lines of loaded files in which the calls were made, the innermost last.
        trace: The same as text, a line a call.
        refused: Whether a value cannot be kept, or is damaged; else the file's own code failed.
    """

    def __init__(
        self, message: str, lines: list[int] | None = None, trace: str = "", *,
        refused: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.lines, self.trace, self.refused = lines or [], trace, refused


class Loaded(NamedTuple):
    """A file that a session has loaded.

    Attributes:
        number: Its number, by which its functions are called.
        modes: The names that it defines, with what R calls their mode.
    """

    number: int
    modes: dict[str, str]


class RSession:
    """A process of R.

    Args:
        program: The interpreter, `Rscript`.

    Raises:
        ServiceUnavailable: It cannot be started.
    """

    def __init__(self, program: str = "Rscript") -> None:
        self._program = program
        self._replies, self._requests = self._start()

    def _start(self) -> tuple[int, int]:
        theirs_in, requests = os.pipe()
        replies, theirs_out = os.pipe()
        command = [self._program, "--vanilla", "-e", _START, str(_DRIVER)]
        try:
            self._process = subprocess.Popen(
                [*command, str(theirs_in), str(theirs_out)],
                stdin=subprocess.DEVNULL, stdout=2, pass_fds=(theirs_in, theirs_out),
                env=filter_environment(_VARIABLES), process_group=0, preexec_fn=_die_with_parent,
            )  # fmt: skip
        except OSError as error:
            os.close(requests)
            os.close(replies)
            hint = "install R (Debian: r-base-core), or --rscript PROGRAM"
            raise ServiceUnavailable(f"{self._program}: {error.strerror}", hint=hint) from error
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        return replies, requests

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def load(self, path: str) -> Loaded:
        """Run a file in an environment of its own.

        Raises:
            RError: It failed.
        """
        number, names, modes = decode(self._ask("load", path)).items
        return Loaded(number.items[0], dict(zip(names.items, modes.items, strict=True)))

    def call(self, file: int, name: str, *arguments: Any) -> Vector:
        """Call a function of a loaded file, and return what it returns.

        Raises:
            RError: It failed, or returned what is not data.
        """
        return decode(self._ask("call", file, name, Vector(LIST, arguments)))

    def run(self, file: int, name: str, *arguments: Any) -> None:
        """Call a function of a loaded file, whatever it returns.

        Raises:
            RError: It failed, or an argument is damaged.
        """
        self._ask("run", file, name, Vector(LIST, arguments))

    def each(self, file: int, name: str, arguments: list[Any]) -> list[Vector]:
        """Call a function of a loaded file for each of the arguments.

        Raises:
            RError: See `call`.
        """
        return list(decode(self._ask("each", file, name, Vector(LIST, arguments))).items)

    def keep(self, file: int, name: str, *, call: bool = False) -> Encoded:
        """Return the value of a variable, or what a function returns, as bytes.

        Raises:
            RError: It cannot be kept, or the function failed.
        """
        more = (Vector(LIST, ()),) if call else ()
        return self._ask("call" if call else "value", file, name, *more)

    def restore(self, file: int, name: str, value: bytes) -> None:
        """Give a variable the value that `keep` returned.

        Raises:
            RError: The bytes are damaged.
        """
        self._ask("restore", file, name, Encoded(value))

    def _ask(self, operation: str, *arguments: Any) -> Encoded:
        request = encode(Vector(LIST, [operation, *arguments]))
        try:
            self._write(SIZE.pack(len(request)) + request)
            size = SIZE.unpack(self._read(4))[0]
            done = self._read(1) == b"\1"
            content = self._read(size)
        except (OSError, EOFError):
            raise RError(self._describe_end()) from None
        if not done:
            raise _failure(decode(content))
        return Encoded(content)

    def _write(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._requests, rest) :]

    def _read(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            some = os.read(self._replies, count - len(found))
            if not some:
                raise EOFError
            found += some
        return bytes(found)

    def _describe_end(self) -> str:
        code = self._process.wait()
        died = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"R ended with {died}"

    def close(self) -> None:
        """End the process."""
        for each in (self._requests, self._replies):
            with contextlib.suppress(OSError):
                os.close(each)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _die_with_parent() -> None:
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _failure(found: Vector) -> RError:
    parts = dict(zip(found.names, found.items, strict=True))
    message = str(parts["message"].items[0]).strip().partition("\n")[0]
    if parts["refused"].items[0]:
        return RError(message, refused=True)
    places = zip(*(parts[name].items for name in ("files", "lines", "calls")), strict=True)
    trace = "".join(f"  {file}, line {line}: {call}\n" for file, line, call in places)
    return RError(message, list(parts["lines"].items), f"{trace}{parts['message'].items[0]}\n")
