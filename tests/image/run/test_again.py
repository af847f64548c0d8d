"""What another client of the engine disturbs is tried again, without an engine."""

from __future__ import annotations

import pytest
from docker.errors import APIError, NotFound

from mlkit.image.run import again
from mlkit.image.run.engine import engine
from mlkit.image.run.engine.container import remove_made


class Thing:
    """A network that others hold for some attempts to remove it."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.attempts = 0

    def remove(self) -> None:
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)


def fail(times, seen):
    def act():
        seen.append(1)
        if len(seen) <= times:
            raise KeyError
        return "done"

    return act


def insist(act):
    return again.insist(act, lambda error: isinstance(error, KeyError), seconds=-1.0, pause=0.0)


def test_a_long_attempt_that_is_disturbed_is_followed_by_others():
    assert insist(fail(3, [])) == "done"
    seen = []
    with pytest.raises(KeyError):
        insist(fail(9, seen))
    assert len(seen) == 4


@pytest.mark.parametrize(
    "text",
    [
        "removal of container 12 is already in progress",
        "error while removing network: network n id 12 has active endpoints",
        "remove v: volume is in use - [12]",
    ],
)
def test_what_others_still_hold_is_removed_when_they_have_left_it(text):
    thing = Thing(APIError(text), APIError(text))
    assert remove_made(thing)
    assert thing.attempts == 3


@pytest.mark.parametrize(
    "error", [APIError("server error"), APIError("not allowed"), NotFound("gone")]
)
def test_what_is_refused_for_another_reason_is_not_tried_again_nor_said_to_be_removed(
    monkeypatch, error
):
    removed, kept = Thing(), Thing(error)
    left = [
        (name, engine._Left(lambda: None, lambda thing=thing: remove_made(thing)))
        for name, thing in (("network a", removed), ("network b", kept))
    ]
    client = engine.Engine.__new__(engine.Engine)
    monkeypatch.setattr(client, "_left", lambda wanted: iter(left))
    assert client.clean() == ["network a"]
    assert kept.attempts == 1
