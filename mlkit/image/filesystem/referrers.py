"""What describes an image from beside it: OCI artifacts that name it as `subject`.

The image stays as it is, and its digest too. A layout lists such a manifest in `index.json`; a
registry lists it by its referrers API, or by the tag that stands in for it
(OCI distribution specification 1.1).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_DOCUMENT = b"{}"
"""The config of an artifact: it has none."""
FALLBACK = re.compile(r"sha256-[0-9a-f]{64}")
"""The tag that lists what refers to a digest where a registry has no referrers API."""


@dataclass(frozen=True)
class Attachment:
    """A document about an image.

    Attributes:
        media_type: Of the document; also the type of the artifact.
        data: The document.
        annotations: Of the artifact, as registries and layouts list it.
    """

    media_type: str
    data: bytes
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> list[bytes]:
        """Return what the manifest refers to."""
        return [EMPTY_DOCUMENT, self.data]

    def manifest(self, subject: dict[str, Any]) -> bytes:
        """Write the artifact's manifest.

        Args:
            subject: The descriptor of the image's manifest: media type, digest, size.
        """
        names = ("mediaType", "digest", "size")
        value = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": self.media_type,
            "config": describe(EMPTY_DOCUMENT, EMPTY),
            "layers": [describe(self.data, self.media_type)],
            "subject": {name: subject[name] for name in names},
            "annotations": self.annotations,
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    def describe(self, manifest: bytes) -> dict[str, Any]:
        """Return the descriptor by which the artifact is listed."""
        more = {"artifactType": self.media_type, "annotations": self.annotations}
        return describe(manifest, MANIFEST) | more


def describe(data: bytes, media_type: str) -> dict[str, Any]:
    """Return the descriptor of a blob."""
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def digest(data: bytes) -> str:
    """Return `sha256:...` of a blob."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def fallback(subject: str) -> str:
    """Return the tag that lists what refers to a digest."""
    return subject.replace(":", "-")


def is_artifact(entry: dict[str, Any]) -> bool:
    """Return whether an entry of an index is about another one: an artifact, or a list of such."""
    name = (entry.get("annotations") or {}).get("org.opencontainers.image.ref.name")
    return "artifactType" in entry or FALLBACK.fullmatch(str(name)) is not None


def subject_of(folder: Path) -> dict[str, Any]:
    """Return the descriptor of the only image of a layout."""
    entries = json.loads((folder / "index.json").read_bytes())["manifests"]
    (entry,) = [each for each in entries if not is_artifact(each)]
    return dict(entry)


def attach(folder: Path, attachment: Attachment, subject: dict[str, Any] | None = None) -> None:
    """Put a document beside an image of an OCI layout.

    Args:
        folder: The layout.
        attachment: The document.
        subject: The descriptor of the image's manifest; None: that of the only one.
    """
    index = json.loads((folder / "index.json").read_bytes())
    manifest = attachment.manifest(subject or subject_of(folder))
    for each in (*attachment.blobs, manifest):
        (folder / "blobs" / digest(each).replace(":", "/")).write_bytes(each)
    index["manifests"].append(attachment.describe(manifest))
    (folder / "index.json").write_text(json.dumps(index, sort_keys=True))
