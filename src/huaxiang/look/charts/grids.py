"""Many values as an area: heat maps (rhythm, retention, a matrix of segments), the treemap of tastes, the clock of a day."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from huaxiang.look.charts.amounts import COLOURS, Bar
from huaxiang.look.numbers import Numbers
from huaxiang.look.svg import drawing, figure, finite, label, nothing, percent, shorten, tag, tip, wide, write
from huaxiang.words import Lang, Words

Shown = Callable[[Any], str]


def heat(
    grid: Sequence[Sequence[Any]],
    rows: Sequence[str],
    across: Sequence[str],
    *,
    lang: Lang,
    title: str = "",
    shown: Shown | None = None,
    write_cells: bool = False,
    most: float | None = None,
    every: int = 1,
    cell: int = 26,
    note: str = "",
    row_room: int = 12,
) -> Markup:
    """Cells as dark as their value (empty ones stay blank); `write_cells` writes it into each."""
    kept = [finite(row) for row in grid]
    known = [value for row in kept for value in row if value is not None]
    if not known:
        return nothing(Words(lang)("look.chart.nothing"), title=title)
    say = shown or Numbers(lang).compact
    top = most or max(known) or 1.0
    margin = 8 + min(max((wide(shorten(name, row_room)) for name in rows), default=0), row_room) * 6.2
    count, parts, said = max(len(across), 1), [], []
    for place, name in enumerate(rows):
        parts.append(label(shorten(name, row_room), "0", 18 + place * cell + cell / 2 + 4, css="t-axis"))
    inside = []
    for column, name in enumerate(across):
        if column % every == 0:
            inside.append(label(name, percent((column + 0.5) / count), 11, css="t-axis", anchor="middle"))
    for row, values in enumerate(kept):
        for column, value in enumerate(values[:count]):
            if value is None:
                continue
            share = min(max(value / top, 0.0), 1.0) ** 0.8
            x, y = column / count, 18 + row * cell
            words = f"{rows[row]} · {across[column]}: {say(value)}"
            said.append(words)
            size = {"x": percent(x), "y": y, "width": percent(1 / count), "height": cell}
            box = tag("rect", tip(words), **size, class_="cell", fill_opacity=round(0.05 + 0.95 * share, 3))
            inside.append(box)
            if write_cells:
                css = "t-cell inverse" if share > 0.72 else "t-cell"
                inside.append(label(say(value), percent(x + 0.5 / count), y + cell / 2 + 4, css=css, anchor="middle"))
    body = tag(
        "svg", *inside, x="0", y=0, width="100%", height=18 + cell * len(rows), class_="grid-cells", overflow="visible"
    )
    # the margin of the row names is in pixels, the cells in percent of what is left: two boxes side by side
    names = drawing(*parts, height=18 + cell * len(rows), title="", css="names")
    names = Markup(
        str(names).replace('width="100%"', f'width="{margin:.0f}"', 1).replace('role="img"', 'aria-hidden="true"', 1)
    )
    cells = drawing(body, height=18 + cell * len(rows), title=title, summary="; ".join(said[:200]))
    return figure(tag("div", str(names), str(cells), class_="hx-heat"), title=title, note=note)


def treemap(rows: Sequence[Bar], *, lang: Lang, title: str = "", height: int = 220, note: str = "") -> Markup:
    """Tiles as large as their values, largest first (squarified); label and value inside, in full under the pointer."""
    pairs = [
        (row, value)
        for row, value in zip(rows, finite([row.value for row in rows]), strict=True)
        if value and value > 0
    ]
    if not pairs:
        return nothing(Words(lang)("look.chart.nothing"), title=title)
    pairs.sort(key=lambda pair: -pair[1])
    whole = sum(value for _, value in pairs)
    pairs = _with_others(pairs, whole, Words(lang))
    parts = []
    ratio = 2.4  # width over height that tiles are made square for
    boxes = _squarify([value / whole * ratio for _, value in pairs], 0.0, 0.0, ratio, 1.0)
    for place, ((row, value), (x, y, w, h)) in enumerate(zip(pairs, boxes, strict=True)):
        shown = row.shown or Numbers(lang).percent(value / whole)
        pixels = h * height
        css = f"tile c{min(place + 1, COLOURS)}"
        said = tag("b", write(row.label)) + (tag("span", write(shown)) if pixels >= 44 else "")
        inner = (
            tag("div", said, class_="hx-tile", xmlns="http://www.w3.org/1999/xhtml")
            if w / ratio > 0.1 and pixels >= 24
            else ""
        )
        parts.append(
            tag(
                "g",
                tip(": ".join(filter(None, (row.label, shown, row.note)))),
                tag(
                    "rect",
                    x=percent(x / ratio),
                    y=y * height,
                    width=percent(w / ratio),
                    height=pixels,
                    class_=css,
                    rx=3,
                ),
                tag("foreignObject", inner, x=percent(x / ratio), y=y * height, width=percent(w / ratio), height=pixels)
                if inner
                else "",
            )
        )
    said = "; ".join(f"{row.label} {row.shown or Numbers(lang).percent(value / whole)}" for row, value in pairs)
    return figure(drawing(*parts, height=height, title=title, summary=said), title=title, note=note)


def clock(hours: Sequence[Any], *, lang: Lang, title: str = "", middle: str = "", below: str = "") -> Markup:
    """The 24 hours of a customer's day as rays around a face: midnight on top, longer where more happens."""
    kept = [max(value or 0.0, 0.0) for value in finite(hours)][:24]
    kept += [0.0] * (24 - len(kept))
    top = max(kept) or 1.0
    rays, words = [], Words(lang)
    for hour, value in enumerate(kept):
        angle = (hour + 0.5) / 24 * 2 * math.pi
        inner, outer = 50.0, 52.0 + 26.0 * (value / top)
        x, y = math.sin(angle), -math.cos(angle)
        ends = {"x1": 80 + inner * x, "y1": 80 + inner * y, "x2": 80 + outer * x, "y2": 80 + outer * y}
        css = "ray" if value else "ray none"
        share = Numbers(lang).percent(value / (sum(kept) or 1))
        rays.append(
            tag(
                "line",
                tip(words("look.chart.hour", hour=hour, share=share)),
                **ends,
                class_=css,
                opacity=round(0.45 + 0.55 * value / top, 2),
            )
        )
    face = tag("circle", cx=80, cy=80, r=43, class_="face")
    inside = label(middle, "80", 84 if below else 88, css="t-face", anchor="middle")
    inside += label(below, "80", 102, css="t-axis", anchor="middle") if below else ""
    return Markup(
        tag(
            "svg",
            tip(title),
            *rays,
            face,
            inside,
            viewBox="0 0 160 160",
            class_="hx-svg hx-clock",
            role="img",
            aria_label=title or None,
        )
    )


