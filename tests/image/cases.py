"""Images that are hard to slim: what they are built from, what is traced, and what is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LOADS = "FROM {debian}\nRUN localedef -i de_DE -f UTF-8 de_DE.UTF-8\n"
SERVER = "EXPOSE 8000\nWORKDIR /srv\nCOPY plain.py /srv/plain.py\n"
CERTIFICATES = """
RUN cd /srv && openssl req -x509 -newkey rsa:2048 -nodes -days 9999 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -keyout server.pem -out server.crt \
 && cat server.crt >> server.pem && cp server.crt /usr/local/share/ca-certificates/own.crt \
 && update-ca-certificates
"""
OUTSIDE = """
RUN mkdir -p /etc/late /usr/local/share/late /var/lib/late data \
 && echo 'name = "outside"' > /etc/late/config.toml && echo value > /opt/variable \
 && touch /usr/local/share/late/a /usr/local/share/late/b
ENV LATE_FILE=/opt/variable
"""
ROUTES = (
    *("lazy", "plugin", "zone", "spoken", "names", "tls", "foreign", "spawn", "shell", "config"),
    *("environment", "listing", "write", "kinds", "digest"),
)
PYTHON = f"""{LOADS}EXPOSE 8000
WORKDIR /srv
COPY late.py /srv/late.py
COPY plugins /srv/plugins
{CERTIFICATES}{OUTSIDE}ENV TZ=America/New_York
"""
ELSEWHERE = """
RUN mkdir -p {prefix}/bin {prefix}/lib && rm -rf {prefix}/lib/python3.11 \
 && mv /usr/lib/python3.11 {prefix}/lib && mv /usr/bin/python3.11 {prefix}/bin \
 && rm -rf /usr/lib/python3 /usr/bin/python3 && ln -s python3.11 {prefix}/bin/python3 \
 && ln -sf {prefix}/bin/python3 /usr/bin/python
"""
COMPILED = """FROM {debian}
RUN localedef -i de_DE -f UTF-8 de_DE.UTF-8
EXPOSE 8000
COPY late /usr/local/bin/late
COPY plugin.so /usr/local/lib/late/plugin.so
RUN mkdir -p /etc/late /opt/late && echo value > /etc/late/config \
 && echo one > /opt/late/one && ln /opt/late/one /opt/late/two \
 && setcap cap_net_raw+ep /usr/local/bin/late && useradd app
USER app
CMD ["late"]
"""

LATER = (
    *("metadata", "entries", "resource", "namespace", "translated", "catalogue", "fonts", "folder"),
    *("filetype", "perl", "shadow", "library", "program", "through", "joined", "database"),
)
SPEAKS = "FROM {more}\nRUN localedef -i de_DE -f UTF-8 de_DE.UTF-8\nEXPOSE 8000\n"
CATALOGUE = "COPY later.mo /usr/share/locale/de/LC_MESSAGES/later.mo\n"
PACKAGES = "/usr/local/lib/python3.11/dist-packages"
INSTALLED = f"""{SPEAKS}{CATALOGUE}WORKDIR /srv
COPY later.py /srv/later.py
COPY answer.pl /srv/cgi-bin/answer.pl
COPY site {PACKAGES}
COPY parts /opt/more/parts
RUN cd {PACKAGES} && echo /opt/more > more.pth && mkdir lonely-2.0.dist-info respkg-1.0.dist-info \
 && echo 'Version: 2.0' > lonely-2.0.dist-info/METADATA \
 && echo 'Version: 1.0' > respkg-1.0.dist-info/METADATA \
 && printf '[later.plugins]\\none = respkg:hook\\n' > respkg-1.0.dist-info/entry_points.txt \
 && mkdir -p /opt/tools /opt/through/empty && touch /opt/through/empty/x \
 && echo file > /opt/through/file \
 && printf '#!/bin/sh\\necho helped | sort\\n' > /opt/tools/helper \
 && chmod 755 /opt/tools/helper
"""
BESIDE = f"""{SPEAKS}{CATALOGUE}COPY beside /opt/own/bin/beside
COPY plugin.so /opt/own/lib/plug.so
RUN mkdir /opt/own/share /etc/beside.d && echo text > /opt/own/share/text \
 && echo setting > /etc/beside.d/one \
 && printf '#!/bin/sh\\necho helped | sort\\n' > /opt/own/bin/helper \
 && chmod 755 /opt/own/bin/helper
