"""The server of the benchmark: one route imports late."""

import http.server
import signal
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer, and import what a route needs when it is asked."""

    def do_GET(self):
        body = "hello"
        if self.path == "/lazy":
            import decimal
            import json

            body = json.dumps({"x": str(decimal.Decimal("1.10"))})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        """Keep quiet."""


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.HTTPServer(("", 8000), Handler).serve_forever()
