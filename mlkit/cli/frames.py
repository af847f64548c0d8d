"""Help on a terminal: the sections of the plain text in frames, with colours.

rich and what typer imports with it take longer than all else that a help text needs.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from typer._click.formatting import HelpFormatter, wrap_text

NARROWEST = 50
_RESET = "\x1b[0m"
_BOLD, _DIM, _CYAN, _YELLOW = "\x1b[1m", "\x1b[2m", "\x1b[1;36m", "\x1b[33m"
_CODE = re.compile(r"\x1b\[[\d;]*m")
_FLAG = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
_NOTE = re.compile(r"\[(?:default|required|[-\d.<>=]*x)[^\]]*\]$")
_CORNERS, _ASCII = tuple("╭─╮│╰╯"), tuple("+-+|++")


class FramedHelp(HelpFormatter):
    """A formatter whose sections have frames as wide as the terminal.

    Args:
        width: Columns of the terminal.
        colours: Whether it shows colours.
        corners: The characters of a frame: its top, its sides, its lower corners.
    """

    def __init__(
        self, width: int, colours: bool = True, corners: tuple[str, ...] = _CORNERS
    ) -> None:
        super().__init__(width=max(width, NARROWEST))
        self._colours = colours
        self._corners = corners

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the usage in bold."""
        before, self.buffer = self.buffer, []
        super().write_usage(prog, args, prefix)
        text = self.getvalue().rstrip("\n")
        self.buffer = [*before, self._style(text, _BOLD), "\n"]

    @contextmanager
    def section(self, name: str) -> Generator[None]:
        """Frame what the block writes."""
        before, self.buffer = self.buffer, []
        self.width -= 4
        try:
            yield
        finally:
            inside = self.getvalue().splitlines()
            self.width += 4
            self.buffer = [*before, "\n", *(f"{line}\n" for line in self._frame(name, inside))]

    def _frame(self, name: str, lines: list[str]) -> Generator[str]:
        left, dash, right, side, low_left, low_right = self._corners
        dashes = dash * (self.width - len(name) - 5)
        first = self._style(left + dash, _DIM), name, self._style(dashes + right, _DIM)
        yield " ".join(first)
        edge = self._style(side, _DIM)
        for line in lines:
            rest = " " * (self.width - 4 - len(_CODE.sub("", line)))
            yield f"{edge} {line}{rest} {edge}"
        yield self._style(low_left + dash * (self.width - 2) + low_right, _DIM)

    def write_dl(
        self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write names, with what they stand for beside them, or below one that is long."""
        names = min(max((len(first) for first, _ in rows), default=0), col_max)
        indent = " " * (names + col_spacing)
        for first, second in rows:
            text = wrap_text(second, max(self.width - len(indent), 10), preserve_paragraphs=True)
            note = _NOTE.sub(lambda found: self._style(found[0], _DIM), text)
            beside = indent[len(first) :] if len(first) <= names else f"\n{indent}"
            rest = note.replace("\n", f"\n{indent}")
            self.write(f"{self._name(first)}{beside if rest else ''}{rest}\n")

    def _name(self, text: str) -> str:
        """Colour the flags, and what is given with them, or a name without flags."""
        ends = [found.end() for found in _FLAG.finditer(text)]
        if not ends:
            return self._style(text, _CYAN)
        flags, value = text[: ends[-1]], text[ends[-1] :]
        flags = _FLAG.sub(lambda found: self._style(found[0], _CYAN), flags)
        return flags + (self._style(value, _YELLOW) if value else "")

    def _style(self, text: str, style: str) -> str:
        """Colour each line for itself: frames stand between them."""
        if not self._colours:
            return text
        return "\n".join(f"{style}{line}{_RESET}" for line in text.split("\n"))


def of_terminal() -> FramedHelp:
    """Return a formatter for the terminal at standard output."""
    colours = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    has_frames = (sys.stdout.encoding or "").lower().startswith("utf")
    width = shutil.get_terminal_size().columns
    return FramedHelp(width, colours, _CORNERS if has_frames else _ASCII)
