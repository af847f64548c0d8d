"""Finding what else an app answers: the routes of its OpenAPI document, the links of its pages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urljoin, urlsplit

from mlkit.errors import BadData
from mlkit.image.run import openapi
from mlkit.image.run.probe import Answer, Probe

LINK = re.compile(
    rb"\b(?:href|src|action)\s{0,4}=\s{0,4}[\"']([^\"'<>\s]{1,500})[\"']", re.IGNORECASE
)
NAMED = re.compile(rb"[\"'](/[A-Za-z0-9_][A-Za-z0-9_./-]{0,200})[\"']")
"""Paths that a page's scripts or a JSON document name."""
RISKY = re.compile(
    r"log-?out|sign-?out|shut-?down|delete|remove|destroy|/exit|/quit|/kill|re-?start|/stop|reset",
    re.IGNORECASE,
)
"""Paths that are not asked: a GET of them may end more than a question."""
ENDLESS = re.compile(r"stream|events|/ws|sse|socket", re.IGNORECASE)
MOST, SECONDS = 60, 20.0
"""Paths that are asked, and the time that this may take."""
PAGES = ("text/html", "application/xhtml", "application/json", "text/xml", "application/xml")

Ask = Callable[[Probe], Answer]


@dataclass(frozen=True)
class Exploration:
    """How far an app is explored.

    Attributes:
        crawl: Follow the links of its pages, and look for an OpenAPI document.
        document: An OpenAPI document, if the user gave one.
        path: Where the app serves one, if the user named it.
        port: Of the app, if no probe names one.
    """

    crawl: bool = True
    document: bytes | None = None
    path: str | None = None
    port: int | None = None

    @property
    def asks(self) -> bool:
        """Return whether anything is looked for."""
        return self.crawl or self.document is not None or self.path is not None


def explore(
    exploration: Exploration, known: Sequence[Answer], probes: Sequence[Probe], ask: Ask
) -> list[tuple[Probe, Answer]]:
    """Ask an app for more than the probes do, and return what it answered.

    Args:
        exploration: How far.
        known: What the probes got.
        probes: What was asked already.
        ask: Asks once.

    Raises:
        BadData: The document that the user named is none.
    """
    asked = {(each.method, each.port, each.argument) for each in probes if each.kind == "http"}
    found: list[tuple[Probe, Answer]] = []
    until = time.monotonic() + SECONDS
    for probe in _list_wanted(exploration, known, probes, ask, found):
        key = probe.method, probe.port, probe.argument
        if key in asked or RISKY.search(probe.argument) or ENDLESS.search(probe.argument):
            continue
        if len(found) >= MOST or time.monotonic() > until:
            break
        asked.add(key)
        probe = replace(probe, explored=True)
        answer = ask(probe)
        if answer.status is not None:
            found.append((probe, answer))
    return found


def _list_wanted(
    exploration: Exploration, known: Sequence[Answer], probes: Sequence[Probe], ask: Ask,
    found: list[tuple[Probe, Answer]],
) -> Iterator[Probe]:  # fmt: skip
    """List what to ask next; what has been answered meanwhile is in `found`."""
    ports = sorted({each.port for each in probes if each.kind in {"http", "tcp"} and each.port})
    ports = ports or ([exploration.port] if exploration.port else [])
    yield from _of_document(exploration, ports, ask)
    if not exploration.crawl:
        return
    for port in ports:
        if ask(_get(port, "/")).status is None:
            continue
        yield _get(port, "/")
        yield from _list_served(port, ask)
        for probe, answer in zip(probes, known, strict=False):
            if probe.kind == "http" and probe.port == port:
                yield from links(probe, answer)
        at = 0
        while at < len(found):
            probe, answer = found[at]
            at += 1
            if probe.port == port:
                yield from links(probe, answer)


def _of_document(exploration: Exploration, ports: Sequence[int], ask: Ask) -> Iterator[Probe]:
    data = exploration.document
    if exploration.path is not None and ports:
        data = ask(_get(ports[0], exploration.path)).body
    if data is None or not ports:
        return
    document = openapi.read_document(data)
    if document is None:
        raise BadData("--openapi: no OpenAPI document in JSON", hint="a file, or a path of the app")
    yield from openapi.routes(document, ports[0], openapi.ALL)


def _list_served(port: int, ask: Ask) -> Iterator[Probe]:
    """List the routes of the document that the app serves at one of the usual places."""
    for path in openapi.WELL_KNOWN:
        answer = ask(_get(port, path))
        document = openapi.read_document(answer.body) if answer.status == 200 else None
        if document is not None:
            yield _get(port, path)
            yield from openapi.routes(document, port)
            return


def links(probe: Probe, answer: Answer) -> Iterator[Probe]:
    """List the paths of the same server that an answer names."""
    kind = answer.headers.get("content-type", "")
    targets = [answer.headers[name] for name in ("location",) if name in answer.headers]
    if kind.startswith(PAGES):
        named = [*LINK.findall(answer.body), *NAMED.findall(answer.body)]
        targets += [each.decode(errors="replace") for each in named]
    for each in dict.fromkeys(targets):
        try:
            url = urlsplit(urljoin(f"http://localhost:{probe.port}{probe.argument}", each))
            own = url.hostname in {"localhost", "127.0.0.1"} and url.port in {probe.port, None}
        except ValueError:
            continue
        if own and url.scheme == "http":
            query = f"?{url.query}" if url.query else ""
            yield _get(probe.port, quote(url.path + query, safe="/?&=%:@!$'()*+,;~-._") or "/")


def _get(port: int, path: str) -> Probe:
    return Probe(f"http:{port}{path}", "http", path, port)
