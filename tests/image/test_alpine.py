"""Slimming of an image with musl, busybox and packages of apk, by a real Docker Engine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess

import docker
import pytest
from image import alpine

pytestmark = pytest.mark.slow
NAME = f"mlkit-test-alpine-{os.getpid()}"
QUICK = ("--probe", "http:8000/", "--watch", "1", "--patience", "60", "--no-explore")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Return the archive of an image as Alpine makes them."""
    return alpine.make(tmp_path_factory.mktemp("alpine"))


def test_routes_that_nobody_probed_work_and_scanners_see_the_packages(
    engine, mlkit, need_program, archive, tmp_path
):
    try:
        done = mlkit("image", "slim", archive, "-t", NAME, *QUICK, "--json",
                     timeout=500)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(done.stdout)
        assert told["verdict"] == "equal"
        assert told["base"] == "(of the image)"
        assert told["size"]["after"] < told["size"]["before"] - (1 << 20)
        with contextlib.closing(docker.from_env()) as client:
            said = client.containers.run(NAME, ["/www/cgi-bin/late"], remove=True).decode()
        assert said.endswith("\r\n\r\ninner paint nobody\nbbc\ncolour=red\n")
        with (tmp_path / "image.tar").open("wb") as file:
            engine.save(NAME, file)
    finally:
        engine.remove_image(NAME)
    quiet = {"SYFT_CHECK_FOR_APP_UPDATE": "false", "HOME": str(tmp_path)}
    command = [need_program("syft"), "scan", f"docker-archive:{file.name}", "-q", "-o", "json"]
    scanned = subprocess.run(command, capture_output=True, check=True, env=os.environ | quiet)
    found = json.loads(scanned.stdout)
    packages = {each["name"] for each in found["artifacts"] if each["type"] == "apk"}
    assert found["distro"]["id"] == "alpine"
    assert set(told["packages"]["kept"]) <= packages
    assert {"musl", "busybox", "libpaint", "alpine-baselayout-data"} <= packages
    assert "jq" not in packages
