"""A server that computes with NumPy, and imports what it needs when it is asked."""

import http.server
import signal
import sys


def solve():
    import numpy

    return numpy.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 4.0])


def fourier():
    from numpy import fft

    return fft.fft([1.0, 0.0, 0.0, 0.0]).real


def random():
    import numpy.random

    return numpy.random.default_rng(1).integers(1000)


def multiply():
    import numpy

    return numpy.ones((300, 300)).dot(numpy.ones((300, 300)))[0, 0]


def version():
    from importlib import metadata

    return metadata.version("PyYAML")


def yaml():
    from yaml import safe_load

    return safe_load("a: [1, 2]")


ROUTES = {each.__name__: each for each in (solve, fourier, random, multiply, version, yaml)}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer with what a route gives."""

    def do_GET(self):
        body = str(ROUTES.get(self.path.strip("/"), lambda: "hello")())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.HTTPServer(("", 8000), Handler).serve_forever()
