"""A preforking server: its children end when they take themselves for orphans."""

import http.server
import os
import socket
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    """Say hello."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello " + self.path.encode())

    def log_message(self, *arguments):
        pass


class Server(http.server.HTTPServer):
    """Share the port with the other children."""

    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


def watch():
    """End when the parent seems to have died and init has adopted us."""
    while os.getppid() != 1:
        time.sleep(0.1)
    os._exit(1)


for _ in range(2):
    if os.fork() == 0:
        threading.Thread(target=watch, daemon=True).start()
        Server(("", 3000), Handler).serve_forever()
_, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
