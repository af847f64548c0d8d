"""A server whose routes need what other packages hold, or what nobody names in full."""

import http.server
import os
import signal
import subprocess
import sys


def metadata():
    from importlib.metadata import version

    return version("lonely")


def entries():
    from importlib.metadata import entry_points

    return str([each.load()() for each in entry_points(group="later.plugins")])


def resource():
    from importlib import resources

    return resources.files("respkg").joinpath("data", "text").read_text()


def namespace():
    import importlib
    import pkgutil

    import parts

    found = sorted(each.name for each in pkgutil.iter_modules(parts.__path__))
    return f"{found} {importlib.import_module('parts.' + 'owt'[::-1]).NAME}"


def translated():
    import gettext

    return gettext.translation("later", languages=["de"], fallback=True).gettext("hello")


def catalogue():
    done = subprocess.run(
        ["sort", "--bad"], env={"LC_ALL": "de_DE.UTF-8"}, stderr=subprocess.PIPE, text=True
    )
    return done.stderr


def fonts():
    return subprocess.check_output(["fc-list"], text=True)


def folder():
    return str(sorted(name for _, _, names in os.walk("/usr/share/fonts") for name in names))


def filetype():
    return subprocess.check_output(["file", "-b", "/srv/later.py"], text=True)


def perl():
    return subprocess.check_output(["/srv/cgi-bin/answer.pl"], text=True)


def shadow():
    with open("/etc/shadow") as file:
        return str(len(file.readlines()))


def library():
    import third

    return third.version()


def program():
    import third

    return third.checksum()


def through():
    with open("/opt/through/empty/../file") as file:
        return file.read()


def joined():
    return subprocess.check_output([os.path.join("/opt/tools", "hel" + "per")], text=True)


def database():
    return str(os.path.isdir("/var/lib/dpkg"))


ROUTES = {
    each.__name__: each
    for each in (
        *(metadata, entries, resource, namespace, translated, catalogue, fonts, folder, filetype),
        *(perl, shadow, library, program, through, joined, database),
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
