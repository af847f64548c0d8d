"""The platforms of images: which one of an index is taken, and what this machine can run."""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlkit.errors import BadData, UsageError
from mlkit.image.filesystem.referrers import is_artifact

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What machines are called by their kernels, and by images."""
PLATFORM = re.compile(r"linux/([a-z0-9]+)(?:/(v[0-9]+))?")
MACHINES = {
    "amd64": (2, 1, 62), "arm64": (2, 1, 183), "arm": (1, 1, 40), "386": (1, 1, 3),
    "riscv64": (2, 1, 243), "ppc64le": (2, 1, 21), "s390x": (2, 2, 22), "loong64": (2, 1, 258),
}  # fmt: skip
"""What ELF files for an architecture hold: their class, byte order and machine."""
HANDLERS = Path("/proc/sys/fs/binfmt_misc")
"""Where the kernel lists the emulators that it starts for programs of other machines."""
REFERENCE, SUBJECT = "vnd.docker.reference.type", "vnd.docker.reference.digest"
"""The annotations of a manifest that describes another one: an attestation."""
PROCESSOR = Path("/proc/cpuinfo")
"""Where the kernel lists what the processor has."""
LEVELS = {
    "v2": "cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3",
    "v3": "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave",
    "v4": "avx512bw avx512cd avx512dq avx512f avx512vl",
}
"""What each level of x86-64 adds to the one below, in the words of the kernel."""
DEFAULT_VARIANTS = {"amd64": "v1", "arm": "v7", "arm64": "v8"}
"""The variants of architectures that are meant where none is named."""
FIELDS = ("os", "architecture", "variant", "os.version")
"""What describes a platform in an index; `os.features`, a list, may be there as well."""


@dataclass(frozen=True)
class Refused:
    """A platform of an index that is not slimmed.

    Attributes:
        platform: Such as `linux/s390x`.
        reason: Why.
    """

    platform: str
    reason: str


def here() -> str:
    """Name this machine's architecture as images do."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def runs(architecture: str) -> bool:
    """Return whether this machine runs programs of an architecture, itself or by an emulator."""
    if architecture == here():
        return True
    files = sorted(HANDLERS.iterdir()) if HANDLERS.is_dir() else []
    wanted = MACHINES.get(architecture)
    return wanted is not None and any(_handled(each) == wanted for each in files)


def lacks(architecture: str, variant: str | None) -> list[str]:
    """Return what a variant needs and this machine's processor lacks; emulators are not judged."""
    if architecture != "amd64" or here() != "amd64" or variant not in LEVELS:
        return []
    text = PROCESSOR.read_text(errors="replace") if PROCESSOR.exists() else ""
    flags = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
    there = set(flags[1].split()) if flags else set()
    needed = " ".join(words for level, words in LEVELS.items() if level <= variant)
    return sorted(set(needed.split()) - there)


def _handled(path: Path) -> tuple[int, int, int] | None:
    """Return what ELF files the kernel starts an emulator for; None: it starts it for others."""
    with contextlib.suppress(OSError, ValueError):
        lines = path.read_text(errors="replace").splitlines()
        fields = dict(line.partition(" ")[::2] for line in lines)
        magic = bytes.fromhex(fields.get("magic", ""))
        if lines[:1] == ["enabled"] and magic.startswith(b"\x7fELF") and len(magic) >= 20:
            order: Literal["little", "big"] = "little" if magic[5] == 1 else "big"
            return magic[4], magic[5], int.from_bytes(magic[18:20], order)
    return None


def check(text: str) -> str:
    """Return a platform as the user names it.

    Raises:
        UsageError: It is none, or this machine cannot run it.
    """
    match = PLATFORM.fullmatch(text)
    if match is None:
        raise UsageError(f"--platform {text}: not understood", hint="such as linux/arm64")
    if not runs(match[1]):
        hint = "register qemu-user-static's emulator (binfmt_misc), or slim it on such a machine"
        raise UsageError(f"--platform {text}: this machine cannot run it", hint=hint)
    if missing := lacks(match[1], match[2]):
        text = f"--platform {text}: the processor lacks {', '.join(missing)}"
        raise UsageError(text, hint="slim it on such a machine")
    return text


