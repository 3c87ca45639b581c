"""How it moves: lines over time, sparks in a row of text, and curves of x against y."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from huaxiang.look.numbers import Numbers
from huaxiang.look.svg import drawing, figure, finite, label, legend, nothing, percent, stretch, tag, ticks, tip
from huaxiang.words import Lang, Words

Shown = Callable[[Any], str]


@dataclass(frozen=True)
class Series:
    """One line. points (curves only): x and y of each; values (lines over labels): y of each."""

    name: str
    values: Sequence[Any] = ()
    colour: int = 1
    points: Sequence[tuple[Any, Any]] = field(default=())
    dots: bool = False


def lines(
    series: Sequence[Series],
    labels: Sequence[str],
    *,
    lang: Lang,
    title: str = "",
    shown: Shown | None = None,
    height: int = 180,
    note: str = "",
) -> Markup:
    """Lines over evenly spaced labels, the first one filled; the y axis starts at zero unless a value is below it."""
    say = shown or Numbers(lang).compact
    kept = [finite(line.values) for line in series]
    known = [value for line in kept for value in line if value is not None]
    if not known:
        return nothing(Words(lang)("look.chart.nothing"), title=title)
    marks = ticks(min(0.0, *known), max(known), 3)
    low, high = marks[0], marks[-1]
    top, plot = 14, height - 36
    parts = [_rule(mark, low, high, top, plot, say) for mark in marks]
    count = max(len(labels), 1)
    step = max(1, round(count / 6))
    for place in range(0, count, step):
        if place + step >= count and place != count - 1 and count - 1 - place < step * 0.6:
            continue
        where = place / max(count - 1, 1)
        anchor = "start" if where < 0.06 else "end" if where > 0.94 else "middle"
        parts.append(label(labels[place], percent(where), height - 4, css="t-axis", anchor=anchor))
    drawn = [
        _line(line, values, low, high, filled=place == 0)
        for place, (line, values) in enumerate(zip(series, kept, strict=True))
    ]
    parts.append(stretch(*drawn, y=top, height=plot))
    parts += _hits(series, kept, labels, top, plot, say)
    said = f"{labels[0]} – {labels[-1]}; {say(min(known))} – {say(max(known))}" if labels else ""
    keys = legend([(line.name, line.colour) for line in series]) if len(series) > 1 else ""
    return figure(drawing(*parts, height=height, title=title, summary=said), title=title, legend=keys, note=note)


def spark(values: Sequence[Any], *, lang: Lang, title: str = "", height: int = 28, colour: int = 1) -> Markup:
    """A line without axes, for a row of text ("" with fewer than two values)."""
    kept = finite(values)
    known = [value for value in kept if value is not None]
    if len(known) < 2:
        return Markup("")
    low, high = min(0.0, *known), max(known)
    line = _line(Series("", colour=colour), kept, low, high if high > low else low + 1, filled=True)
    say = Numbers(lang).compact
    return drawing(
        stretch(line, y=2, height=height - 4),
        height=height,
        title=title,
        summary=f"{say(known[0])} → {say(known[-1])}",
        css="hx-spark",
    )


def curve(
    series: Sequence[Series],
    *,
    lang: Lang,
    title: str = "",
    x_name: str = "",
    y_name: str = "",
    x_shown: Shown | None = None,
    y_shown: Shown | None = None,
    diagonal: bool = True,
    most: tuple[float, float] | None = None,
    height: int = 240,
    note: str = "",
    names: bool = True,
) -> Markup:
    """Lines of x against y from (0, 0) up: calibration, gains, lift. diagonal: y = x, dashed; names: a legend where several."""
    say_x, say_y = x_shown or Numbers(lang).percent, y_shown or Numbers(lang).percent
    kept = [
        [
            (x, y)
            for x, y in zip(finite([p[0] for p in line.points]), finite([p[1] for p in line.points]), strict=True)
            if x is not None and y is not None
        ]
        for line in series
    ]
    known = [point for line in kept for point in line]
    if not known:
        return nothing(Words(lang)("look.chart.nothing"), title=title)
    x_marks = ticks(0.0, most[0] if most else max(x for x, _ in known), 4)
    y_marks = ticks(0.0, most[1] if most else max(y for _, y in known), 4)
    x_top, y_top = x_marks[-1], y_marks[-1]
    top = 34 if y_name else 14
    plot = height - top - (42 if x_name else 24)
    parts = [_rule(mark, 0, y_top, top, plot, say_y) for mark in y_marks]
    if y_name:
        parts.append(label(f"↑ {y_name}", "0", 10, css="t-axis strong"))
    for place, mark in enumerate(x_marks):
        anchor = "start" if place == 0 else "end" if place == len(x_marks) - 1 else "middle"
        parts.append(label(say_x(mark), percent(mark / x_top), top + plot + 16, css="t-axis", anchor=anchor))
    if x_name:
        parts.append(label(f"{x_name} →", "100%", top + plot + 34, css="t-axis strong", anchor="end"))
    inner = []
    if diagonal:
        least = min(x_top, y_top)
        inner.append(
            tag("path", d=f"M0 100L{100 * least / x_top:.2f} {100 - 100 * least / y_top:.2f}", class_="dashed")
        )
    for line, points in zip(series, kept, strict=True):
        places = [(100 * x / x_top, 100 - 100 * y / y_top) for x, y in points]
        inner.append(tag("path", d=_path(places), class_=f"line s{line.colour}"))
        if line.dots:
            for (x, y), (at, up) in zip(points, places, strict=True):
                dot = tag(
                    "path", tip(f"{say_x(x)} → {say_y(y)}"), d=f"M{at:.2f} {up:.2f}h0.01", class_=f"dot s{line.colour}"
                )
                inner.append(dot)
    parts.append(stretch(*inner, y=top, height=plot))
    keys = legend([(line.name, line.colour) for line in series]) if names and len(series) > 1 else ""
    said = "; ".join(f"{say_x(x)} → {say_y(y)}" for x, y in kept[0][:12])
    return figure(drawing(*parts, height=height, title=title, summary=said), title=title, legend=keys, note=note)


def scatter(groups: Sequence[Series], *, lang: Lang, title: str = "", height: int = 340, note: str = "") -> Markup:
    """Points of several groups on a plane without scales (a map): who lies near whom. points: x and y of each."""
    kept = [
        [
            (x, y)
            for x, y in zip(finite([p[0] for p in one.points]), finite([p[1] for p in one.points]), strict=True)
            if x is not None and y is not None
        ]
        for one in groups
    ]
    known = [point for one in kept for point in one]
    if not known:
        return nothing(Words(lang)("look.chart.nothing"), title=title)
    left, right = min(x for x, _ in known), max(x for x, _ in known)
    low, high = min(y for _, y in known), max(y for _, y in known)
    parts = [
        tag(
            "circle", tip(group.name), cx=percent(0.01 + 0.98 * (x - left) / ((right - left) or 1.0)),
            cy=round(4 + (height - 8) * (high - y) / ((high - low) or 1.0), 1), r=2.6, class_=f"point c{group.colour}",
        )
        for group, points in zip(groups, kept, strict=True)
        for x, y in points
    ]  # fmt: skip
    keys = legend([(one.name, one.colour) for one, points in zip(groups, kept, strict=True) if points])
    said = "; ".join(f"{one.name}: {len(points)}" for one, points in zip(groups, kept, strict=True))
    return figure(drawing(*parts, height=height, title=title, summary=said), title=title, legend=keys, note=note)


def _rule(mark: float, low: float, high: float, top: float, plot: float, say: Shown) -> str:
    y = top + plot * (1 - (mark - low) / (high - low))
    line = tag("line", x1=0, x2="100%", y1=y, y2=y, class_="base" if mark == 0 else "grid")
    return line + (label(say(mark), "0", y - 3, css="t-axis halo") if mark != low else "")


def _line(line: Series, values: Sequence[float | None], low: float, high: float, *, filled: bool) -> str:
    count, runs = len(values), []
    run: list[tuple[float, float]] = []
    for place, value in enumerate([*values, None]):
        if value is None:
            runs += [run] if run else []
            run = []
        else:
            run.append((100 * place / max(count - 1, 1), 100 - 100 * (value - low) / (high - low)))
    parts = []
    for run in runs:
        if filled and len(run) > 1:
            floor = 100 - 100 * (0 - low) / (high - low)
            parts.append(
                tag(
                    "path",
                    d=f"{_path(run)}L{run[-1][0]:.2f} {floor:.2f}L{run[0][0]:.2f} {floor:.2f}Z",
                    class_=f"area c{line.colour}",
                )
            )
        if len(run) == 1:
            parts.append(tag("path", d=f"M{run[0][0]:.2f} {run[0][1]:.2f}h0.01", class_=f"dot s{line.colour}"))
        else:
            parts.append(tag("path", d=_path(run), class_=f"line s{line.colour}"))
    return "".join(parts)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in places)


def _hits(
    series: Sequence[Series],
    kept: Sequence[Sequence[float | None]],
    labels: Sequence[str],
    top: float,
    plot: float,
    say: Shown,
) -> list[str]:
    """Invisible columns that say the values under the pointer."""
    count = len(labels)
    if count > 400:
        return []
    hits = []
    for place, name in enumerate(labels):
        words = " · ".join(
            f"{line.name} {say(values[place])}".strip()
            for line, values in zip(series, kept, strict=True)
            if place < len(values)
        )
        left = max((place - 0.5) / max(count - 1, 1), 0)
        hits.append(
            tag(
                "rect",
                tip(f"{name}: {words}"),
                x=percent(left),
                y=top,
                width=percent(1 / max(count - 1, 1)),
                height=plot,
                class_="hit",
            )
        )
    return hits
