"""Images made by hand, without an engine."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Member:
    """A tar member: text makes a file, `link` a symbolic link, `hard` a hard link."""

    name: str
    text: str | bytes | None = None
    link: str = ""
    hard: str = ""
    kind: bytes = b""
    mode: int = 0o644
    uid: int = 0


def layer(*members):
    """Make a layer's tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for each in members:
            info = tarfile.TarInfo(each.name)
            info.mode, info.uid = each.mode, each.uid
            data = each.text.encode() if isinstance(each.text, str) else each.text or b""
            info.size = len(data)
            info.type = each.kind or (
                tarfile.SYMTYPE
                if each.link
                else tarfile.LNKTYPE
                if each.hard
                else tarfile.DIRTYPE
                if each.text is None
                else tarfile.REGTYPE
            )
            info.linkname = each.link or each.hard
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def document(layers, config=None, **more):
    """Make an image's config document."""
    ids = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]
    rootfs = {"type": "layers", "diff_ids": ids}
    base = {"architecture": "amd64", "os": "linux", "config": config or {}, "rootfs": rootfs}
    return base | more


def saved(path: Path, *layers: bytes, config=None, **more) -> Path:
    """Write what `docker save` writes."""
    names = [f"{number}/layer.tar" for number, _ in enumerate(layers)]
    manifest = [{"Config": "config.json", "RepoTags": ["it:1"], "Layers": names}]
    members = dict(zip(names, layers, strict=True))
    members["config.json"] = json.dumps(document(layers, config, **more)).encode()
    members["manifest.json"] = json.dumps(manifest).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def blob(path: Path, data: bytes | dict) -> dict:
    """Write a blob into a layout; return its descriptor."""
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    name = hashlib.sha256(data).hexdigest()
    (path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    (path / "blobs" / "sha256" / name).write_bytes(data)
    return {"digest": f"sha256:{name}", "size": len(data)}


def manifest(path: Path, *layers: bytes, config=None, compress=gzip.compress, **more) -> dict:
    """Write an image's blobs into a layout; return the descriptor of its manifest."""
    parts = {
        "config": blob(path, document(layers, config, **more)),
        "layers": [blob(path, compress(each)) for each in layers],
    }
    return blob(path, parts)


def layout(path: Path, *layers: bytes, config=None, compress=gzip.compress) -> Path:
    """Write an OCI layout with compressed layers."""
    entry = manifest(path, *layers, config=config, compress=compress)
    (path / "index.json").write_text(json.dumps({"manifests": [entry]}))
    return path


INDEX = "application/vnd.oci.image.index.v1+json"


def index_layout(path: Path, *entries: dict) -> Path:
    """Write an OCI layout that leads to an image index of some entries, as builders do."""
    entry = blob(path, {"mediaType": INDEX, "manifests": entries}) | {"mediaType": INDEX}
    (path / "index.json").write_text(json.dumps({"manifests": [entry]}))
    return path


def distribution(members, owned=()) -> dict[str, list[str]]:
    """Return which packages what a distribution has belongs to: each file to one of its own.

    `owned` are the paths of which the test says so itself.
    """
    places = ("usr/bin/", "usr/sbin/", "usr/lib/", "usr/share/")
    paths = [each.name for each in members if each.text is not None or each.link]
    found = [path for path in paths if path.startswith(places) and path not in set(owned)]
    return {f"of-{number}": [path] for number, path in enumerate(found)}
