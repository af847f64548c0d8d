"""Each finding and difference is one sentence, with its cure where something is worse."""

from __future__ import annotations

import pytest

from mlkit.image.report.sentences import of_difference, of_finding


def test_a_finding_has_its_cure():
    finding = {"code": "root", "observed": "it runs as root", "cure": "USER 65532"}
    assert of_finding(finding) == "it runs as root; USER 65532"


@pytest.mark.parametrize(
    ("what", "cure"),
    [
        ("probe http:8000/", "--include"),
        ("probe http:8000/: body", "--include"),
        ("ready time", "compare again"),
        ("zombies", "init in front"),
        ("variable TOKEN", "config"),
        ("under seccomp: probe http:8000/", "profile allows it"),
        ("certificates", "--profile safe"),
        ("run --help: output", "--profile safe"),
    ],
)
def test_what_is_worse_has_a_cure(what, cure):
    said = of_difference({"what": what, "original": "a", "candidate": "b", "effect": "broken"})
    assert said.startswith(f"{what}: a -> b; ")
    assert cure in said


def test_what_is_no_worse_needs_no_cure():
    better = {"what": "zombies", "original": "2", "candidate": "0", "effect": "improved"}
    assert of_difference(better) == "zombies: 2 -> 0"
    lost = {"what": "failed look-up", "original": "there", "candidate": "/x", "effect": "noted"}
    assert of_difference(lost) == (
        "failed look-up: there -> /x; if the app needs it, keep it by --include"
    )
