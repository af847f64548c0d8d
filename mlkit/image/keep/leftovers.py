"""What an image holds of no package that is nobody's: caches, what builds leave, documentation.

All else of no package is the user's own, and kept.
"""

from __future__ import annotations

import re
from typing import Literal

from mlkit.image.filesystem.inventory import FileSystem

Kind = Literal["cache", "build", "documentation", "package manager", "system"]
ALTERNATIVES = "/etc/alternatives/"
APPLET = re.compile(r"(?:usr/)?s?bin/\S+ (?:usr/)?s?bin/(?:busybox(?:\.static)?|bbsuid)")
"""A link to busybox and what it leads to: it writes one for each of its programs.

Each comes with busybox once something that is kept needs that (`Naming.other_names`).
"""
RULES: dict[Kind, re.Pattern[str]] = {
    "cache": re.compile(
        r"(?:tmp|var/tmp|var/cache)/"
        r"|(?:.*/)?(?:__pycache__|\.pytest_cache|\.mypy_cache|\.ruff_cache)/"
        r"|(?:root|home/[^/]+)/\.(?:cache/(?:pip|uv|go-build|pypoetry|yarn|node-gyp|composer"
        r"|pre-commit)|npm|cpan|gradle/caches|cargo/(?:registry|git)|bundle/cache)/"
        r"|(?:root/)?go/pkg/(?:mod|sumdb)/|usr/local/cargo/(?:registry|git)/"
    ),
    "build": re.compile(
        r"(?:usr|usr/local|opt/[^/]+)/include/|(?:.*/)?(?:\.git|\.hg|\.svn|jmods)/"
        r"|.*\.(?:a|o|h|hpp)$|(?:.*/)?lib(?:64|/[^/]+-linux-gnu)?/[^/]+\.la$|(?:.*/)?lib/(?:pkgconfig|cmake)/|(?:.*/)?lib/(?:src\.zip|ct\.sym)$"
        r"|usr/local/go/(?!lib/time/)|(?:usr/local|root/\.)rustup/"
        r"|(?:.*/)?target/(?:debug|release)/(?:deps|build|incremental|\.fingerprint)/"
        r"|usr/src/(?:php|python|linux)[^/]*(?:\.tar[^/]*|/)"
    ),
    "documentation": re.compile(
        r"usr/(?:local/)?(?:share/)?(?:doc|man|info|lintian|gtk-doc)/"
        r"|usr/local/(?:CHANGELOG|README)\.md$"
    ),
    "package manager": re.compile(
        r"(?:.*/)?lib/node_modules/(?:npm|corepack|yarn|pnpm)/|opt/yarn-v[^/]*/"
        r"|usr/local/bin/(?:docker-(?:php|java)-[^/]*|phpize|php-config|pear\w*|pecl)$"
        r"|(?:.*/)?bin/(?:pip|idle|pydoc|2to3|easy_install)[\d.]*(?:-[\d.]+)?$"
        r"|(?:.*/)?bin/python[\d.]*-config$"
    ),
    "system": re.compile(
        r"(?:proc|sys|dev|boot)/|var/lib/(?:apt|dpkg|systemd|pam|ucf|debconf)/|etc/alternatives/"
        r"|(?:usr/)?lib/apk/|etc/apk/|etc/.*\.apk-(?:new|old)$"
        r"|etc/rc\w\.d/|etc/systemd/(?:system|user)/[^/]*\.(?:wants|requires)/|etc/apt/|etc/dpkg/"
        r"|etc/(?:(?:passwd|group|shadow|gshadow|subuid|subgid)-|\.pwd\.lock)$"
        r"|var/log/(?:apt/|journal/|(?:dpkg|alternatives|bootstrap|fontconfig)\.log|faillog|lastlog"
        r"|[bw]tmp)|usr/share/info/dir|usr/lib/locale/locale-archive$|\.dockerenv$"
    ),
}
"""The whole list; `docs/image.md` shows it, and each slimming what it cost."""


def leftover(path: str, files: FileSystem) -> Kind | None:
    """Return what kind of leftover a path of no package is; None: it is the user's own."""
    entry = files.get(path)
    if entry is not None and entry.kind == "symlink":
        if entry.target.startswith(ALTERNATIVES):
            return "system"
        real, _ = files.walk(path)
        if real is not None and APPLET.fullmatch(f"{path} {real}"):
            return "system"
        if real is not None and real != path:
            return _kind(path) or _kind(real)
    return _kind(path)


def _kind(path: str) -> Kind | None:
    return next((kind for kind, rule in RULES.items() if rule.match(path)), None)
