"""Commands on a terminal of their own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys


def on_a_terminal(command, environment, directory, answers=(), asked=None):
    """Run a command with a terminal of its own; return what it printed, and its exit code.

    What is `asked` is answered by a call, once; the other answers are there from the start.
    """
    asked = dict(asked or {})
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=directory
    ) as child:
        os.close(theirs)
        os.write(ours, "".join(f"{each}\n" for each in answers).encode())
        text = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the terminal is gone: the child has ended
                break
            if not part:
                break
            text += part
            for question in [each for each in asked if each.encode() in text]:
                os.write(ours, asked.pop(question)().encode())
    os.close(ours)
    return text.decode(), child.returncode


def bpmn_on_a_terminal(arguments, directory, answers=(), asked=None, **environment):
    """Run a command of `mlkit bpmn` as `on_a_terminal` does, with some more variables."""
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    command = [sys.executable, "-m", "mlkit", "bpmn", *arguments]
    return on_a_terminal(command, settings, directory, answers, asked)
