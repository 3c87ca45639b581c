"""How much of each: bars, columns, stacked bars, donut."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from huaxiang.look.numbers import Numbers
from huaxiang.look.svg import (
    drawing,
    figure,
    finite,
    label,
    legend,
    nothing,
    percent,
    shorten,
    stretch,
    tag,
    tip,
    write,
)
from huaxiang.words import Lang, Words

Shown = Callable[[Any], str]
COLOURS = 8


@dataclass(frozen=True)
class Bar:
    """One amount. shown: how the value is written (default: as a number); note: further words under the pointer."""

    label: str
    value: Any
    shown: str = ""
    note: str = ""
    colour: int = 1


def bars(rows: Sequence[Bar], *, lang: Lang, title: str = "", most: float | None = None, room: int = 30) -> Markup:
    """Horizontal bars, label and value above each. most: the value of a full bar (default: the largest)."""
    values = finite([row.value for row in rows])
    known = [abs(value) for value in values if value is not None]
    if not known:
        return nothing(Words(lang)("look.chart.nothing"), title=title)
    full = most or max(known) or 1.0
    pitch, parts = 34, []
    for place, (row, value) in enumerate(zip(rows, values, strict=True)):
        y = place * pitch
        shown = row.shown or Numbers(lang).number(value)
        width = min(abs(value or 0) / full, 1)
        parts.append(
            tag(
                "g",
                tip(": ".join(filter(None, (row.label, shown, row.note)))),
                label(shorten(row.label, room), "0", y + 13, css="t-label"),
                label(shown, "100%", y + 13, css="t-value", anchor="end"),
                tag("rect", x=0, y=y + 20, width="100%", height=6, rx=3, class_="track"),
                tag("rect", x=0, y=y + 20, width=percent(width), height=6, rx=3, class_=f"c{row.colour}"),
            )
        )
    said = "; ".join(
        f"{row.label} {row.shown or Numbers(lang).number(value)}" for row, value in zip(rows, values, strict=True)
    )
    return figure(drawing(*parts, height=len(rows) * pitch - 6, title=title, summary=said), title=title)


def columns(
    values: Sequence[Any],
    labels: Sequence[str],
    *,
    lang: Lang,
    title: str = "",
    shown: Shown | None = None,
    height: int = 92,
    every: int = 1,
    strong: Sequence[int] = (),
) -> Markup:
    """Upright bars over labels (every `every`-th is written); `strong` ones stand out (default: the highest)."""
    kept = finite(values)
    known = [value for value in kept if value is not None]
    if not known:
        return nothing(Words(lang)("look.chart.nothing"), title=title)
    say = shown or Numbers(lang).number
    top = max(known) if max(known) > 0 else 1.0
    stand = set(strong) or {place for place, value in enumerate(kept) if value == max(known) and value > 0}
    count, plot, parts = len(kept), height - 20, []
    gap = 0.22 if count < 40 else 0.1
    for place, value in enumerate(kept):
        part = max((value or 0) / top, 0) * (plot - 2)
        x, width = (place + gap / 2) / count, (1 - gap) / count
        css = "c1" if place in stand else "c1 soft"
        parts.append(
            tag(
                "g",
                tip(f"{labels[place]}: {say(value)}"),
                tag("rect", x=percent(x), y=0, width=percent(width), height=plot, class_="hit"),
                tag(
                    "rect",
                    x=percent(x),
                    y=plot - max(part, 1.5),
                    width=percent(width),
                    height=max(part, 1.5),
                    rx=2,
                    class_=css,
                ),
            )
        )
        if place % every == 0:
            parts.append(
                label(labels[place], percent((place + 0.5) / count), height - 4, css="t-axis", anchor="middle")
            )
    said = "; ".join(f"{name} {say(value)}" for name, value in zip(labels, kept, strict=True))
    return figure(drawing(*parts, height=height, title=title, summary=said), title=title)


def stacked(
    rows: Sequence[tuple[str, Sequence[Any]]],
    names: Sequence[str],
    *,
    lang: Lang,
    title: str = "",
    colours: Sequence[int] = (),
) -> Markup:
    """Rows of parts that make a whole, one colour a name."""
    wheel = list(colours) or [place % COLOURS + 1 for place in range(len(names))]
    pitch, parts, said = 36, [], []
    for place, (name, given) in enumerate(rows):
        values = [max(value or 0.0, 0.0) for value in finite(given)]
        whole, start, y = sum(values), 0.0, place * pitch
        if name:
            parts.append(label(shorten(name, 40), "0", y + 12, css="t-label"))
        parts.append(tag("rect", x=0, y=y + 19, width="100%", height=10, rx=2, class_="track"))
        for colour, kind, value in zip(wheel, names, values, strict=True):
            share = value / whole if whole else 0.0
            if share:
                words = f"{kind}: {Numbers(lang).number(value)} ({Numbers(lang).percent(share)})"
                said.append(f"{name} {words}".strip())
                box = tag(
                    "rect",
                    tip(words),
                    x=percent(start),
                    y=y + 19,
                    width=percent(share),
                    height=10,
                    class_=f"c{colour} edge",
                )
                parts.append(box)
            start += share
    if not said:
        return nothing(Words(lang)("look.chart.nothing"), title=title)
    picture = drawing(*parts, height=len(rows) * pitch - 4, title=title, summary="; ".join(said))
    return figure(picture, title=title, legend=legend(list(zip(names, wheel, strict=True))))


def donut(rows: Sequence[Bar], *, lang: Lang, title: str = "", middle: str = "") -> Markup:
    """Shares of a whole as a ring, its legend beside it with every name in full."""
    values = [max(value or 0.0, 0.0) for value in finite([row.value for row in rows])]
    whole = sum(values)
    if not whole:
        return nothing(Words(lang)("look.chart.nothing"), title=title)
    start, arcs, keys = 0.0, [], []
    around = 2 * math.pi * 40
    for row, value in zip(rows, values, strict=True):
        share = value / whole
        shown = row.shown or Numbers(lang).percent(share)
        arcs.append(
            tag(
                "circle",
                tip(f"{row.label}: {shown}"),
                cx=50,
                cy=50,
                r=40,
                class_=f"ring s{row.colour}",
                stroke_dasharray=f"{max(share * around - 1, 0.4):.2f} {around:.2f}",
                stroke_dashoffset=f"{-start * around:.2f}",
            )
        )
        keys.append(
            tag(
                "li",
                tag("i", " ", class_=f"hx-key b{row.colour}"),
                tag("span", write(row.label)),
                tag("b", write(shown)),
            )
        )
        start += share
    inner = label(middle, "50", 54, css="t-middle", anchor="middle") if middle else ""
    ring = tag(
        "svg",
        tag("g", *arcs, transform="rotate(-90 50 50)"),
        inner,
        viewBox="0 0 100 100",
        class_="hx-ring",
        role="img",
        aria_label=title or None,
    )
    return figure(tag("div", ring, tag("ul", *keys), class_="hx-donut"), title=title)


def meter(share: Any, *, lang: Lang, title: str = "", colour: int = 1) -> Markup:
    """One share (0 to 1) as a thin bar: for cells of a table."""
    value = finite([share])[0]
    width = min(max(value or 0.0, 0.0), 1.0)
    bar = tag("rect", x=0, y=0, width=width * 100, height=100, class_=f"c{colour}")
    inner = stretch(tag("rect", x=0, y=0, width=100, height=100, class_="track"), bar, y=0, height=6)
    return drawing(inner, height=6, title=title, summary=Numbers(lang).percent(value), css="hx-meter")