def problem(platform: dict[str, Any]) -> str | None:
    """Return why this machine cannot run images for a platform; None: it can."""
    system, architecture = platform["os"], platform["architecture"]
    if "unknown" in {system, architecture}:
        return "an unknown platform"
    if system != "linux":
        return "not Linux"
    if missing := lacks(architecture, platform.get("variant")):
        return f"the processor lacks {', '.join(missing)}"
    if runs(architecture):
        return None
    if architecture not in MACHINES:
        return "an unknown architecture"
    return "no emulator is registered (binfmt_misc)"


def choose(
    entries: Sequence[dict[str, Any]], source: str, wanted: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Take one image of an index; an entry that names no platform is for any.

    Args:
        entries: Descriptors of manifests.
        source: What the user named.
        wanted: The platform, such as `linux/arm64`; None: this machine's. Of several variants,
            the one that is named is preferred.

    Returns:
        The descriptor, and what else the index holds, named.

    Raises:
        BadData: It holds no image for it.
    """
    asked = wanted or f"linux/{here()}"
    fitting = [each for each in entries if _fits(each, asked)]
    if not fitting:
        held = ", ".join(sorted({_name(each) for each in entries})) or "nothing"
        text = f"{source}: no image for {asked} in the index, which holds {held}"
        raise BadData(text, hint=f"build or pull it for {asked}")
    chosen = next((each for each in fitting if _name(each) == asked), fitting[0])
    return chosen, sorted(_name(each) for each in entries if each is not chosen)


def kind(entry: dict[str, Any]) -> str | None:
    """Return what an entry of an index is that is about an image; None: an image, or an index."""
    if kind := (entry.get("annotations") or {}).get(REFERENCE):
        return str(kind)
    return str(entry.get("artifactType", "referrers")) if is_artifact(entry) else None


def subject(entry: dict[str, Any]) -> str | None:
    """Return the digest of the image that an attestation is about, if its annotations name it."""
    return (entry.get("annotations") or {}).get(SUBJECT)


def describe(found: dict[str, Any]) -> dict[str, Any]:
    """Return the platform of an image as an index describes it.

    Args:
        found: That of a descriptor, or a config.

    Raises:
        BadData: It is none.
    """
    described = {"os": "linux", "architecture": here()}
    described |= {field: found[field] for field in FIELDS if found.get(field)}
    features = found.get("os.features") or []
    if not all(isinstance(each, str) for each in (*described.values(), *features)):
        raise BadData(f"{found}: not a platform")
    return described | ({"os.features": list(features)} if features else {})


def name(platform: dict[str, Any]) -> str:
    """Return a platform as the user names it: `linux/arm/v7`."""
    parts = (platform.get("os", "linux"), platform.get("architecture", here()))
    named = "/".join(str(each) for each in (*parts, platform.get("variant")) if each)
    return f"{named} ({platform['os.version']})" if platform.get("os.version") else named


def key(platform: dict[str, Any]) -> tuple[Any, ...]:
    """Return what two images of an index may not share."""
    architecture = platform["architecture"]
    variant = platform.get("variant") or DEFAULT_VARIANTS.get(architecture)
    features = tuple(platform.get("os.features") or ())
    return platform["os"], architecture, variant, platform.get("os.version"), features


def _fits(entry: dict[str, Any], asked: str) -> bool:
    if kind(entry):
        return False
    found = entry.get("platform") or {}
    ours = dict(zip(("os", "architecture", "variant"), asked.split("/"), strict=False))
    return all(found.get(key, value) == value for key, value in ours.items())


def _name(entry: dict[str, Any]) -> str:
    return kind(entry) or name(entry.get("platform") or {})
