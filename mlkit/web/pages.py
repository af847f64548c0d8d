"""Pages: a frame of HTML, assets under names that change with their content, a strict policy.

No page has a style or a script of its own inside it: the policy forbids what is inline, so what
users' data might inject cannot run. Nothing is fetched from another host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mlkit import __version__
from mlkit.web.application import Answer, Operation, Request, Response, Route
from mlkit.web.errors import Headers, RequestError

FRAME = Path(__file__).parent / "frame"
"""Templates and assets for all: `frame.html` to extend, with `frame.css`."""
POLICY = (
    b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    b"font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    b"frame-ancestors 'none'"
)
HTML: Headers = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)
_MEDIA = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".woff2": b"font/woff2",
    ".txt": b"text/plain; charset=utf-8",
}


class _Asset(NamedTuple):
    body: bytes
    headers: Headers


class Pages:
    """Templates and assets of the frame and of one workload.

    Args:
        folder: The workload's templates and assets; None: those of the frame only.
    """

    def __init__(self, folder: Path | None = None) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        folders = [*([folder] if folder else []), FRAME]
        self._assets: dict[str, _Asset] = {}
        self._names: dict[str, str] = {}
        for each in reversed(folders):
            self._add_assets(each)
        self._environment = Environment(
            loader=FileSystemLoader(folders),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def _add_assets(self, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            if path.suffix in _MEDIA:
                body = path.read_bytes()
                name = f"{path.stem}.{hashlib.sha256(body).hexdigest()[:16]}{path.suffix}"
                headers = (
                    (b"content-type", _MEDIA[path.suffix]),
                    (b"cache-control", b"public, max-age=31536000, immutable"),
                    (b"x-content-type-options", b"nosniff"),
                )
                self._names[path.name] = name
                self._assets[name] = _Asset(body, headers)

    def page(self, template: str, context: Mapping[str, Any], *, depth: int = 0) -> Response:
        """Fill a template; every value is escaped.

        Args:
            template: The template's file name.
            context: What it shows.
            depth: Slashes in the page's path after the first, so that links are relative and
                a proxy may put the pages below a path of its own.
        """
        up = "../" * depth
        text = self._environment.get_template(template).render(
            version=__version__,
            asset=lambda name: f"{up}assets/{self._names[name]}",
            up=up,
            **context,
        )
        return Response(text.encode("utf-8", errors="replace"), headers=HTML)

    def route(self) -> tuple[str, Route]:
        """Return the path of the assets, a prefix, and its route; assets are open to all."""
        operation = Operation(
            self._asset,
            id="getAsset",
            summary="A style, script or picture of the pages.",
            tag="pages",
            answers={200: Answer("The file.", media="text/css")},
        )
        return "/assets/", Route("/assets/{name}", {"GET": operation})

    async def _asset(self, request: Request) -> Response:
        found = self._assets.get(request.rest.decode("latin-1"))
        if found is None:
            raise RequestError(404, "no such asset", "reload the page")
        return Response(found.body, headers=found.headers)
