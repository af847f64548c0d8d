"""Files of XML that may be hostile: no entities, no DTD, no network, nothing enormous."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from lxml import etree

from mlkit.errors import BadData
from mlkit.files import read_regular

MAX_BYTES = 20_000_000
Element: TypeAlias = etree._Element


def read(path: Path) -> bytes:
    """Read the bytes of a file.

    Raises:
        InputMissing: The file cannot be read, or is no regular one.
        BadData: It is too large.
    """
    return read_regular(path, MAX_BYTES)


def parse(content: bytes, place: str) -> Element:
    """Parse bytes and return the root; `place` names them in messages.

    Raises:
        BadData: They are not XML, or declare a DTD.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        reason = str(error.msg).removesuffix(f", line {line}, column {column}")
        raise BadData(f"{place}:{line or 1}: not XML: {reason} (column {column})") from error
    if root.getroottree().docinfo.doctype:
        raise BadData(f"{place}: declares a DTD", hint="remove the <!DOCTYPE ...> declaration")
    return root
