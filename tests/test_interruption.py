"""Signals: they stop a command, and never in the middle of a step that must be whole."""

from __future__ import annotations

import contextlib
import signal

import pytest

from mlkit.errors import Interrupted
from mlkit.interruption import stoppable, whole

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def nothing_ignored():
    """Take the signals as in a terminal: `nohup` and background jobs ignore some."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in NUMBERS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_stops_with_the_exit_code_that_shells_give_it(number):
    with pytest.raises(Interrupted) as stopped, stoppable():
        signal.raise_signal(number)
    assert stopped.value.exit_code == 128 + number


def test_a_step_that_must_be_whole_is_finished_first():
    done = []

    @stoppable()
    def work():
        with whole():
            with whole():
                signal.raise_signal(signal.SIGTERM)
                done.append("inner")
            done.append("outer")
        done.append("after")

    with pytest.raises(Interrupted):
        work()
    assert done == ["inner", "outer"]


def test_each_further_signal_finds_a_whole_step_too():
    done = []

    @whole()
    def remove(name):
        signal.raise_signal(signal.SIGINT)
        done.append(name)

    @stoppable()
    def work():
        with contextlib.ExitStack() as stack:
            stack.callback(remove, "second")
            stack.callback(remove, "first")
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        work()
    assert done == ["first", "second"]


def test_what_was_ignored_stays_ignored_and_the_handlers_come_back():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    own = signal.getsignal(signal.SIGTERM)
    try:
        with stoppable():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) is not own
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGHUP, before)
