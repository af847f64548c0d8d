"""Marks of runs: whether who made a container is still at work."""

from __future__ import annotations

import subprocess
import sys

from mlkit.image.run import owner


def test_a_run_is_known_as_long_as_it_goes_on():
    assert owner.goes_on(owner.mark())
    assert owner.mark() != owner.mark()
    code = "from mlkit.image.run import owner; print(owner.mark())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().count("-") == 3
    assert not owner.goes_on(done.stdout.strip())


def test_another_process_of_the_same_number_and_other_machines_are_told_apart():
    machine, pid, start, _ = owner.mark().split("-")
    assert not owner.goes_on(f"{machine}-{pid}-{int(start) + 1}-0")
    assert not owner.goes_on(f"{machine[::-1]}x-{pid}-{start}-0")
    for word in ("", "killed", "a-b-c", f"{machine}-", f"{machine}--", f"{machine}-99999999--0"):
        assert not owner.goes_on(word)
