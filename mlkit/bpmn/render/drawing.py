"""A thin pen over SVG elements; lxml escapes whatever text it is given."""

from __future__ import annotations

from collections.abc import Iterable

from lxml import etree

from mlkit.bpmn.render.picture import Box, Point

SVG = "http://www.w3.org/2000/svg"
INK = "#22242a"
PAPER = "#ffffff"
FONT = "Noto Sans, Arial, Helvetica, sans-serif"


def number(value: float) -> str:
    """Write a coordinate with at most two decimals."""
    return f"{round(value, 2):.2f}".rstrip("0").rstrip(".")


class Drawing:
    """A group of an SVG picture that things are drawn into.

    Args:
        element: The group.
        stroke: The colour of lines.
        fill: The colour of areas.
    """

    def __init__(self, element: etree._Element, stroke: str = INK, fill: str = PAPER) -> None:
        self.element = element
        self.stroke = stroke
        self.fill = fill

    @classmethod
    def page(cls, box: Box) -> Drawing:
        """Begin a picture that shows `box`."""
        root = etree.Element(f"{{{SVG}}}svg", nsmap={None: SVG})
        root.set("viewBox", " ".join(map(number, box)))
        root.set("width", number(box.width))
        root.set("height", number(box.height))
        root.set("font-family", FONT)
        return cls(root)

    def group(self, stroke: str = "", fill: str = "", **attributes: str) -> Drawing:
        """Begin a group inside this one; `data_x` becomes the attribute `data-x`."""
        element = self._add("g", **attributes)
        return Drawing(element, stroke or self.stroke, fill or self.fill)

    def move(self, x: float, y: float, scale: float = 1.0, symbol: str = "") -> Drawing:
        """Begin a group with its origin at another place, larger or smaller, for a symbol."""
        where = f"translate({number(x)} {number(y)})"
        if scale != 1.0:
            where += f" scale({scale:.4g})"
        return self.group(transform=where, **({"data_symbol": symbol} if symbol else {}))

    def rectangle(self, box: Box, width: float = 2, radius: float = 0, **more: str) -> None:
        """Draw a rectangle."""
        sides = dict(zip(("x", "y", "width", "height"), map(number, box), strict=True))
        round_ = {"rx": number(radius)} if radius else {}
        self._add("rect", **{**sides, **round_, **self._ink(width), **more})

    def circle(self, center: Point, radius: float, width: float = 2, **more: str) -> None:
        """Draw a circle."""
        where = {"cx": number(center.x), "cy": number(center.y), "r": number(radius)}
        self._add("circle", **{**where, **self._ink(width), **more})

    def path(self, commands: str, width: float = 2, **more: str) -> None:
        """Draw SVG path commands."""
        joins = {"stroke_linejoin": "round", "stroke_linecap": "round"}
        self._add("path", **{"d": commands, **self._ink(width), **joins, **more})

    def line(self, commands: str, width: float = 2, **more: str) -> None:
        """Draw SVG path commands without an area."""
        self.path(commands, width, **{"fill": "none", **more})

    def solid(self, commands: str, width: float = 1, **more: str) -> None:
        """Draw SVG path commands with an area in the colour of the lines."""
        self.path(commands, width, **{"fill": self.stroke, **more})

    def text(
        self, lines: Iterable[str], at: Point, size: float, leading: float, anchor: str = "middle"
    ) -> None:
        """Write lines, the first with its base line at `at.y`.

        Args:
            lines: The text.
            at: Where each line is centred, or where it starts or ends, by the anchor.
            size: Of the font, in pixels.
            leading: From one base line to the next, in pixels.
            anchor: `start`, `middle` or `end`.
        """
        element = self._add(
            "text", x=number(at.x), y=number(at.y), text_anchor=anchor,
            font_size=number(size), fill=self.stroke,
        )  # fmt: skip
        for row, each in enumerate(lines):
            span = etree.SubElement(element, f"{{{SVG}}}tspan")
            span.set("x", number(at.x))
            span.set("y", number(at.y + row * leading))
            span.text = each

    def title(self, text: str) -> None:
        """Name this group; programs show it where the mouse is."""
        self._add("title").text = text

    def bytes(self) -> bytes:
        """Return the picture as an SVG file."""
        etree.indent(self.element)
        for text in self.element.iter(f"{{{SVG}}}text"):
            # White space between the lines would be measured, and push all but the last aside.
            text.text = None
            for line in text:
                line.tail = None
        found: bytes = etree.tostring(self.element, encoding="UTF-8", xml_declaration=True)
        return found + b"\n"

    def _ink(self, width: float) -> dict[str, str]:
        return {"stroke": self.stroke, "stroke_width": number(width), "fill": self.fill}

    def _add(self, tag: str, **attributes: str) -> etree._Element:
        element = etree.SubElement(self.element, f"{{{SVG}}}{tag}")
        for name, value in attributes.items():
            element.set(name.replace("_", "-"), value)
        return element


def polygon(*points: tuple[float, float]) -> str:
    """Return the path commands of a closed polygon."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points) + "Z"


def polyline(*points: tuple[float, float]) -> str:
    """Return the path commands of an open line."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
