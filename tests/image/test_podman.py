"""The commands with Podman, behind its interface that is compatible with Docker's."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import docker
import pytest

pytestmark = pytest.mark.slow
CONFIGURATION = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
exit_command_delay = 1
"""
REFUSED = re.compile(r".*(?:OCI|runc|conmon|cgroup|netavark|policy\.json|not permitted).*")
"""What Podman says where the machine does not let it run a container."""
PROGRAM = """#include <stdio.h>
#include <unistd.h>
int main(int count, char** words) {
  puts("done");
  fflush(stdout);
  while (count > 1) pause();
  return words == NULL;
}
"""
DOCKERFILE = """FROM scratch
COPY it /it
COPY manual /usr/share/doc/manual
CMD ["/it"]
"""
QUICK = ("--probe=exit:0", "--watch=0", "--network=none", "--json")


def wait_for(place, process, log):
    """Wait until it listens; that it cannot begin here is no failure of ours."""
    until = time.monotonic() + 180
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:
            one.connect(str(place))
            return
        time.sleep(0.2)
    pytest.xfail(f"Podman does not start here: {log.read_text()[-400:]}")


@pytest.fixture(scope="module")
def podman(need_program):
    """Return the environment of commands that work with a Podman of our own.

    Its storage lies outside of pytest's folders, and has no mounts, so that a test that is killed
    leaves nothing there that cannot be removed.
    """
    if os.getuid() != 0:
        pytest.skip("needs root")
    program, _ = need_program("podman"), need_program("runc")
    folder = Path(tempfile.mkdtemp(prefix="mlkit-test-podman-"))
    (folder / "containers.conf").write_text(CONFIGURATION)
    environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf")}
    url = f"unix://{folder}/socket"
    places = ("--root", folder / "data", "--runroot", folder / "run", "--storage-driver=vfs")
    command = [program, *places, "system", "service", "--time=0", url]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as service,
    ):
        try:
            wait_for(folder / "socket", service, folder / "log")
            yield {**os.environ, "DOCKER_HOST": url, "DOCKER_API_VERSION": "1.41"}
        finally:
            service.kill()
            service.wait()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def run(mlkit, podman):
    """Run `mlkit image`; return what its document says."""

    def call(*words, code=0):
        done = mlkit("image", *words, env=podman, timeout=300)
        if done.returncode != code and (refused := REFUSED.search(done.stderr)):
            pytest.xfail(f"Podman cannot run containers here: {refused[0]}")
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if "--json" in words else done.stdout

    return call


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a Dockerfile of one static program."""
    place = tmp_path / "context"
    place.mkdir()
    (place / "it.c").write_text(PROGRAM)
    subprocess.run(["cc", "-static", "-s", "-o", "it", "it.c"], cwd=place, check=True)
    (place / "manual").write_bytes(b"x" * 3_000_000)
    (place / "Dockerfile").write_text(DOCKERFILE)
    return place


def test_an_image_is_slimmed_proven_and_explained(run, folder, tmp_path):
    options = ("--no-explore", "-t", "it:slim", "--seccomp=p.json", "--sbom=bill.json")
    found = run("slim", folder, *options, *QUICK)
    assert (found["verdict"], found["gained"]) == ("equal", True)
    assert found["traced_by"] == "ptrace"
    assert json.loads((tmp_path / "p.json").read_text())["syscalls"]
    assert json.loads((tmp_path / "bill.json").read_text())["bomFormat"] == "CycloneDX"
    assert run("explain", "it:slim", "/it", "--json")["paths"][0]["reason"] == "entrypoint"
    assert run("diff", "it:slim", "it:slim", "--json")["changed"] == []
    assert run("sbom", "it:slim").startswith("{")


def test_images_and_containers_are_looked_into_and_nothing_is_left(run, podman, folder):
    run("base", "build", "static", "-t", "it-base:1", "--json")
    assert "it-base:1" in run("base", "list")
    url = podman["DOCKER_HOST"]
    with contextlib.closing(docker.DockerClient(base_url=url, version="1.41")) as client:
        image, _ = client.images.build(path=str(folder), rm=True, tag="it:1")
        compared = run("compare", "it:1", "it:1", "--no-explore", *QUICK)
        assert compared["verdict"] == "equal"
        raw = client.containers.run(image, ["/it", "x"], detach=True, network_mode="none")
        try:
            found = run("doctor", raw.id, "--watch=0", "--json", code=1)
            assert found["observed"]["process_1"] == "/it x"
            assert [each["code"] for each in found["findings"]] == ["pid1-signal"]
            assert "it" in run("debug", raw.id, "--", "ls", "/app").split()
        finally:
            raw.remove(force=True)
        assert run("clean", "--json")["removed"] == []
        assert client.containers.list(all=True, sparse=True) == []
