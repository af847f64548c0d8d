"""Reads and writes files that no package holds, by names that it puts together."""

import http.server
import os
import sys


def read(*parts):
    with open(os.path.join(*parts)) as file:
        return file.read()


def write():
    with open("/var/lib/portal/state", "w") as file:
        file.write("state")
    return str(os.stat("/var/lib/portal").st_uid)


def made():
    os.makedirs("/var/lib/portal/a/b", exist_ok=True)
    return "made"


def log():
    with open("/var/log/portal.log", "a") as file:
        file.write("line\n")
    return "logged"


ROUTES = {
    "/model": lambda: read(os.environ["MODEL_DIR"], "model" + ".bin"),
    "/config": lambda: read("/", "config.yml"),
    "/spaces": lambda: read("/a folder", "b c.txt"),
    "/beside": lambda: read(sys.argv[1], "..", "share", "portal", "page"),
    "/words": lambda: str(len(read("/usr/share", "dict", "american-english"))),
    "/write": write,
    "/made": made,
    "/late": lambda: read(os.environ["CACHE_PATH"], "x"),
    "/log": log,
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
