"""A Dockerfile that builds a result with any builder: the original's files by a list, and ours.

The folder is the whole build context. One stage holds the original's files, from which a static
busybox removes what is not on the list; the archive of what slimming has added goes over them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlkit.errors import BadData
from mlkit.image.base.debian import busybox
from mlkit.image.filesystem import build
from mlkit.image.filesystem.build import Item
from mlkit.image.filesystem.inventory import Inventory
from mlkit.image.result import Built

KEPT, ADDED, BUSYBOX = "kept.txt", "added.tar", "busybox"
TREE = "/tree/"
REMOVE = (
    f"cd {TREE} && /{BUSYBOX} find . >/all"
    f" && /{BUSYBOX} awk 'NR == FNR {{ kept[$0]; next }} !($0 in kept)' /{KEPT} /all >/gone"
    f" && /{BUSYBOX} tr '\\n' '\\0' </gone | /{BUSYBOX} xargs -0 /{BUSYBOX} rm -rf --"
)
"""Removes what is not on the list; a folder of which something is kept is on it."""
DURATIONS = {
    "Interval": "interval",
    "Timeout": "timeout",
    "StartPeriod": "start-period",
    "StartInterval": "start-interval",
}
"""Of a health check, in nanoseconds."""
WORDS = {"WorkingDir": "WORKDIR", "User": "USER", "StopSignal": "STOPSIGNAL"}
LISTS = {"Shell": "SHELL", "Entrypoint": "ENTRYPOINT", "Cmd": "CMD"}
EXPANDED = re.compile(r'["\\$]')


def check(name: str, config: Mapping[str, Any]) -> None:
    """Refuse early what a Dockerfile cannot say.

    Args:
        name: The original, as the engine knows it.
        config: Its config.

    Raises:
        BadData: One of its values has a line break, or it has triggers of its own.
    """
    if config.get("OnBuild"):
        hint = "take --output instead"
        raise BadData(f"{name}: --dockerfile: its ONBUILD triggers would run first", hint=hint)
    for what, value in _texts(config):
        if "\n" in value or "\r" in value:
            hint = "no Dockerfile can hold it; take --output instead"
            raise BadData(f"{name}: --dockerfile: {what} has a line break", hint=hint)


def _texts(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """List what an instruction holds in a line of its own, each with what it is."""
    for key, value in (config.get("Labels") or {}).items():
        yield f"the label {key!r}", f"{key}{value}"
    for each in config.get("Env") or ():
        yield f"the variable {each.partition('=')[0]}", each
    for key in ("WorkingDir", "User", "StopSignal"):
        yield key, str(config.get(key) or "")
    test = (config.get("Healthcheck") or {}).get("Test") or []
    if test[:1] == ["CMD-SHELL"]:
        yield "the health check", test[1]


def write(folder: Path, name: str, original: Inventory, built: Built, gained: bool) -> None:
    """Write a Dockerfile and what it needs into an empty folder.

    Args:
        folder: The build context.
        name: The original, as the builder knows it.
        original: Its files.
        built: The result.
        gained: The result is another one than the original.

    Raises:
        BadData: A name has a line break.
        ServiceUnavailable: busybox cannot be had.
    """
    first = f"# Made by `mlkit image slim` of {original.image.id}.\nARG ORIGINAL={name}\n"
    if not gained:
        (folder / "Dockerfile").write_text(f"{first}FROM $ORIGINAL\n")
        return
    kept, added = divide(built.files.items, original)
    lines = [f"./{path}" for path in sorted(kept)]
    if bad := next((each for each in lines if "\n" in each), None):
        raise BadData(f"--dockerfile: the name {bad[1:]!r} has a line break")
    text = "".join(f"{each}\n" for each in [".", *lines])
    (folder / KEPT).write_bytes(text.encode(errors="surrogateescape"))
    build.write_layer(added, folder / ADDED)
    (folder / BUSYBOX).write_bytes(busybox())
    (folder / BUSYBOX).chmod(0o755)
    config = json.loads(built.document)["config"]
    (folder / "Dockerfile").write_text(first + "\n".join([*_stages(), *instructions(config), ""]))


def divide(items: Mapping[str, Item], original: Inventory) -> tuple[list[str], list[Item]]:
    """Return the paths that the original gives, and what is put over them.

    Directories are both: removing what is in them changes their times.

    Args:
        items: The result, by path.
        original: The original's files.
    """
    theirs = {path for path, each in items.items() if each.data is original}
    folders = {each for path in items for each in build.parents(path)}
    folders |= {path for path, each in items.items() if each.entry.kind == "directory"}
    added = [
        each for path, each in items.items() if path not in theirs or each.entry.kind == "directory"
    ]
    return sorted(theirs | folders), added


def _stages() -> list[str]:
    remove = json.dumps([f"/{BUSYBOX}", "sh", "-c", REMOVE])
    return [
        "FROM $ORIGINAL AS original",
        "",
        "FROM scratch AS files",
        f"COPY {BUSYBOX} {KEPT} /",
        f"COPY --from=original / {TREE}",
        f"RUN {remove}",
        f"ADD {ADDED} {TREE}",
        "",
        "FROM scratch",
        f"COPY --from=files {TREE} /",
    ]


def instructions(config: Mapping[str, Any]) -> Iterator[str]:
    """Write the config of an image as instructions of a Dockerfile."""
    variables = (each.partition("=")[::2] for each in config.get("Env") or ())
    yield from (f"ENV {key}={_quote(value)}" for key, value in variables)
    labels = (config.get("Labels") or {}).items()
    yield from (f"LABEL {_quote(key)}={_quote(value)}" for key, value in labels)
    yield from (f"EXPOSE {each}" for each in config.get("ExposedPorts") or ())
    volumes = (_plain(each) for each in config.get("Volumes") or ())
    yield from (f"VOLUME {json.dumps([each])}" for each in volumes)
    given = {key: value for key, value in config.items() if value}
    yield from (f"{WORDS[key]} {_plain(given[key])}" for key in WORDS if key in given)
    if "Healthcheck" in given:
        yield _health(given["Healthcheck"])
    yield from (f"{LISTS[key]} {json.dumps(given[key])}" for key in LISTS if key in given)


def _health(check: Mapping[str, Any]) -> str:
    kind, *words = check.get("Test") or ["NONE"]
    if kind == "NONE":
        return "HEALTHCHECK NONE"
    options = [f"--{word}={check[key]}ns" for key, word in DURATIONS.items() if check.get(key)]
    options += [f"--retries={check['Retries']}"] if check.get("Retries") else []
    line = json.dumps(words) if kind == "CMD" else words[0]
    return " ".join(["HEALTHCHECK", *options, "CMD", line])


def _quote(text: str) -> str:
    return f'"{_plain(text)}"'


def _plain(text: str) -> str:
    """Escape what a builder would expand."""
    return EXPANDED.sub(r"\\\g<0>", str(text))
