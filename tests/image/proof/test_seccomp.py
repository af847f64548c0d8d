"""A seccomp profile of a result: what it allows, and that the result runs under it."""

from __future__ import annotations

import contextlib
import json
import subprocess

import docker
import pytest

from mlkit.errors import BadData, ServiceUnavailable
from mlkit.image.proof.seccomp import FOREIGN, KINDS, Prover, list_allowed, profile
from mlkit.image.run.trace import Trace, read_document, read_lines

SHARING = """#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
static int share(void) {  /* Docker's own profile allows it */
  int id = shmget(IPC_PRIVATE, 4096, 0600);
  puts(id >= 0 ? "shared" : strerror(errno));
  return id >= 0 ? shmctl(id, IPC_RMID, NULL) : 3;
}
int main(int count, char** words) {
  char line[256];
  FILE* file = fopen("/proc/self/status", "r");
  puts("done");
  if (count > 1 && strcmp(words[1], "always") == 0) return share();
  while (count > 1 && file && fgets(line, sizeof line, file))  /* "hidden": nobody traces it */
    if (sscanf(line, "TracerPid: %d", &count) == 1) return count == 0 ? share() : 0;
  return 0;
}
"""


def test_what_was_seen_is_allowed_with_its_kin():
    quiet, busy = list_allowed([]), list_allowed(["openat", "sendto"])
    assert {"execve", "exit_group", "futex", "openat2", "clone3"} <= set(quiet)
    assert not {"socket", "mount", "ptrace", "bpf", "keyctl", "unshare", "reboot"} & set(quiet)
    assert {"socket", "recvmsg", "accept4"} <= set(busy)
    assert busy == sorted(set(busy))
    assert "mount" in list_allowed(["mount"])


def test_no_call_is_of_two_kinds():
    names = [name for each in KINDS for name in each.split()]
    assert len(names) == len(set(names))


def test_a_profile_is_what_engines_read():
    found = profile(["read"], "arm64")
    assert found["defaultAction"] == "SCMP_ACT_ERRNO"
    assert found["architectures"] == ["SCMP_ARCH_AARCH64"]
    (rule,) = found["syscalls"]
    assert rule["action"] == "SCMP_ACT_ALLOW"


@pytest.mark.parametrize(("calls", "architecture"), [([FOREIGN], "amd64"), (["read"], "riscv64")])
def test_calls_of_another_architecture_have_no_profile(calls, architecture):
    with pytest.raises(BadData, match="another architecture"):
        profile(calls, architecture)


def test_calls_are_part_of_a_trace():
    trace = read_lines(["call read", "open /a", "call write"]) | read_lines(["call close"])
    assert trace.calls == {"read", "write", "close"}
    assert read_document(trace.document()) == trace
    earlier = {name: value for name, value in trace.document().items() if name != "calls"}
    assert read_document(earlier).calls == frozenset()
    with pytest.raises(ValueError, match="calls"):
        read_document(trace.document() | {"calls": [1]})


def test_without_ptrace_there_is_no_profile():
    prover = Prover(None, "image", ["/app"], [])
    with pytest.raises(ServiceUnavailable, match="needs ptrace"):
        prover.prove(Trace(method="fanotify"), [], lambda: None)


@pytest.fixture(scope="module")
def sharing(build, tmp_path_factory):
    """Return an image of a program that shares memory only where it is told to."""
    folder = tmp_path_factory.mktemp("c")
    (folder / "share.c").write_text(SHARING)
    subprocess.run(["cc", "-static", "-s", "-o", folder / "it", folder / "share.c"], check=True)
    text = 'FROM scratch\nCOPY it /it\nCOPY manual /usr/share/doc/manual\nENTRYPOINT ["/it"]\n'
    return build(text, it=(folder / "it").read_bytes(), manual=b"x" * 5_000_000)


@pytest.mark.slow
def test_a_result_runs_under_its_profile_and_what_was_not_seen_is_refused(
    mlkit, engine, sharing, tmp_path
):
    options = ("--probe=exit:0", "--watch=0", "--no-explore", "--seccomp=p.json", "--json")
    done = mlkit("image", "slim", sharing, "-t", f"{sharing}-slim", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] == "equal"
    written = (tmp_path / "p.json").read_text()
    assert json.loads(written)["syscalls"][0]["names"] == found["seccomp"]["allowed"]

    def said(*words, **more):
        with contextlib.closing(docker.from_env()) as client:
            return client.containers.run(f"{sharing}-slim", list(words), remove=True, **more)

    under = {"security_opt": [f"seccomp={written}"]}
    assert said("always") == b"done\nshared\n"
    assert said(**under) == b"done\n"
    with pytest.raises(docker.errors.ContainerError, match="exit status 3"):
        said("always", **under)


@pytest.mark.slow
def test_a_profile_that_breaks_the_result_is_not_written(mlkit, build, sharing, tmp_path):
    hidden = build(f'FROM {sharing}\nCMD ["hidden"]\n')
    options = ("--probe=exit:0", "--watch=0", "--no-explore", "--seccomp=p.json", "--json")
    done = mlkit("image", "slim", hidden, *options)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] == "broken"
    broken = [each["what"] for each in found["differences"] if each["effect"] == "broken"]
    assert "under seccomp: ending" in broken
    assert all(each.startswith("under seccomp: ") for each in broken)
    assert not (tmp_path / "p.json").exists()
