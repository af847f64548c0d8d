"""Is started by supervisord, and starts one of its jobs."""

import http.server
import subprocess
import time


def job():
    subprocess.run(["supervisorctl", "start", "job"], check=True, capture_output=True)
    for _ in range(100):
        try:
            with open("/tmp/job") as file:
                return file.read()
        except FileNotFoundError:
            time.sleep(0.1)
    return "none"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = job() if self.path == "/job" else f"at {self.path}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
