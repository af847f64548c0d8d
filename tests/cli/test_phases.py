"""A terminal shows the phases of long work with their times, as they run."""

from __future__ import annotations

import io
import re
import time

from mlkit.cli.output import Output

RUNNING = re.compile(r"trace +(\d+\.\d) s")
PATIENCE = 60


class Terminal(io.StringIO):
    """What a terminal has been sent."""

    def isatty(self):
        return True


def test_the_running_phase_shows_its_seconds(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    began = time.monotonic()
    with Output().phases() as phase:
        phase("inventory")
        phase("trace")
        while len(set(RUNNING.findall(terminal.getvalue()))) < 3:
            assert time.monotonic() < began + PATIENCE
            time.sleep(0.02)
    assert re.search(r"inventory +0\.\d s", terminal.getvalue())


def test_no_terminal_shows_nothing(capsys):
    with Output().phases() as phase:
        phase("inventory")
    assert capsys.readouterr().err == ""
