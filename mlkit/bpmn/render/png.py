"""From a picture as SVG to a PNG file.

Latin, Greek and Cyrillic text is drawn in the font that comes with mlkit, the same on every
machine. The extra `mlkit[fonts]` does the same for Arabic, Devanagari, Tamil and Thai. A picture
with other characters takes the fonts of the system as well, so that it may look different
elsewhere; what no font has is drawn as a box.
"""

from __future__ import annotations

import importlib.util
import re
from importlib.machinery import ModuleSpec
from pathlib import Path

from mlkit.bpmn.render.drawing import PAPER
from mlkit.bpmn.render.themes import DARK
from mlkit.errors import BadData, ServiceUnavailable

_MOST_PIXELS = 60e6
_ZOOM = 2.0
_FONTS = {
    "fontpkg_noto_sans": r"\0-\u058f\u1e00-\u1fff\u2010-\u2027\u20a0-\u20bf",
    "fontpkg_noto_sans_arabic": r"\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff",
    "fontpkg_noto_sans_devanagari": r"\u0900-\u097f",
    "fontpkg_noto_sans_tamil": r"\u0b80-\u0bff",
    "fontpkg_noto_sans_thai": r"\u0e00-\u0e7f",
}
"""Packages of fonts, and the characters that they are for, as a class of a regular expression."""


def png(svg: bytes, theme: str = "light") -> bytes:
    """Turn an SVG picture of ours into a PNG file, at twice its size.

    Raises:
        BadData: The picture would be larger than 60 million pixels.
        ServiceUnavailable: The packages that draw it are not installed.
    """
    try:
        import fontpkg_noto_sans  # noqa: F401
        import resvg_py
    except ImportError as error:
        hint = "pip install resvg-py fontpkg-noto-sans, or ask for SVG"
        raise ServiceUnavailable(f"no PNG: {error}", hint=hint) from error
    from lxml import etree

    size = etree.fromstring(svg)
    if float(size.get("width")) * float(size.get("height")) * _ZOOM**2 > _MOST_PIXELS:
        raise BadData("the picture is too large for a PNG", hint="ask for SVG: -o FILE.svg")
    text = svg.decode()
    packages = {each: spec for each in _FONTS if (spec := importlib.util.find_spec(each))}
    known = "".join(_FONTS[each] for each in packages)
    found: bytes = resvg_py.svg_to_bytes(
        svg_string=text, background=DARK[PAPER] if theme == "dark" else PAPER, zoom=_ZOOM,
        skip_system_fonts=re.fullmatch(f"[{known}]*", text) is not None,
        font_files=[file for each in packages.values() for file in _upright(each)],
        font_family="Noto Sans", sans_serif_family="Noto Sans",
    )  # fmt: skip
    return found


def _upright(package: ModuleSpec) -> list[str]:
    folder = Path(package.origin or "").parent / "files"
    return [str(each) for each in sorted(folder.glob("*.ttf")) if "Italic" not in each.name]
