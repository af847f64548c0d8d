"""What `mlkit bpmn run` shows on a terminal while it runs."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

SCRIPT = "import time; print('first step'); print('\\x1b[31mred'); time.sleep(1.2)"


def on_a_terminal(arguments, directory, answers=(), **environment):
    """Run a command with a terminal of its own; give what it printed, and its exit code."""
    ours, theirs = pty.openpty()
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    command = [sys.executable, "-m", "mlkit", "bpmn", *arguments]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=settings, cwd=directory
    ) as child:
        os.close(theirs)
        os.write(ours, "".join(f"{each}\n" for each in answers).encode())
        text = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the terminal is gone: the child has ended
                break
            if not part:
                break
            text += part
    os.close(ours)
    return text.decode(), child.returncode


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_nodes_appear_as_they_start_and_finish_with_the_output_of_the_script(tmp_path, diagram):
    body = '<startEvent id="s" name="Begin"/><endEvent id="e" name="Over"/>'
    body += f'<scriptTask id="w" name="Slow work"><script>{SCRIPT}</script></scriptTask>'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>w w>e"))
    printed, code = on_a_terminal(["run", "p.bpmn"], tmp_path)
    assert code == 0
    assert "\x1b[31mred" not in printed
    text = plain(printed)
    places = [
        text.index(each)
        for each in ("✔ Begin", "▶ Slow work", "    first step", "✔ Slow work", "✔ Over")
    ]
    assert places == sorted(places)
    assert re.search(r"✔ Slow work  \d\.\d s", text)
    assert text.rstrip().endswith("completed")


def test_without_colour_or_quiet_it_holds_back(tmp_path, diagram):
    body = '<startEvent id="s"/><scriptTask id="w"><script>x = 1</script></scriptTask>'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>w"))
    coloured = re.compile(r"\x1b\[3\d")
    assert coloured.search(on_a_terminal(["run", "p.bpmn"], tmp_path)[0])
    assert not coloured.search(on_a_terminal(["run", "p.bpmn"], tmp_path, NO_COLOR="1")[0])
    assert "✔" not in on_a_terminal(["run", "p.bpmn", "--json"], tmp_path)[0]
