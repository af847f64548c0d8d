"""The page of `mlkit bandit evaluate --report`: whole, without scripts, and safe to open."""

import html.parser
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mlkit.bandit.report import charts

HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "link", "br", "hr", "img", "input", "col"}


class Outline(html.parser.HTMLParser):
    """The elements of a page, checked to be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        if tag not in VOID and tag != "path":
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID and tag != "path":
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def log(tmp_path):
    """Write a log with times, positions, and an arm whose name is a script."""
    chance = np.random.default_rng(1)
    lines = ["arm,reward,propensity,position,time,q"]
    for n in range(300):
        arm = [HOSTILE, "b", "c"][n % 3]
        reward = int(chance.random() < 0.2)
        lines.append(f"{arm},{reward},0.3333,{n % 2 + 1},2026-11-{n // 20 + 1:02}T10:00:00,0.25")
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_page_shows_every_policy_with_its_pictures(mlkit, log, tmp_path):
    done = mlkit(
        "bandit", "evaluate", log, "--policy", "uniform", "--against", "column:q",
        "--report", "page.html", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "wrote page.html" in done.stderr
    text = (tmp_path / "page.html").read_text()
    page = Outline(text)
    assert "script" not in page.seen
    assert HOSTILE in page.text
    assert page.seen.count("section") == 2
    # Four pictures for each policy, each for a desk and for a phone.
    assert page.seen.count("svg") == 16
    assert "doubly robust" in page.text
    assert "uniform minus this policy, from the same bootstrap samples" in page.text
    assert "2026-11-02" in page.text  # the axis of time
    assert "http" not in text.replace("http-equiv", "")


def test_a_page_that_cannot_be_written_is_refused_before_any_work(mlkit, tmp_path):
    for target, code in (("-", 2), ("nowhere/page.html", 66), (".", 2)):
        done = mlkit("bandit", "evaluate", "no.csv", "--policy", "uniform", "--report", target)
        assert done.returncode == code
        assert "--report" in done.stderr


@pytest.mark.parametrize(
    "weight",
    [
        np.array([1.0, 1.0, 1.0]),
        np.array([0.0, 5e-324, 1e300]),
        np.array([0.5]),
    ],
)
def test_weights_of_any_size_are_drawn(weight):
    assert_drawn(charts.weights(weight))
    assert_drawn(charts.over_time(np.zeros(len(weight)), weight, None))
    assert_drawn(charts.over_time(np.ones(len(weight)), weight, np.full(len(weight), 1e300)))


def test_a_policy_that_never_does_what_the_log_did_has_no_weights_to_draw():
    assert charts.weights(np.zeros(4)) is None


def assert_drawn(markup):
    """Check that a picture is well-formed and has finite coordinates."""
    for part in str(markup).split("<div")[1:]:
        text = "<div" + part
        ET.fromstring(text)
        assert "nan" not in text
        assert "inf" not in text
