"""From a picture as SVG to a PNG file."""

from __future__ import annotations

from pathlib import Path

from mlkit.bpmn.render.drawing import PAPER
from mlkit.bpmn.render.themes import DARK
from mlkit.errors import BadData, ServiceUnavailable

_MOST_PIXELS = 60e6
_ZOOM = 2.0


def png(svg: bytes, theme: str = "light") -> bytes:
    """Turn an SVG picture of ours into a PNG file, at twice its size.

    The font comes with the package, so that the picture is the same on every machine.

    Raises:
        BadData: The picture would be larger than 60 million pixels.
        ServiceUnavailable: The packages that draw it are not installed.
    """
    try:
        import fontpkg_noto_sans
        import resvg_py
    except ImportError as error:
        hint = "pip install resvg-py fontpkg-noto-sans, or ask for SVG"
        raise ServiceUnavailable(f"no PNG: {error}", hint=hint) from error
    from lxml import etree

    size = etree.fromstring(svg)
    if float(size.get("width")) * float(size.get("height")) * _ZOOM**2 > _MOST_PIXELS:
        raise BadData("the picture is too large for a PNG", hint="ask for SVG: -o FILE.svg")
    fonts = Path(fontpkg_noto_sans.__file__).parent / "files"
    found: bytes = resvg_py.svg_to_bytes(
        svg_string=svg.decode(), background=DARK[PAPER] if theme == "dark" else PAPER,
        zoom=_ZOOM, skip_system_fonts=True,
        font_files=[str(fonts / "NotoSans[wdth,wght].ttf")], font_family="Noto Sans",
        sans_serif_family="Noto Sans",
    )  # fmt: skip
    return found
