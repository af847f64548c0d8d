"""Light and dark: the colours of a drawing, exchanged for others of the same contrast."""

from __future__ import annotations

from lxml import etree

from mlkit.bpmn.render.drawing import INK, PAPER, SVG

SHADE, RULE = "#eef0f4", "#8a909c"
DARK = {
    INK: "#e6e8ee",
    PAPER: "#16181d",
    SHADE: "#262a33",
    RULE: "#6b7280",
    # The colours of states, see `page.PALETTE`: lines, then areas.
    "#1c7c45": "#6fdc9c", "#dcf5e3": "#143a24",
    "#1f5fd0": "#8db8ff", "#dbe8ff": "#16294d",
    "#a86200": "#ffc266", "#fff0cc": "#41300c",
    "#c22727": "#ff9c96", "#fde0de": "#4a1a1a",
    "#74777f": "#a5a9b3", "#ececef": "#2a2d34",
    # Those of heat, see `heat.HEAT`.
    "#6d5a2e": "#cdbb94", "#fff7e6": "#2b2518",
    "#8a4b00": "#f0b866", "#ffe3b8": "#463110",
    "#8f300a": "#ffb491", "#ffc4a3": "#5a2c14",
    "#7d1010": "#ffc4bf", "#f79a90": "#74201c",
}  # fmt: skip
_PAINTS = ("fill", "stroke")


def apply(root: etree._Element, theme: str) -> None:
    """Colour a drawing that was made in the light colours.

    Args:
        root: The drawing.
        theme: `light`, `dark`, or `auto`, which follows what the reader's system prefers in
            programs that know it; others show `light`.
    """
    if theme == "dark":
        for each in root.iter(f"{{{SVG}}}*"):
            for paint in _PAINTS:
                if each.get(paint) in DARK:
                    each.set(paint, DARK[str(each.get(paint))])
    elif theme == "auto":
        style = etree.Element(f"{{{SVG}}}style")
        style.text = f"@media (prefers-color-scheme: dark) {{ {_rules()} }}"
        root.insert(0, style)


def _rules() -> str:
    return " ".join(
        f'[{paint}="{light}"] {{ {paint}: {dark} }}'
        for light, dark in DARK.items()
        for paint in _PAINTS
    )
