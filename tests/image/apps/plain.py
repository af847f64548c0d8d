"""A server that says how it was started; its flags make it misbehave."""

import http.server
import os
import signal
import sys
import threading
import time

FLAGS = {each for each in sys.argv[1:] if each.startswith("--")}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer with arguments, directory, user and environment; `/zombie` leaves a dead child."""

    def do_GET(self):
        if self.path == "/zombie" and os.fork() == 0:
            os._exit(0)
        words = [*sys.argv[1:], os.getcwd(), str(os.getuid()), os.environ.get("NAME", "-")]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(" ".join(words).encode())

    def log_message(self, *arguments):
        pass


def orphans():
    """Leave children whose parent ends before they do: process 1 has to reap them."""
    for _ in range(3):
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(0.1)
            os._exit(0)
        os.wait()


def end():
    """Read a file late, and end all with 3 if it is not there, or in any case."""
    time.sleep(float(os.environ["SECONDS_UP"]))
    if "--dies" in FLAGS or not os.path.exists(os.environ["LATE_FILE"]):
        print("fatal: it ends now", flush=True)
        os._exit(3)


if "--orphans" in FLAGS:
    orphans()
if "--clock" in FLAGS:
    threading.Thread(target=end, daemon=True).start()
if "--deaf" not in FLAGS:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.HTTPServer(("", 8000), Handler).serve_forever()
