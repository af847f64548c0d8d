"""Entrypoint scripts: what the launcher makes of them is what a shell makes of them."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from image.archives import Member, layer, saved

from mlkit.image.command.entrypoint import parse
from mlkit.image.command.script import translate, without_shell
from mlkit.image.filesystem.archive import open_image
from mlkit.image.filesystem.inventory import take
from mlkit.image.run.trace import tool

SHOW = """#!/bin/sh
printf '<%s>' "$@"
for name in A B C; do eval "printf '[%s=%s]' $name \\"\\${$name-unset}\\""; done
"""
NAMES = st.sampled_from("ABC")
WORDS = st.sampled_from(
    ["x", "'a $b'", '"$A"', '"$A/$B"', "${B:-d}", '"${C:-e f}"', "x$A", '""', "$B", '"x y"', "-v"]
)
STATEMENTS = st.one_of(
    st.builds("{}={}".format, NAMES, WORDS),
    st.builds("export {}={}".format, NAMES, WORDS),
    st.builds("export {}".format, NAMES),
    st.builds(': "${{{}:=f}}"'.format, NAMES),
    st.builds("{}={} {}={}".format, NAMES, WORDS, NAMES, WORDS),
    st.sampled_from(["", "# a comment; it's odd $(", "set -e", "set -eu"]),
)
STARTS = st.lists(WORDS | st.just('"$@"'), max_size=4).map(lambda words: " ".join(words))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the launcher, and a program that shows what it was started with."""
    path = tmp_path_factory.mktemp("script")
    (path / "launch").write_bytes(tool("launch"))
    (path / "show").write_text(SHOW)
    for name in ("launch", "show"):
        (path / name).chmod(0o755)
    return path


def run(command, environment):
    environment = {"PATH": "/usr/bin:/bin"} | environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shell", ["dash", "bash"])
@settings(max_examples=50)
@given(st.data())
def test_it_does_what_the_shell_does(folder, shell, data):
    lines = data.draw(st.lists(STATEMENTS, max_size=6))
    text = "\n".join(["#!/bin/sh", *lines, f"exec {folder}/show {data.draw(STARTS)}", "never"])
    values = st.text("ab -'\"$:=", max_size=5)
    environment = data.draw(st.fixed_dictionaries({}, optional={"A": values, "B": values}))
    arguments = tuple(data.draw(st.lists(values, max_size=3)))
    script = translate("/e.sh", text, environment, arguments)
    assume(script.text)
    (folder / "e.sh").write_text(text)
    theirs = run([shell, folder / "e.sh", *arguments], environment)
    ours = run([folder / "launch", "-script", script.text, *arguments], environment)
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout), script.text


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\nset -eu\nexport A=1 B='x y'\n: ${PORT:=8000}\nexec app -p \"$PORT\" \"$@\"\n",
        '#!/usr/bin/env bash\nset -euo pipefail\n\n# start\nexec "$@"\n',
        "#!/bin/bash -e\n  A=$HOME/x\n  export A\n  exec app",
    ],
)  # fmt: skip
def test_usual_scripts_are_translated(text):
    assert translate("/e.sh", text, {"HOME": "/root"}).text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("#!/bin/sh\napp &\nexec app", "line 2: app &"),
        ("#!/bin/sh\nA=$(date)\nexec app", "line 2"),
        ('#!/bin/sh\nif [ -n "$A" ]; then\nexec app\nfi', "line 2"),
        ("#!/bin/sh\ncd /srv\nexec app", "line 2"),
        ("#!/bin/sh\nmkdir -p /x\nexec app", "line 2"),
        ("#!/bin/sh\nexec app $@", "line 2"),
        ('#!/bin/sh\nexec app x"$@"', "line 2"),
        ("#!/bin/sh\nexec app > /log", "line 2"),
        ("#!/bin/sh\nexport A=$B\nexec app", "line 2"),
        ("#!/bin/sh\nIFS=:\nexec app", "line 2"),
        ("#!/bin/sh\nexec app $PWD", "line 2"),
        ('#!/bin/sh\nset -u\nexec app "$UNSET"', "line 3"),
        ("#!/bin/sh\nset -x\nexec app", "line 2"),
        ("#!/bin/sh -x\nexec app", "line 1"),
        ("#!/bin/sh\r\nexec app\r\n", "line 2"),
        ("#!/bin/sh\nA=1\n", "does not end with exec"),
        ("#!/bin/sh\napp", "line 2"),
        ("#!/bin/sh\nA=~/x\nexec app", "line 2"),
        ("#!/bin/sh\nexec app \\\n  -v", "line 2"),
        ("#!/bin/sh\nexec -a x app", "line 2"),
        ("#!/bin/sh\nA=1 app", "line 2"),
        ("#!/bin/sh\nexec app *.txt", "line 2"),
    ],
)  # fmt: skip
def test_scripts_that_do_more_keep_their_shell(text, problem):
    script = translate("/e.sh", text, {})
    assert script.text == ""
    assert problem in script.problem


