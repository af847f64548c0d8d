"""Instances that wait for a person, and commands of theirs."""

from __future__ import annotations

import pytest
from commands import run_mlkit

sqlite_only = pytest.mark.parametrize("back_end", ["sqlite"], indirect=True)
ENDS = '<startEvent id="s"/><endEvent id="e"/>'
ASKS = ENDS + '<userTask id="u"/>'


def waiting(session, path, count=1):
    """Run so many instances to their user task."""
    rows = [session.begin(path, {"n": n}) for n in range(count)]
    return session.advance(rows)


def mlkit(state, *arguments):
    """Run a command on a state folder."""
    return run_mlkit("bpmn", *arguments, "--state", state)
