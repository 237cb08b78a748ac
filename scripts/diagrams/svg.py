"""The few shapes that the pictures are made of; numbers only, so that the same code draws the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

INK: Final = "#1f2933"
SOFT: Final = "#52606d"
LINE: Final = "#829ab1"
BLUE: Final = ("#e6f0fb", "#2f6fb3")
AMBER: Final = ("#fdf3dc", "#b7791f")
GREEN: Final = ("#e3f6ea", "#07a050")
GREY: Final = ("#f0f3f6", "#829ab1")
RED: Final = ("#fde8e4", "#c2412d")
Colours = tuple[str, str]
"""Fill and stroke."""

FONT: Final = (
    "system-ui, -apple-system, 'Segoe UI', 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', sans-serif"
)


def picture(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """A whole file: white ground, arrow heads, the parts in order. `title` is for screen readers."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" font-family="{FONT}">\n'
        f"<title>{escape(title)}</title>\n"
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
        f' orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="{SOFT}"/></marker></defs>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def words(
    x: int,
    y: int,
    text: str,
    *,
    size: int = 14,
    colour: str = INK,
    bold: bool = False,
    anchor: str = "middle",
) -> str:
    """One line of text; `y` is its base line."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight}>'
        f"{escape(text)}</text>"
    )


def box(x: int, y: int, width: int, height: int, colours: Colours, *, radius: int = 8) -> str:
    """A rectangle; half its height as radius makes a pill."""
    fill, stroke = colours
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" fill="{fill}"'
        f' stroke="{stroke}" stroke-width="1.5"/>'
    )


def labelled(
    x: int, y: int, width: int, height: int, *, colours: Colours, lines: list[str], radius: int = 8
) -> str:
    """A box with its name in bold and what it does under it."""
    middle, top = x + width // 2, y + height // 2 - 9 * (len(lines) - 1) + 5
    texts = [
        words(
            middle,
            top + 18 * index,
            line,
            size=12 if index else 15,
            bold=not index,
            colour=SOFT if index else INK,
        )
        for index, line in enumerate(lines)
    ]
    return "\n".join([box(x, y, width, height, colours, radius=radius), *texts])


def cylinder(x: int, y: int, width: int, height: int, colours: Colours) -> str:
    """A database."""
    fill, stroke = colours
    across, down = width // 2, 12
    return (
        f'<path d="M{x} {y + down}v{height - 2 * down}a{across} {down} 0 0 0 {width} 0v{2 * down - height}"'
        f' fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>\n'
        f'<ellipse cx="{x + across}" cy="{y + down}" rx="{across}" ry="{down}" fill="{fill}"'
        f' stroke="{stroke}" stroke-width="1.5"/>'
    )


def arrow(path: str, *, dotted: bool = False, both: bool = False) -> str:
    """A line along an SVG path, with a head at its end (or at both)."""
    dash = ' stroke-dasharray="2 5" stroke-linecap="round"' if dotted else ""
    start = ' marker-start="url(#head)"' if both else ""
    style = f'fill="none" stroke="{SOFT}" stroke-width="1.6"{dash}'
    return f'<path d="{path}" {style}{start} marker-end="url(#head)"/>'


def rule(x1: int, y1: int, x2: int, y2: int, *, dotted: bool = True) -> str:
    """A thin straight line."""
    dash = ' stroke-dasharray="3 4"' if dotted else ""
    return f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{LINE}" stroke-width="1"{dash}/>'
