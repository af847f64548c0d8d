"""The platforms of an image index: which image is taken, and what is left out."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

from mlkit.errors import BadData
from mlkit.image.filesystem.referrers import is_artifact

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What machines are called by their kernels, and by images."""
REFERENCE = "vnd.docker.reference.type"
"""The annotation of a manifest that says something about another one: an attestation."""


def here() -> str:
    """Name this machine's architecture as images do."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def choose(entries: Sequence[dict[str, Any]], source: str) -> tuple[dict[str, Any], list[str]]:
    """Take this machine's image of an index; an entry that names no platform is for any.

    Args:
        entries: Descriptors of manifests.
        source: What the user named.

    Returns:
        The descriptor, and what else the index holds, named.

    Raises:
        BadData: It holds no image for this machine.
    """
    chosen = next((each for each in entries if _fits(each)), None)
    if chosen is None:
        held = ", ".join(sorted({_name(each) for each in entries})) or "nothing"
        text = f"{source}: no image for linux/{here()} in the index, which holds {held}"
        raise BadData(text, hint=f"build or pull it for linux/{here()}")
    return chosen, sorted(_name(each) for each in entries if each is not chosen)


def _fits(entry: dict[str, Any]) -> bool:
    if REFERENCE in (entry.get("annotations") or {}) or is_artifact(entry):
        return False
    found = entry.get("platform") or {}
    ours = {"os": "linux", "architecture": here()}
    return all(found.get(key, value) == value for key, value in ours.items())


def _name(entry: dict[str, Any]) -> str:
    if kind := (entry.get("annotations") or {}).get(REFERENCE):
        return str(kind)
    if is_artifact(entry):
        return str(entry.get("artifactType", "referrers"))
    found = entry.get("platform") or {}
    parts = (found.get("os", "linux"), found.get("architecture", here()), found.get("variant"))
    return "/".join(str(each) for each in parts if each)
