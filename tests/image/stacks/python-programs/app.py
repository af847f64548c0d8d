"""Starts programs in all the ways that no call shows."""

import functools
import http.server
import os
import shlex
import subprocess
import sys

TOOL = "md5sum"
TABLE = {"count": ["wc", "-c", "/srv/app.py"]}


def told(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    return f"{done.returncode} {done.stdout} {done.stderr}"


def line(text):
    return told(text, shell=True)


def variable():
    command = ["base64", "-w0", "/srv/settings.yml"]
    return told(command)


def constant():
    return told([TOOL, "/srv/app.py"])


def wrapper():
    return line("seq 3 | paste -sd+ | tr + -")


def partial():
    run = functools.partial(subprocess.check_output, text=True)
    return run(["uname", "-s"])


def shlexed():
    return told(shlex.split("fold -w 3 /srv/settings.yml"))


def table():
    return told(TABLE["count"])


def setting():
    name = open("/srv/settings.yml").read().split("sum: ")[1].strip()
    return told([name, "/srv/app.py"])


def packer():
    return told([*shlex.split(os.environ["PACKER"]), "--version"])


ROUTES = {
    "/variable": variable,
    "/constant": constant,
    "/wrapper": wrapper,
    "/partial": partial,
    "/shlex": shlexed,
    "/table": table,
    "/script": lambda: told(["/opt/tools/flagged"]),
    "/env": lambda: told(["/opt/tools/env"]),
    "/sourced": lambda: told(["/opt/tools/main"]),
    "/module": lambda: told([sys.executable, "-m", "json.tool"], input="[1]"),
    "/code": lambda: told([sys.executable, "-c", "import plistlib; print(plistlib.FMT_XML)"]),
    "/setting": setting,
    "/packer": packer,
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            status, text = 200, ROUTES.get(self.path, lambda: "home")()
        except Exception as error:
            status, text = 500, repr(error)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