def _with_others(pairs: list[tuple[Bar, float]], whole: float, words: Words) -> list[tuple[Bar, float]]:
    """The pairs, those under two per cent put together as the last one where there are several."""
    small = [(row, value) for row, value in pairs if value / whole < 0.02]
    if len(small) < 2:
        return pairs
    together = sum(value for _, value in small)
    names = ", ".join(row.label for row, _ in small)
    others = Bar(words("look.chart.others", n=len(small)), together, note=shorten(names, 160))
    return [pair for pair in pairs if pair not in small] + [(others, together)]


Box = tuple[float, float, float, float]


def _squarify(sizes: Sequence[float], x: float, y: float, w: float, h: float) -> list[Box]:
    """Boxes (x, y, width, height) of these areas filling w × h. source: Bruls, Huizing & van Wijk 2000, §3."""
    boxes: list[Box] = []
    start = 0
    while start < len(sizes):
        side, end = min(w, h), start + 1
        while end < len(sizes) and _worst(sizes[start : end + 1], side) <= _worst(sizes[start:end], side):
            end += 1
        row = sizes[start:end]
        depth = sum(row) / side if side else 0.0
        offset = 0.0
        for size in row:
            length = size / depth if depth else 0.0
            boxes.append((x, y + offset, depth, length) if w >= h else (x + offset, y, length, depth))
            offset += length
        x, y, w, h = (x + depth, y, w - depth, h) if w >= h else (x, y + depth, w, h - depth)
        w, h, start = max(w, 0.0), max(h, 0.0), end
    return boxes


def _worst(row: Sequence[float], side: float) -> float:
    whole = sum(row)
    if not whole or not side or not min(row):
        return math.inf
    return max(side * side * max(row) / whole**2, whole**2 / (side * side * min(row)))