SCRIPT = '#!/bin/sh\nexport A=1\nexec python3 "$@"\n'  # fmt: skip


@pytest.mark.parametrize(
    ("config", "entrypoint", "arguments"),
    [
        ({"Entrypoint": ["/e.sh"], "Cmd": ["app.py"]}, ["L"], ["app.py"]),
        ({"Entrypoint": ["/e.sh", "-v"]}, ["L", "-v"], []),
        ({"Cmd": ["e.sh", "app.py"], "Env": ["PATH=/"]}, [], ["L", "app.py"]),
        ({"Entrypoint": ["sh", "/e.sh"], "Cmd": ["app.py"]}, ["L"], ["app.py"]),
        ({"Entrypoint": ["tini", "--", "/e.sh"], "Cmd": ["x"]}, ["tini", "--", "L"], ["x"]),
        ({"Entrypoint": ["tini", "--"], "Cmd": ["/e.sh", "x"]}, ["tini", "--"], ["L", "x"]),
        ({"Entrypoint": ["sh"], "Cmd": ["/e.sh"]}, ["sh"], ["/e.sh"]),
        ({"Entrypoint": ["sh", "-c", "/e.sh"]}, ["/e.sh"], []),
        ({"Entrypoint": ["/other"]}, ["/other"], []),
    ],
)
def test_the_script_s_place_in_the_command_is_kept(tmp_path, config, entrypoint, arguments):
    members = [Member("e.sh", SCRIPT, mode=0o755), Member("other", "#!/usr/bin/python3\n")]
    with open_image(saved(tmp_path / "i.tar", layer(*members), config=config)) as image:
        command, script = without_shell(take(image), parse(config))
    ours = ["/mlkit-launch", "-script", 'export A=1\nexec python3 "$@"']

    def expanded(words):
        return tuple(each for word in words for each in (ours if word == "L" else [word]))

    if config["Entrypoint" if "Entrypoint" in config else "Cmd"] == ["sh", "-c", "/e.sh"]:
        assert script is not None
        assert command.entrypoint == tuple(ours)
        return
    assert command.entrypoint == expanded(entrypoint)
    assert command.arguments == expanded(arguments)
    if "L" in entrypoint:
        assert command.words[-1 - len(arguments)] in {"python3", "-v"} or arguments


@pytest.mark.slow
def test_a_script_is_gone_or_keeps_its_shell_and_says_so(mlkit, build, debian):
    app = "import os, sys; print(sys.argv, os.environ['GREETING'], os.getpid())"
    text = f'FROM {debian}\nCOPY e.sh /e.sh\nCOPY app.py /srv/app.py\nENTRYPOINT ["/e.sh"]\n'
    text += 'CMD ["python3", "/srv/app.py", "a b"]\n'
    simple = '#!/bin/sh\nset -e\n: "${GREETING:=hello}"\nexport GREETING\nexec "$@"\n'
    needed = '#!/bin/sh\nif true; then export GREETING=hello; fi\nexec "$@"\n'
    for start, kept in ((simple, False), (needed, True)):
        name = build(text, e_sh=start, app_py=app)
        done = mlkit("image", "slim", name, "--probe=exit:0", "--watch=0.5", "--json", timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert found["verdict"] == "equal"
        assert ("usr/bin/dash" in found["kept"]) is kept
        assert ("/mlkit-launch" in found["command"]) is not kept
        (said,) = [each for each in found["notes"] if each["code"] == "shell-script"]
        assert ("needs its shell (line 2: if true" in said["observed"]) is kept
