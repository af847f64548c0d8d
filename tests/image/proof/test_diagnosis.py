"""What a diagnosis says of an app that stops, or does not: runs are given, none is made."""

from __future__ import annotations

import pytest
from image.archives import Member, layer, saved

from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.proof.diagnosis import diagnose
from mlkit.image.run.inspector import Process
from mlkit.image.run.observation import Observation

TERM = 1 << 14


class Runs:
    """Has runs of an image ready: as it is, and with an init in front."""

    def __init__(self, alone, helped=None):
        self.alone, self.helped = alone, helped

    def run(self, image, argv, *, traced=False, init=False):
        assert not init or self.helped, "nothing asks for an init"
        return self.helped if init else self.alone


def diagnosed(tmp_path, alone, helped=None):
    """Return the codes and texts of the findings."""
    path = saved(tmp_path / "i.tar", layer(Member("app", "x")), config={"Cmd": ["/app"]})
    with open_image(path) as image:
        found = diagnose(Runs(alone, helped), take(image), "it", ["/app"])
    return {each.code: each.observed for each in found.findings}


def run(seconds, *, killed=False, caught=TERM, patience=10):
    """Return a run that was told to stop, and took some seconds."""
    app = Process(1, 0, "S", "0:0", caught)
    return Observation(app=app, stop=seconds, killed=killed, patience=patience)


def test_an_app_that_drains_within_its_limit_ignores_nothing(tmp_path):
    assert diagnosed(tmp_path, run(6.0)) == {}
    assert diagnosed(tmp_path, run(25.0, patience=30)) == {}


@pytest.mark.parametrize(
    ("caught", "text"),
    [(TERM, "it handles SIGTERM, and has not ended 10 s later"), (0, "it ignores SIGTERM")],
)
def test_an_app_that_has_to_be_killed_is_slow_or_deaf(tmp_path, caught, text):
    either = run(10.0, killed=True, caught=caught)
    assert diagnosed(tmp_path, either, either)["signal"].startswith(text)


def test_what_an_init_cures_is_called_so(tmp_path):
    deaf, helped = run(2.0, killed=True, caught=0), run(0.1, caught=0)
    assert "as process 1 it ignores SIGTERM" in diagnosed(tmp_path, deaf, helped)["pid1-signal"]
