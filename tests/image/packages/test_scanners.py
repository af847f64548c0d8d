"""What scanners say of a result: syft and container-structure-test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SERVER = Path(__file__).parents[1] / "apps" / "plain.py"
NAME = f"mlkit-test-scanned-{os.getpid()}"
STRUCTURE = {
    "schemaVersion": "2.0.0",
    "metadataTest": {
        "exposedPorts": ["8000"],
        "cmd": ["python3", "/srv/plain.py"],
        "workdir": "/srv",
        "user": "nobody",
        "envVars": [{"key": "NAME", "value": "a b"}],
        "labels": [{"key": "org.opencontainers.image.base.name", "value": NAME}],
    },
    "fileExistenceTests": [
        {"name": "app", "path": "/srv/plain.py", "shouldExist": True, "permissions": "-rwxr-xr-x"},
        {"name": "shell", "path": "/bin/sh", "shouldExist": False},
        {"name": "temporary", "path": "/tmp", "shouldExist": True, "permissions": "dtrwxrwxrwx"},
        {"name": "release", "path": "/etc/os-release", "shouldExist": True},
    ],
    "commandTests": [
        {"name": "late", "command": "python3", "expectedOutput": ["^42"],
         "args": ["-c", "import http.server, socket; print(6 * 7)"]},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def slimmed(engine, debian, tmp_path_factory):
    """Slim an image, and give what slim said and the result's name."""
    folder = tmp_path_factory.mktemp("scanned")
    (folder / "plain.py").write_bytes(SERVER.read_bytes())
    (folder / "plain.py").chmod(0o755)
    (folder / "Dockerfile").write_text(
        f"FROM {debian}\nWORKDIR /srv\nENV NAME='a b'\nCOPY plain.py /srv/\nUSER nobody\n"
        'EXPOSE 8000\nCMD ["python3", "/srv/plain.py"]\n'
    )
    name = NAME
    engine.build(folder, name)
    command = [sys.executable, "-m", "mlkit", "image", "slim", name, "--watch=1", "--json"]
    command += ["--patience=60"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    yield json.loads(done.stdout), f"{name}-slim"
    for each in (name, f"{name}-slim"):
        engine.remove_image(each)


def test_syft_sees_every_package_of_which_a_file_was_kept(slimmed, engine, need_program, tmp_path):
    said, name = slimmed
    with (tmp_path / "image.tar").open("wb") as file:
        engine.save(name, file)
    quiet = {"SYFT_CHECK_FOR_APP_UPDATE": "false", "HOME": str(tmp_path)}
    command = [need_program("syft"), "scan", f"docker-archive:{file.name}", "-q", "-o", "json"]
    done = subprocess.run(command, capture_output=True, check=True, env=os.environ | quiet)
    found = json.loads(done.stdout)
    packages = {each["name"]: each for each in found["artifacts"] if each["type"] == "deb"}
    assert set(said["packages"]["kept"]) <= set(packages)
    assert found["distro"]["id"] == "debian"
    files = packages["libc6"]["metadata"]["files"]
    assert "/lib/x86_64-linux-gnu/libc.so.6" in {each["path"] for each in files}
    assert all(each["digest"] for each in files)


def test_container_structure_test_passes(slimmed, need_program, tmp_path):
    _, name = slimmed
    (tmp_path / "tests.json").write_text(json.dumps(STRUCTURE))
    command = [need_program("container-structure-test"), "test", "--image", name]
    command += ["--config", tmp_path / "tests.json", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["Fail"] == 0
