"""An image's config document: what the readers of it rely on is checked once, here."""

from __future__ import annotations

from typing import Any

from mlkit.errors import BadData

TEXT, TEXTS, NAMES = "a text", "a list of texts", "an object"
SHAPES = {
    **dict.fromkeys(("User", "WorkingDir", "StopSignal"), TEXT),
    **dict.fromkeys(("Env", "Entrypoint", "Cmd", "Shell", "OnBuild"), TEXTS),
    **dict.fromkeys(("Labels", "ExposedPorts", "Volumes", "Healthcheck"), NAMES),
}
"""What a config holds of which kind, if it holds it (OCI image specification, `config`)."""


def check_config(document: Any, source: str) -> None:
    """Refuse a config document whose parts are of other types than they should be.

    Args:
        document: The whole document.
        source: Of which image.

    Raises:
        BadData: It is not a config.
    """
    for problem in _problems(document):
        raise BadData(f"{source}: the image's config: {problem}", hint="the archive is damaged")


def _problems(document: Any) -> list[str]:
    if not isinstance(document, dict):
        return ["not an object"]
    found = [
        f"{name} is not a text"
        for name in ("architecture", "os", "created", "variant")
        if not isinstance(document.get(name, ""), str | None)
    ]
    ids = (document.get("rootfs") or {}) if isinstance(document.get("rootfs"), dict) else {}
    if not _is(ids.get("diff_ids"), TEXTS):
        found.append("rootfs.diff_ids is not a list of texts")
    if not isinstance(document.get("history"), list | None):
        found.append("history is not a list")
    config = document.get("config") or {}
    if not isinstance(config, dict):
        return [*found, "config is not an object"]
    found += [
        f"{name} is not {shape}"
        for name, shape in SHAPES.items()
        if config.get(name) is not None and not _is(config[name], shape)
    ]
    return found or _parts(config)


def _parts(config: dict[str, Any]) -> list[str]:
    labels = (config.get("Labels") or {}).values()
    test = (config.get("Healthcheck") or {}).get("Test")
    found = [] if all(isinstance(each, str) for each in labels) else ["a label is not a text"]
    return found if test is None or _is(test, TEXTS) else [*found, "Healthcheck.Test is not a list"]


def _is(value: Any, shape: str) -> bool:
    if shape == TEXT:
        return isinstance(value, str)
    if shape == NAMES:
        return isinstance(value, dict)
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
