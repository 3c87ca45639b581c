"""A prediction and why: the range it lies in, and what pushed it there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from huaxiang.look.numbers import Numbers
from huaxiang.look.svg import drawing, figure, finite, label, nothing, percent, shorten, tag, tip
from huaxiang.words import Lang, Words

Shown = Callable[[Any], str]


@dataclass(frozen=True)
class Effect:
    """One reason. effect: how far it pushed (any unit, the same for all); shown: the reason's own value in words."""

    label: str
    effect: Any
    shown: str = ""


def range_bar(
    value: Any,
    low: Any,
    high: Any,
    *,
    lang: Lang,
    title: str = "",
    start: float = 0.0,
    end: float = 1.0,
    threshold: Any = None,
    shown: Shown | None = None,
) -> Markup:
    """A value in its interval on a scale from `start` to `end`; a tick marks the threshold we act from."""
    say, words = shown or Numbers(lang).percent, Words(lang)
    at, least, most, line = finite([value, low, high, threshold])
    if at is None:
        return nothing(words("look.chart.nothing"), title=title)
    span = (end - start) or 1.0

    def where(number: float) -> float:
        return min(max((number - start) / span, 0.0), 1.0)

    parts = [tag("rect", x=0, y=16, width="100%", height=8, rx=4, class_="track")]
    said = say(at)
    if least is not None and most is not None:
        said = words("look.chart.between", value=say(at), low=say(least), high=say(most))
        width = max(where(most) - where(least), 0.005)
        parts.append(
            tag(
                "rect", tip(said), x=percent(where(least)), y=16, width=percent(width), height=8, rx=4, class_="c1 soft"
            )
        )
    parts.append(tag("circle", tip(said), cx=percent(0.012 + where(at) * 0.976), cy=20, r=7, class_="c1 knob"))
    if line is not None:
        place = where(line)
        anchor = "start" if place < 0.2 else "end" if place > 0.8 else "middle"
        parts.append(tag("line", x1=percent(place), x2=percent(place), y1=10, y2=30, class_="threshold"))
        parts.append(
            label(words("look.chart.threshold", value=say(line)), percent(place), 8, css="t-axis", anchor=anchor)
        )
    parts.append(label(say(start), "0", 42, css="t-axis"))
    parts.append(label(say(end), "100%", 42, css="t-axis", anchor="end"))
    return figure(drawing(*parts, height=46, title=title, summary=said), title=title)


def waterfall(effects: Sequence[Effect], *, lang: Lang, title: str = "", good: int = 1, room: int = 34) -> Markup:
    """Steps from the average customer to this one: each reason starts where the one before ended.

    good: +1 where pushing up is good news (green), -1 where it is bad (spending is good, leaving is bad), 0 where it is neither.
    """
    rows = [
        (row, value)
        for row, value in zip(effects, finite([row.effect for row in effects]), strict=True)
        if value is not None
    ]
    if not rows:
        return nothing(Words(lang)("look.chart.no_reasons"), title=title)
    words, edges = Words(lang), [0.0]
    for _, value in rows:
        edges.append(edges[-1] + value)
    low, high = min(edges), max(edges)
    span = (high - low) or 1.0
    pitch, parts, said = 36, [], []
    zero = (0.0 - low) / span
    parts.append(tag("line", x1=percent(zero), x2=percent(zero), y1=16, y2=30, class_="base"))
    for place, (row, value) in enumerate(rows):
        y, begin, finish = place * pitch, (edges[place] - low) / span, (edges[place + 1] - low) / span
        direction = words("look.chart.raises") if value > 0 else words("look.chart.lowers")
        css = ("up" if value * good > 0 else "down") if good else ("c1" if value > 0 else "c5")
        told = " · ".join(filter(None, (row.label, row.shown)))
        said.append(f"{told}: {direction}")
        parts.append(
            tag(
                "g",
                tip(f"{told}: {direction}"),
                label(shorten(told, room), "0", y + 13, css="t-label halo"),
                label(
                    ("▲ " if value > 0 else "▼ ") + direction,
                    "100%",
                    y + 13,
                    css=f"t-axis halo {css}-text",
                    anchor="end",
                ),
                tag(
                    "rect",
                    x=percent(min(begin, finish)),
                    y=y + 19,
                    width=percent(max(abs(finish - begin), 0.006)),
                    height=8,
                    rx=2,
                    class_=css,
                ),
            )
        )
        if place + 1 < len(rows):
            parts.append(
                tag("line", x1=percent(finish), x2=percent(finish), y1=y + 27, y2=y + pitch + 19, class_="grid")
            )
    return figure(drawing(*parts, height=len(rows) * pitch - 4, title=title, summary="; ".join(said)), title=title)
