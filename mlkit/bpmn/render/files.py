"""From a BPMN file to its pictures, and from a picture to a PNG file."""

from __future__ import annotations

from pathlib import Path

from mlkit.bpmn.parser import xml
from mlkit.bpmn.parser.xml import Element
from mlkit.bpmn.render import interchange, layout
from mlkit.bpmn.render.picture import Picture
from mlkit.errors import BadData, ServiceUnavailable

_MOST_PIXELS = 60e6
_ZOOM = 2.0


def picture(path: Path) -> Picture:
    """Give the picture of a file's first diagram, or an automatic layout of one without.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is no BPMN document, or nothing in it can be drawn.
    """
    return pictures(xml.read(path)[0], str(path))[0]


def parsed(content: bytes, file: str) -> Picture:
    """Give the picture of a document that is already in memory; raises as `picture` does."""
    return pictures(xml.parse(content, file), file)[0]


def pictures(root: Element, file: str) -> list[Picture]:
    """Give the pictures of all diagrams of a document, or an automatic layout.

    Args:
        root: The `definitions` element.
        file: Its name, for messages.

    Raises:
        BadData: Nothing in it can be drawn.
    """
    drawn = [interchange.read(root, each, file) for each in interchange.planes(root)]
    found = [each for each in drawn if each.shapes] or [layout.arrange(root)]
    if not found[0].shapes:
        raise BadData(f"{file}: there is nothing to draw: no process has a flow node")
    return found


def png(svg: bytes) -> bytes:
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
        svg_string=svg.decode(), background="#ffffff", zoom=_ZOOM, skip_system_fonts=True,
        font_files=[str(fonts / "NotoSans[wdth,wght].ttf")], font_family="Noto Sans",
        sans_serif_family="Noto Sans",
    )  # fmt: skip
    return found
