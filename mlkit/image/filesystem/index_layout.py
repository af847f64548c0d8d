"""Results for several platforms as one OCI index, which is assembled image by image.

The layout leads by `index.json` to an image index, as `docker buildx` writes it: the index has a
digest of its own, and is what a registry has under the tag. Attestations lie beside their image.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.image.choices import COMPRESSION, Compression
from mlkit.image.filesystem import build, referrers
from mlkit.image.filesystem.index import Listed
from mlkit.image.filesystem.referrers import INDEX, Attachment
from mlkit.image.packages.attestation import Attest
from mlkit.image.result import Built


@dataclass(frozen=True)
class Member:
    """A result in the index.

    Attributes:
        entry: The descriptor of its manifest, with its platform.
        attached: What is attached to it.
    """

    entry: dict[str, Any]
    attached: Attachment | None

    @property
    def digest(self) -> str:
        """Return the digest of its manifest."""
        return str(self.entry["digest"])


class IndexLayout:
    """An OCI layout that becomes an index.

    Args:
        folder: Where; nothing is there, or an empty folder.
        compression: Of the layers.

    Attributes:
        members: The results so far.
        digest: That of the index, once it is finished.
    """

    def __init__(self, folder: Path, compression: Compression = COMPRESSION) -> None:
        self.folder = folder
        self.members: list[Member] = []
        self.digest = ""
        self._compression = compression
        self._blobs = build.make_blobs(folder)

    def add(self, image: Listed, built: Built, attest: Attest | None = None) -> Member:
        """Add the result for one platform; return its entry of the index.

        Args:
            image: The original, whose platform the result has.
            built: The result.
            attest: Given the digest of its manifest, returns what is attached to it.

        Raises:
            ServiceUnavailable: Nothing can be attached.
        """
        compression = self._compression
        entry, _ = build.write_image(built.document, built.layers, self._blobs, compression)
        attached = attest(str(entry["digest"])) if attest else None
        member = Member(entry | {"platform": image.platform}, attached)
        self.members.append(member)
        return member

    def finish(self, name: str) -> None:
        """Write the index, and what leads to it; it has a digest then.

        Args:
            name: What it is called.
        """
        entries = [each.entry for each in self.members]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        data = json.dumps(index, sort_keys=True).encode()
        entry = build.write_blob(self._blobs, data, INDEX)
        build.write_index(self.folder, entry, name)
        for each in self.members:
            if each.attached is not None:
                referrers.attach(self.folder, each.attached, each.entry)
        self.digest = str(entry["digest"])

    def path(self, digest: str) -> Path:
        """Return the file of a blob."""
        return self._blobs / digest.removeprefix("sha256:")

    def read(self, digest: str) -> bytes:
        """Return a document."""
        return self.path(digest).read_bytes()


def archive(folder: Path) -> Iterator[bytes]:
    """Return a layout as a tar, in parts: sorted, without times and owners."""
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as stream:
            yield from build.member(name, path.stat().st_size, stream)
    yield bytes(2 * tarfile.BLOCKSIZE)
