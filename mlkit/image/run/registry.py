"""A registry, for what an engine does not push: indexes, and artifacts that refer to an image.

As the OCI distribution specification 1.1 has it: blobs, then the manifest (of an artifact, with its
`subject`), then the index of such manifests; where the registry has no referrers API, the list
under the tag that stands in for it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from mlkit.errors import ServiceUnavailable
from mlkit.image.filesystem import referrers
from mlkit.image.filesystem.build import with_tag
from mlkit.image.filesystem.index_layout import IndexLayout
from mlkit.image.filesystem.referrers import INDEX, MANIFEST, Attachment

HUB, HUB_HOST = "docker.io", "registry-1.docker.io"
LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")
"""Registries that an engine talks to without TLS, as this does."""
ACCEPTED = ", ".join(
    (MANIFEST, INDEX, "application/vnd.docker.distribution.manifest.v2+json",
     "application/vnd.docker.distribution.manifest.list.v2+json")
)  # fmt: skip
PATIENCE = 60.0
PARAMETER = re.compile(r'([a-z]+)="([^"]*)"')


def split(reference: str) -> tuple[str, str, str]:
    """Return the registry, the repository and the tag of a reference.

    >>> split("registry.example:5000/team/app:1")
    ('registry.example:5000', 'team/app', '1')
    >>> split("app")
    ('docker.io', 'library/app', 'latest')
    """
    name, _, tag = with_tag(reference).rpartition(":")
    first, _, rest = name.partition("/")
    if not rest or not (set(".:") & set(first) or first == "localhost"):
        return HUB, name if rest else f"library/{name}", tag
    return first, rest, tag


class Repository:
    """A repository of a registry.

    Args:
        host: The registry.
        name: The repository.
        credentials: As Docker's settings have them; None: none.
    """

    def __init__(self, host: str, name: str, credentials: Mapping[str, str] | None) -> None:
        scheme = "http" if LOOPBACK.fullmatch(host) else "https"
        self._base = f"{scheme}://{HUB_HOST if host == HUB else host}/v2/{name}/"
        self._scope = f"repository:{name}:pull,push"
        self._credentials = credentials or {}
        self._title = f"{host}/{name}"
        self._session = requests.Session()
        self._authorization = ""

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def push_index(self, layout: IndexLayout, tag: str) -> None:
        """Push a finished index; the tag comes last, when all that it leads to is there.

        Raises:
            ServiceUnavailable: The registry cannot be reached, or refuses.
        """
        with self._failing("the index was not pushed", "`docker login` if it asks who you are"):
            for each in layout.members:
                data = layout.read(each.digest)
                manifest = json.loads(data)
                for part in (manifest["config"], *manifest["layers"]):
                    self._put_blob(layout.path(part["digest"]), part["digest"])
                self._put_manifest(each.digest, data, MANIFEST)
        for each in layout.members:
            if each.attached is not None:
                self.attach(each.digest, each.attached)
        with self._failing("the index was not pushed", "its images were"):
            self._put_manifest(tag, layout.read(layout.digest), INDEX)

    def attach(self, digest: str, attachment: Attachment) -> str:
        """Attach a document to a manifest that is there; return the artifact's digest.

        Raises:
            ServiceUnavailable: The registry cannot be reached, or refuses.
        """
        hint = "the image itself was pushed; `docker login` if the registry asks who you are"
        with self._failing("the attestation was not pushed", hint):
            subject = self._describe(digest)
            for each in attachment.blobs:
                self._put_blob(each, referrers.digest(each))
            manifest = attachment.manifest(subject)
            entry = attachment.describe(manifest)
            answer = self._put_manifest(entry["digest"], manifest, MANIFEST)
            if "OCI-Subject" not in answer.headers:
                self._list(referrers.fallback(digest), entry)
            return str(entry["digest"])

    @contextlib.contextmanager
    def _failing(self, what: str, hint: str) -> Iterator[None]:
        try:
            yield
        except (requests.RequestException, ValueError, LookupError) as error:
            raise ServiceUnavailable(f"{self._title}: {what}: {error}", hint=hint) from error

    def _describe(self, digest: str) -> dict[str, Any]:
        answer = self._ask("GET", f"manifests/{digest}", headers={"Accept": ACCEPTED})
        kind = answer.headers["Content-Type"].partition(";")[0]
        return {"mediaType": kind, "digest": digest, "size": len(answer.content)}

    def _put_blob(self, data: bytes | Path, digest: str) -> None:
        """Upload a blob, in one piece, unless it is there."""
        if self._ask("HEAD", f"blobs/{digest}", missing=True).status_code != requests.codes.ok:
            place = self._ask("POST", "blobs/uploads/")
            where = urljoin(place.url, place.headers["Location"])
            where += f"{'&' if '?' in where else '?'}digest={digest}"
            self._ask("PUT", where, data=data, headers={"Content-Type": "application/octet-stream"})

    def _put_manifest(self, name: str, data: bytes, media_type: str) -> requests.Response:
        return self._ask(
            "PUT", f"manifests/{name}", data=data, headers={"Content-Type": media_type}
        )

    def _list(self, tag: str, entry: dict[str, Any]) -> None:
        """Add an artifact to the list that stands in for the referrers API."""
        answer = self._ask("GET", f"manifests/{tag}", missing=True, headers={"Accept": INDEX})
        before = json.loads(answer.content)["manifests"] if answer.ok else []
        others = [each for each in before if each["digest"] != entry["digest"]]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, entry]}
        self._put_manifest(tag, json.dumps(index, sort_keys=True).encode(), INDEX)

    def _ask(
        self, method: str, path: str, missing: bool = False, **content: Any
    ) -> requests.Response:
        """Send a request, once more as the user if the registry asks who that is."""
        answer = self._send(method, path, content)
        if answer.status_code == requests.codes.unauthorized:
            self._log_in(answer.headers.get("WWW-Authenticate", ""))
            answer = self._send(method, path, content)
        if not (missing and answer.status_code == requests.codes.not_found):
            answer.raise_for_status()
        return answer

    def _send(self, method: str, path: str, content: dict[str, Any]) -> requests.Response:
        url = urljoin(self._base, path)
        content = {"timeout": PATIENCE, "auth": self._authorize, **content}
        if isinstance(data := content.get("data"), Path):  # opened again for each attempt
            with data.open("rb") as stream:
                return self._session.request(method, url, **content | {"data": stream})
        return self._session.request(method, url, **content)

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Say who asks, to the registry only: an upload may lead to a store elsewhere."""
        same = urlsplit(request.url or "").netloc == urlsplit(self._base).netloc
        if same and self._authorization:
            request.headers["Authorization"] = self._authorization
        return request

    def _log_in(self, challenge: str) -> None:
        """Answer a challenge: by name and password, or by a token that is fetched with them."""
        user = self._credentials.get("Username") or self._credentials.get("username") or ""
        password = self._credentials.get("Password") or self._credentials.get("password") or ""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() != "bearer":
            word = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._authorization = f"Basic {word}" if user else ""
            return
        found = dict(PARAMETER.findall(rest))
        wanted = {"service": found.get("service", ""), "scope": self._scope}
        if token := self._credentials.get("IdentityToken"):
            form = wanted | {"grant_type": "refresh_token", "refresh_token": token}
            answer = self._session.post(
                found["realm"], data=form | {"client_id": "mlkit"}, timeout=PATIENCE
            )
        else:
            named = (user, password) if user else None
            answer = self._session.get(found["realm"], params=wanted, auth=named, timeout=PATIENCE)
        answer.raise_for_status()
        tokens = answer.json()
        self._authorization = f"Bearer {tokens.get('token') or tokens['access_token']}"