CMD ["/opt/own/bin/beside"]
"""
TOOLS = """FROM {debian}
COPY goroot /usr/local/go
COPY late.go prefork.go /build/
COPY prefork-go /usr/local/bin/prefork
WORKDIR /build
EXPOSE 3000
ENTRYPOINT ["prefork"]
"""
GO = ("zone", "names", "config", "kind", "beside", "certificates")


@dataclass(frozen=True)
class Case:
    """An image, and how it is slimmed.

    Attributes:
        dockerfile: `{debian}`, `{node}` and `{more}` stand for base images.
        late: Probes of the result that were not traced with.
        traced: Probes of the slimming.
        verdict: What slimming has to say.
        starts: What the result's command has to begin with.
        watch: Seconds.
        most: Bytes that the balanced result may have; 0: what the original has.
    """

    dockerfile: str
    late: tuple[str, ...] = ("http:8000/late",)
    traced: tuple[str, ...] = ("http:8000/",)
    verdict: Literal["equal", "improved"] = "equal"
    starts: tuple[str, ...] = ()
    watch: float = 0.3
    most: float = 0


def routes(*names: str) -> tuple[str, ...]:
    """Probe routes of port 8000; all have to succeed."""
    return tuple(f"http:8000/{name}=200" for name in names)


def plain(text: str, **options: object) -> Case:
    """Return an image of the server that says how it was started."""
    return Case(f"FROM {{debian}}\n{SERVER}{text}\n", **options)  # type: ignore[arg-type]


CASES = {
    "prefork in C": Case(
        'FROM scratch\nCOPY prefork /prefork\nEXPOSE 3000\nENTRYPOINT ["/prefork"]\n',
        ("http:3000/late",), ("http:3000/",), "improved", ("/tini", "--", "/prefork"),
    ),
    "prefork in Python": Case(
        'FROM {debian}\nCOPY prefork.py /srv/\nENTRYPOINT ["python3", "/srv/prefork.py"]\n',
        ("http:3000/late",), ("http:3000/",), "improved", ("/tini", "--", "python3"), 1.0,
    ),
    "shell form, dash": plain(
        "ENTRYPOINT python3 /srv/plain.py a 'b c'",
        verdict="improved",  # dash as process 1 ignores SIGTERM
        starts=("/tini", "--", "python3"),
    ),
    "shell form, bash": plain(
        'SHELL ["/bin/bash", "-c"]\nCMD [[ $NAME == x* ]] || exec python3 plain.py "${{PWD^^}}"',
        starts=("/bin/bash", "-c"),
    ),
    "sh -c with variables": plain(
        'ENV NAME="a b"\nCMD ["sh", "-c", "python3 plain.py $NAME \\"$NAME\\" ${{GONE:-gone}}"]',
        verdict="improved",
        starts=("/tini", "--", "/mlkit-launch"),
    ),
    "SIGTERM ignored": plain(
        'CMD ["python3", "plain.py", "--deaf"]', verdict="improved", starts=("/tini", "--")
    ),
    "zombies": plain(
        'CMD ["python3", "plain.py", "--orphans"]', verdict="improved", starts=("/tini", "--")
    ),
    "late Python": Case(
        PYTHON + 'CMD ["python3", "late.py"]\n', routes(*ROUTES)
    ),
    "Python below /usr/local": Case(
        PYTHON + ELSEWHERE.replace("{prefix}", "/usr/local") + 'CMD ["python", "late.py"]\n',
        routes(*ROUTES),
    ),
    "symlinked interpreter": Case(
        PYTHON + ELSEWHERE.replace("{prefix}", "/opt/py") + 'CMD ["python", "late.py"]\n',
        routes(*ROUTES),
    ),
    "late C": Case(
        COMPILED,
        routes(*("soname", "path", "names", "charset", "spoken", "zone", "command", "config"),
               *("package", "raw", "links")),
    ),
    "health check with curl": plain(
        "HEALTHCHECK CMD curl -fsS http://localhost:8000/ | grep -q srv\n"
        'CMD ["python3", "plain.py"]'
    ),
    "health check with bash": plain(
        'SHELL ["/bin/bash", "-c"]\nHEALTHCHECK CMD [[ -f plain.py ]] && exec '
        '3<>/dev/tcp/localhost/8000\nCMD ["python3", "plain.py"]'
    ),
    "random user": plain('RUN chmod 777 /srv\nUSER 54321:0\nCMD ["python3", "plain.py"]'),
    "virtual environment": Case(
        "FROM {debian}\nEXPOSE 8000\nCOPY wheels /wheels\n"
        "RUN python3 -m venv --without-pip /venv && cd /venv/lib/python3*/site-packages "
        "&& for each in /wheels/*.whl; do python3 -m zipfile -e $each .; done; rm -r /wheels\n"
        'COPY arrays.py /srv/arrays.py\nCMD ["/venv/bin/python", "/srv/arrays.py"]\n',
        routes("solve", "fourier", "random", "version", "yaml", "multiply"),
    ),
    "Node": Case(
        "FROM {node}\nEXPOSE 8000\nWORKDIR /srv\nCOPY late.js /srv/\nCOPY lib /srv/lib\n"
        'CMD ["node", "late.js"]\n',
        routes(*("own", "computed", "module", "fetch", "crypto", "date", "spawn", "shell"),
               *("esm", "lookup")),
    ),
    "installed Python": Case(
        INSTALLED + 'CMD ["python3", "/srv/later.py"]\n', routes(*LATER)
    ),
    "neighbours": Case(
        BESIDE,
        routes("sibling", "plugin", "helper", "parts", "translated", "message", "pipe", "python"),
    ),
    "static Go": Case(
        "FROM {debian}\nCOPY late-go /opt/late/bin/late\n"
        "RUN echo 'text/late late' > /etc/mime.types && echo setting > /etc/late-go.conf "
        "&& mkdir -p /opt/late/share && echo text > /opt/late/share/text\n"
        'EXPOSE 8000\nCMD ["/opt/late/bin/late"]\n',
        routes(*GO), most=15e6,
    ),
    "prefork in Go": Case(
        'FROM scratch\nCOPY prefork-go /prefork\nEXPOSE 3000\nENTRYPOINT ["/prefork"]\n',
        ("http:3000/late",), ("http:3000/",), "improved", ("/tini", "--", "/prefork"), most=9e6,
    ),
    "Go build image": Case(
        TOOLS, ("http:3000/late",), ("http:3000/",), "improved", ("/tini", "--", "prefork"),
        most=20e6,
    ),
    "shell script": plain(
        'COPY entrypoint.sh /entrypoint.sh\nENTRYPOINT ["/entrypoint.sh"]\nCMD ["plain", "x"]'
    ),
}  # fmt: skip
