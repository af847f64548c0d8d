"""Run `mlkit`, also as `python -m mlkit`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Import the command and run it; Ctrl-C is an exit of one line from the first moment on."""
    try:
        from mlkit.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.stderr.flush()
        os._exit(128 + signal.SIGINT)
    run()


if __name__ == "__main__":
    main()
