"""The user's own test command, with a real Docker Engine."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow
QUICK = ("--watch", "1", "--patience", "60", "--json")
SERVER = """
import http.server, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        if self.path == "/late":
            import decimal
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201 if self.headers["X-Key"] == "k" else 403)
        self.end_headers()
        self.wfile.write(body[::-1])
    def log_message(self, *arguments):
        pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.HTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"""
CLIENT = """
import os, urllib.request
url = "http://{MLKIT_HOST}:{MLKIT_PORT_8000}/late".format(**os.environ)
request = urllib.request.Request(url, data=b"x" * 300_000, headers={"X-Key": "k"})
assert len(urllib.request.urlopen(request).read()) == 300_000
"""
PROBES = """
[[probe]]
http = "/now"
method = "POST"
headers = { X-Key = "k" }
body = "abc"
status = 201
"""


def document(done, code=0):
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def served(build, debian):
    """Return a server that listens on the container's loopback only."""
    text = f'FROM {debian}\nCOPY app.py /srv/app.py\nEXPOSE 8000\nCMD ["python3", "/srv/app.py"]\n'
    return build(text, app_py=SERVER)


def test_a_command_is_traced_with_and_judges_the_result(mlkit, engine, served, tmp_path):
    (tmp_path / "probes.toml").write_text(PROBES)
    (tmp_path / "client.py").write_text(CLIENT)
    given = ["--probes=probes.toml", "--exec=python3 client.py", *QUICK]
    found = document(mlkit("image", "slim", served, "--profile=tight", *given, timeout=300))
    assert found["verdict"] == "equal"
    assert found["kept"]["usr/lib/python3.11/decimal.py"] in {"opened", "stat'ed"}
    only_now = ["--probes=probes.toml", *QUICK, f"--tag={served}-now"]
    document(mlkit("image", "slim", served, "--profile=tight", *only_now, timeout=300))
    pair = ["image", "compare", served, f"{served}-now"]
    assert document(mlkit(*pair, "--probes=probes.toml", *QUICK))["verdict"] == "equal"
    broken = document(mlkit(*pair, *given, timeout=300), 1)
    said = {each["what"]: each["candidate"] for each in broken["differences"]}
    assert "exit code 1" in said["probe command: python3 client.py"]
    engine.remove_image(f"{served}-now")


def test_a_command_that_fails_on_the_original_is_told_with_its_last_line(mlkit, served):
    done = mlkit("image", "slim", served, "--exec=echo no luck; exit 3", *QUICK)
    assert done.returncode == 65
    assert "command: echo no luck; exit 3: exit code 3: no luck" in done.stderr
