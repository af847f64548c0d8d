"""Probes that are asked again and again while an app comes and goes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlkit.errors import UsageError
from mlkit.image.run.observation import Settings
from mlkit.image.run.probe import ASK, Answer, ask, parse


class Ending:
    """An app that ends between two looks at it, and says so last."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def state(self):
        self.looks -= 1
        running = self.looks >= 0
        return SimpleNamespace(running=running, exit_code=None if running else 0)

    def logs(self):
        return "" if self.looks >= 0 else "done\n"


@pytest.mark.parametrize("looks", range(6))
@pytest.mark.parametrize("text", ["exit:0", "log:^done$"])
def test_an_end_between_two_looks_is_not_missed(text, looks):
    app = Ending(looks)
    answer = ask(parse(text, []), app, app, 60.0)
    assert answer.held, answer.problem


class Talking(Ending):
    """A container that runs, with a log."""

    def __init__(self, log):
        super().__init__(1)
        self.log = log

    def logs(self):
        return self.log


@pytest.mark.parametrize(
    ("pattern", "log", "held"),
    [
        ("^done$", "begun\ndone\nend\n", True),
        ("^done$", "undone\n", False),
        ("bereit für [0-9]+ (?i)GÄSTE", "bereit für 12 Gäste \ufffd\n", True),
        ("(a+)+$", "a" * 50_000 + "b", False),  # A backtracking engine takes years.
    ],
)
def test_a_log_is_searched_line_by_line_in_linear_time(pattern, log, held):
    app = Talking(log)
    assert ask(parse(f"log:{pattern}", []), app, app, 0.0).held is held


@pytest.mark.parametrize("pattern", ["(", "a(?=b)", "(a)\\1"])
def test_a_log_pattern_that_re2_does_not_have_is_a_usage_error(pattern):
    with pytest.raises(UsageError, match="--probe log:"):
        parse(f"log:{pattern}", [])


@pytest.mark.parametrize(("wanted", "status"), [("", 200), ("=200", 200), ("=503", 503)])
def test_a_server_that_is_not_ready_yet_is_asked_again(monkeypatch, wanted, status):
    states = iter((503, 503, 200))

    def once(probe, app, relay):
        found = next(states)
        return Answer(probe.text, probe.expected in {None, found}, found)

    monkeypatch.setitem(ASK, "http", once)
    app = Ending(1000)
    assert ask(parse(f"http:/{wanted}", []), app, app, 60.0).status == status


def test_another_exit_code_is_told():
    app = Ending(1)
    answer = ask(parse("exit:3", []), app, app, 60.0)
    assert not answer.held
    assert answer.problem == "exit code 0"


def test_a_result_may_take_longer_than_its_original_took():
    settings = Settings(patience=20)
    assert settings.for_one_that_took(19).patience == 57
    assert settings.for_one_that_took(0.5).patience == 20
