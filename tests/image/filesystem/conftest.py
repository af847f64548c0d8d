"""A registry, as it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import time

import pytest

# "user" with the password "secret", hashed by bcrypt.
HTPASSWD = "user:$2b$04$HE4OFNCpTZ4gqvulMMQ11.U0XQSOcJ0oWrqLEc4twrpTtdTCARkeW\n"
CONFIGURATION = """
version: 0.1
storage:
  filesystem:
    rootdirectory: {folder}/data
http:
  addr: 127.0.0.1:0
auth:
  htpasswd:
    realm: test
    path: {folder}/htpasswd
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Return the address of a registry that asks for a password."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs the program docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "config.yml").write_text(CONFIGURATION.format(folder=folder))
    command = ["docker-registry", "serve", folder / "config.yml"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as server,
    ):
        try:
            yield f"127.0.0.1:{port_of(server, folder / 'log')}"
        finally:
            server.kill()


def port_of(server, log):
    """Return the port that the registry has chosen, once it listens."""
    until = time.monotonic() + 180
    while time.monotonic() < until and server.poll() is None:
        if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise AssertionError(f"the registry does not start: {log.read_text()[-2000:]}")
