"""The launcher: what it makes of a line is what the shell makes of it."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlkit.image.command.entrypoint import parse
from mlkit.image.command.launch import guess, suffices
from mlkit.image.run.trace import tool

VALUES = st.text("ab -'\"$:=", max_size=6)
TEXTS = st.text("a-b/:=%", min_size=1, max_size=3)
VARIABLES = st.sampled_from(["$A", "${A}", "$B", "${B:-b/c}", "${C-x}", "${C:-y:1}", "$C"])
PIECES = st.one_of(
    TEXTS,
    VARIABLES,
    st.text("a $'\"=", max_size=4).map(lambda text: "'" + text.replace("'", "") + "'"),
    st.lists(TEXTS | VARIABLES | st.just(" "), max_size=3).map(lambda parts: f'"{"".join(parts)}"'),
)
WORDS = st.lists(PIECES, min_size=1, max_size=3).map("".join)


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    """Return the launcher."""
    path = tmp_path_factory.mktemp("launch") / "launch"
    path.write_bytes(tool("launch"))
    path.chmod(0o755)
    return path


def run(command, environment):
    settings = {"capture_output": True, "text": True, "check": False}
    return subprocess.run(command, env={"PATH": "/usr/bin:/bin"} | environment, **settings)


@pytest.mark.parametrize("shell", ["dash", "bash"])
@settings(max_examples=50)
@given(st.data())
def test_it_starts_what_the_shell_starts(launcher, shell, data):
    words = data.draw(st.lists(WORDS, max_size=4))
    environment = data.draw(st.fixed_dictionaries({"A": VALUES}, optional={"B": VALUES}))
    blank = data.draw(st.sampled_from([" ", "  ", "\t"]))
    line = blank.join(["exec printf '<%s>'", *words])
    assume(suffices(line, environment))
    theirs = run([shell, "-c", line], environment)
    ours = run([launcher, line], environment)
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)


@pytest.mark.parametrize(
    ("line", "code"),
    [("exec $NOTHING", 0), ("no-such-program $X", 127), ("/etc/passwd $X", 126), ('sh -c "$X"', 7)],
)
def test_it_ends_as_the_shell_does(launcher, line, code):
    for command in (["dash", "-c", line], [launcher, line]):
        assert run(command, {"X": "exit 7"}).returncode == code


@pytest.mark.parametrize(
    "line",
    [
        *("a $1", "a $@", 'a "$(b)"', "a `b`", "a $((1))", "a ${B:+c}", "a ${B:-$C}", "a \\$B"),
        *("a $'b'", "a {b,c}", "a b | c", "a\nb", "A=$B c", "$B c", "cd $B", "exec -a b $C"),
        *("'a' $", 'a "$B', "a ~/$B", "a # $B", "exec", "", "a $PATTERN"),
    ],
)
def test_it_does_not_stand_in_for_more(line):
    assert not suffices(line, {"PATTERN": "*.py"})


def test_a_quoted_pattern_is_no_pattern():
    assert suffices('a "$PATTERN"', {"PATTERN": "*.py"})


def test_a_value_of_the_image_is_for_the_closure_only():
    line = "exec gunicorn --bind=0.0.0.0:${PORT:-80} $MODULE"
    config = {"Entrypoint": ["/bin/sh", "-c", line], "Cmd": ["x"], "Env": ["MODULE=app.main"]}
    command = parse(config)
    assert command.argv == ("/mlkit-launch", line)
    assert command.words == ("gunicorn", "--bind=0.0.0.0:80", "app.main")
    assert guess("a $B", {"B": "'"}) == ()
