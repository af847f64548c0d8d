"""The URL by which others reach a server, where that is not the address it listens on."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from mlkit.errors import UsageError


def parse(text: str) -> str:
    """Return a base URL as links begin: without a slash at the end.

    Args:
        text: A scheme, a host and perhaps a port. Pages are at the root of their host: a path
            would lead their links astray, and a password would be in each of them.

    Raises:
        UsageError: It is none.
    """
    try:
        parts = urlsplit(text)
        is_one = _is_base(parts)
    except ValueError:  # The port is no number, or brackets do not match.
        is_one = False
    if not is_one:
        raise UsageError(
            f"--base-url {text!r:.200}: expected a scheme and a host, perhaps a port",
            hint="such as https://flows.example.org: no path, no query, no password",
        )
    return f"{parts.scheme}://{parts.netloc}"


def _is_base(parts: SplitResult) -> bool:
    # Reading the port checks it.
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and parts.port != 0
        and "@" not in parts.netloc
        and parts.path in ("", "/")
        and not parts.query
        and not parts.fragment
        and not set(" \t\\<>\"'") & set(parts.netloc)
    )
