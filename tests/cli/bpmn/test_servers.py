"""Every command that reads or moves instances may use a server in place of a journal."""

from __future__ import annotations

import pytest

from tests.cli.commands import LEAVES

NAMED = {name.removeprefix("mlkit bpmn "): each for name, each in LEAVES.items()
         if name.startswith("mlkit bpmn ")}  # fmt: skip
FILES = {"run", "test", "lint", "eval", "decide"}
"""They need files of this machine, and no instances that are there already."""
SERVERS = {"serve", "user add", "user passwd", "user rights", "user remove", "user list"}
"""They are about a server itself."""
WHOLE_JOURNALS = {"check", "export", "import", "prune"}
"""They read, move or shrink a journal as a whole, beside whoever uses it."""
NO_INSTANCES = {
    "mail send", "mail list", "mail retry", "people away", "people back", "people absences",
    "people digest", "people check",
}  # fmt: skip
"""They are about people and their mail."""
ELSEWHERE = FILES | SERVERS | WHOLE_JOURNALS | NO_INSTANCES


@pytest.mark.parametrize("name", sorted(NAMED.keys() - ELSEWHERE))
def test_a_command_on_instances_takes_a_server_and_a_token(name):
    options = {flag for each in NAMED[name].params for flag in each.opts}
    assert {"--server", "--token-file"} <= options


def test_what_takes_no_server_is_known():
    assert ELSEWHERE - NAMED.keys() == set(), "an exception for a command that is not there"
    wanted = {"--server", "--token-file"}
    takes = {
        name for name in ELSEWHERE
        if wanted <= {flag for each in NAMED[name].params for flag in each.opts}
    }  # fmt: skip
    assert takes == set(), "no exception any more"
