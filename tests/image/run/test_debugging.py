"""A shell beside a container that has none, with a real Docker Engine."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time

import docker
import pytest

pytestmark = pytest.mark.slow
PAUSE = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"


@pytest.fixture(scope="module")
def bare(build, tmp_path_factory):
    """Return an image that holds one static program and a secret of root's."""
    folder = tmp_path_factory.mktemp("c")
    (folder / "pause.c").write_text(PAUSE)
    subprocess.run(["cc", "-static", "-o", folder / "pause", folder / "pause.c"], check=True)
    text = (
        'FROM scratch\nCOPY --chown=7:7 note /srv/note\nCOPY pause /pause\nUSER 7\nCMD ["/pause"]\n'
    )
    return build(text, pause=(folder / "pause").read_bytes(), note="for you\n")


@pytest.fixture
def container(bare):
    """Run it, and return its name."""
    with contextlib.closing(docker.from_env()) as client:
        raw = client.containers.run(bare, detach=True, network_mode="none")
        yield raw.name
        raw.remove(force=True)


def test_a_command_sees_the_files_and_processes_of_the_container(mlkit, container):
    done = mlkit("image", "debug", container, "--", "sh", "-c", "cat /app/srv/note; ps; exit 7")
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("for you\n")
    assert "/pause" in done.stdout
    missing = mlkit("image", "debug", container, "--", "cat", "/app/nowhere")
    assert missing.returncode == 1
    assert missing.stdout == ""
    assert "nowhere" in missing.stderr


def test_a_shell_reads_what_a_pipe_holds(mlkit, container):
    done = mlkit("image", "debug", container, input="echo one\nexit 3\n")
    assert (done.stdout, done.returncode) == ("one\n", 3)


def test_a_person_has_a_terminal(container):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mlkit", "image", "debug", container]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, b"stty size; tty; exit 5\r")
        said, until = b"", time.monotonic() + 180
        while process.poll() is None and time.monotonic() < until:
            if select.select([ours], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    said += os.read(ours, 4096)
        if process.poll() is None:
            process.kill()
    os.close(ours)
    assert process.returncode == 5, said
    assert b"/dev/pts/" in said


def test_what_is_no_running_container_is_refused(mlkit, bare):
    assert mlkit("image", "debug", "mlkit-test-none").returncode == 66
    with contextlib.closing(docker.from_env()) as client:
        for options in ({"pid_mode": "host"}, {}):
            raw = client.containers.create(bare, **options)
            try:
                if options:
                    raw.start()
                done = mlkit("image", "debug", raw.name)
            finally:
                raw.remove(force=True)
            assert done.returncode == 65
            assert "process namespace" in done.stderr or "not running" in done.stderr
