"""A server whose routes load something late, each in another way."""

import http.server
import os
import signal
import sys


def lazy():
    import decimal
    import sqlite3
    from xml.etree import ElementTree

    (row,) = sqlite3.connect(":memory:").execute("select 6 * 7")
    return f"{decimal.Decimal('1.10')} {row} {ElementTree.fromstring('<a><b/></a>')[0].tag}"


def plugin():
    import importlib

    return importlib.import_module("plugins." + "olleh"[::-1]).NAME


def zone():
    import datetime
    import zoneinfo

    berlin = datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    local = datetime.datetime(2024, 7, 1).astimezone()
    return f"{berlin} {local}"


def spoken():
    import locale
    import time

    locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
    try:
        return time.strftime("%A", (2024, 7, 1, 0, 0, 0, 0, 183, 0)) + f"{1.5:n}"
    finally:
        locale.setlocale(locale.LC_ALL, "C")


def names():
    import grp
    import pwd
    import socket

    found = sorted({row[4][0] for row in socket.getaddrinfo("localhost", 80)})
    return f"{pwd.getpwnam('nobody').pw_uid} {grp.getgrgid(0).gr_name} {found}"


def tls():
    import ssl
    import threading
    import urllib.request

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/srv/server.pem")
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.handle_request).start()
    with urllib.request.urlopen(f"https://localhost:{server.server_port}/") as response:
        text = response.read().decode()
    server.server_close()
    return f"{text} {len(ssl.create_default_context().get_ca_certs())}"


def foreign():
    import ctypes

    library = ctypes.CDLL("libz.so.1")
    library.zlibVersion.restype = ctypes.c_char_p
    return library.zlibVersion().decode()


def spawn():
    import subprocess

    return subprocess.run(["sort", "-r"], input=b"a\nb\n", capture_output=True).stdout.decode()


def shell():
    import subprocess

    return subprocess.check_output("printf x | wc -c", shell=True, text=True)


def config():
    import tomllib

    with open("/etc/late/config.toml", "rb") as file:
        return tomllib.load(file)["name"]


def environment():
    with open(os.environ["LATE_FILE"]) as file:
        return file.read()


def listing():
    return str(sorted(os.listdir("/usr/local/share/late")))


def write():
    with open("data/own", "a") as file:
        file.write("x")
    with open("/var/lib/late/state", "w") as file:
        file.write("y")
    return str(sorted(os.listdir("data")))


def kinds():
    import mimetypes

    return str(mimetypes.guess_type("a.epub"))


def digest():
    import hashlib

    return hashlib.new("sha3_256", b"x").hexdigest() + hashlib.blake2b(b"x").hexdigest()


ROUTES = {
    each.__name__: each
    for each in (
        *(lazy, plugin, zone, spoken, names, tls, foreign, spawn, shell, config, environment),
        *(listing, write, kinds, digest),
    )
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer with what a route gives, or with how it failed."""

    def do_GET(self):
        route = ROUTES.get(self.path.strip("/"), lambda: "hello")
        try:
            status, body = 200, route()
        except Exception as error:
            status, body = 500, repr(error)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
