"""The encodings of price files: those that can be recognised by their bytes, and the one named."""

from __future__ import annotations

import codecs
import re

from mlkit.errors import BadData, UsageError
from mlkit.pairs.prices.vendors import DATE_NAMES, FIELD_NAMES, TICKER_NAMES, is_other, plain

HINT = (
    "save the file as UTF-8, or name its encoding, such as --encoding cp1252 (Western Europe), "
    "cp1250 or cp1251"
)
WESTERN = "cp1252"

_BEYOND_ASCII = re.compile(rb'[^,;|"\t\r\n]*[\x80-\xff][^,;|"\t\r\n]*')
_SPACED = re.compile(r"[-+\d.\xa0]+")


def to_utf8(content: bytes, source: str, encoding: str | None) -> tuple[bytes, str | None]:
    """Return text as UTF-8 without a byte order mark, and a note on how it was read.

    Raises:
        BadData: The text is not in the encoding that was named or found, or none can be recognised.
        UsageError: There is no such encoding.
    """
    if encoding is not None:
        return _decode(content, source, _known(encoding)), None
    if content.startswith(codecs.BOM_UTF8):
        content = content[3:]
    elif (kind := _utf32(content)) is not None or (kind := _utf16(content)) is not None:
        return _decode(content, source, kind), None
    if content.isascii() or _is_utf8(content):
        return content, None
    if _is_western(content):
        return _decode(content, source, WESTERN), "Windows-1252 text"
    lines = enumerate(content.strip(b" \r\n").splitlines(), start=1)
    row = next((number for number, line in lines if not _is_utf8(line)), 1)
    raise BadData(f"{source}: row {row}: not UTF-8 text, and of no sure encoding", hint=HINT)


def _known(encoding: str) -> str:
    """Return the name of an encoding of text; others, such as base64, are none."""
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        hint = "names as Python has them: utf-8, cp1252, latin-1, cp1251, shift_jis, ..."
        raise UsageError(f"--encoding {encoding}: there is no such encoding", hint=hint) from None
    return encoding


def _decode(content: bytes, source: str, encoding: str) -> bytes:
    try:
        return content.decode(encoding).removeprefix("\ufeff").encode()
    except UnicodeError as error:
        raise BadData(f"{source}: not {encoding.upper()} text: {error}") from error


def _utf32(content: bytes) -> str | None:
    """Return which UTF-32 it is; its marks begin as those of UTF-16 do, and so it comes first."""
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    start = content[:16]  # the beginning of a header is ASCII
    zeros = tuple(each for each in range(4) if len(start) == 16 and not any(start[each::4]))
    found: dict[tuple[int, ...], str] = {(1, 2, 3): "utf-32-le", (0, 1, 2): "utf-32-be"}
    return found.get(zeros)


def _utf16(content: bytes) -> str | None:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    start = content[:200]
    if len(start) > 7 and start.count(0) >= len(start) // 3:
        return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
    return None


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_western(content: bytes) -> bool:
    """Return whether Windows-1252, which holds Latin-1, is the encoding without doubt.

    Every cell beyond ASCII is a column's known name in it, or a number with hard spaces between
    its digits. A ticker could be anything in another encoding.
    """
    cells = {each.group() for each in _BEYOND_ASCII.finditer(content)}
    return all(map(_is_known, cells))


def _is_known(cell: bytes) -> bool:
    try:
        text = cell.decode(WESTERN).strip()
    except UnicodeDecodeError:
        return False
    name = plain(text)
    names = name in FIELD_NAMES or name in DATE_NAMES or name in TICKER_NAMES or is_other(text)
    return names or _SPACED.fullmatch(text) is not None
