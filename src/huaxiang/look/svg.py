"""The few SVG pieces every chart is drawn with.

Charts are fluid: x runs in percent of whatever width the page gives, y in pixels, so that text keeps its size from a phone to a
wide screen. Curves live in a nested <svg> that stretches with lines that do not. Colours are classes of sheet.css, never values,
so a chart drawn once is right on light and on dark.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from html import escape
from typing import Any

from markupsafe import Markup

TOO_LARGE = 1e100


def tag(name: str, *children: str, **attributes: Any) -> str:
    """One element. Underscores in names become dashes, a trailing one goes (`class_`); None attributes are left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-") if key != "viewBox" else key}="{escape(_printable(_plain(value)), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{''.join(children)}</{name}>" if children else f"<{name}{given}/>"


def write(content: Any) -> str:
    """Text, escaped, without the control characters that XML forbids."""
    return escape(_printable(str(content)), quote=False)


def tip(content: Any) -> str:
    """The words that appear when the pointer rests on a mark, and that a screen reader says."""
    return f"<title>{write(content)}</title>"


def label(content: Any, x: str, y: float, *, css: str = "", anchor: str = "start", dx: float | None = None) -> str:
    return tag(
        "text", write(content), x=x, y=y, class_=css or None, text_anchor=None if anchor == "start" else anchor, dx=dx
    )


def percent(share: float) -> str:
    """A share of the width (0 to 1) as an SVG length."""
    return f"{_plain(share * 100)}%"


def stretch(*children: str, y: float, height: float, x: str = "0", width: str = "100%") -> str:
    """A plot of 100 × 100 units, stretched over the width; its lines keep their thickness."""
    return tag(
        "svg", *children, x=x, y=y, width=width, height=height, viewBox="0 0 100 100", preserveAspectRatio="none"
    )


def drawing(*children: str, height: float, title: str, summary: str = "", css: str = "") -> Markup:
    """The whole picture: as wide as its place, `height` pixels high, named for a screen reader."""
    said = f"{title}: {summary}" if title and summary else title or summary
    body = tag(
        "svg",
        *children,
        xmlns="http://www.w3.org/2000/svg",
        class_=f"hx-svg {css}".strip(),
        width="100%",
        height=height,
        role="img",
        aria_label=said or None,
    )
    return Markup(body)


def figure(picture: str, *, title: str = "", legend: str = "", note: str = "") -> Markup:
    """A chart with its caption above, and its legend and note below."""
    parts = [tag("figcaption", write(title), class_="hx-cap")] if title else []
    parts += [legend, picture] if legend else [picture]
    parts += [tag("p", write(note), class_="hx-note")] if note else []
    return Markup(tag("figure", *parts, class_="hx-fig"))


def legend(names: Sequence[tuple[str, int]]) -> str:
    """Colour keys: name and number of the colour class."""
    keys = [tag("span", tag("i", " ", class_=f"hx-key b{colour}"), write(name)) for name, colour in names]
    return tag("div", *keys, class_="hx-legend")


def nothing(words: str, *, title: str = "") -> Markup:
    """What stands where a chart would, when there is nothing to draw."""
    return figure(tag("p", write(words), class_="hx-nothing"), title=title)


def finite(values: Sequence[Any]) -> list[float | None]:
    """The values as floats; None where one is missing, no number, not finite, or beyond what a sum could hold."""
    kept: list[float | None] = []
    for value in values:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            kept.append(None)
            continue
        kept.append(number if math.isfinite(number) and abs(number) < TOO_LARGE else None)
    return kept


def ticks(low: float, high: float, count: int = 3) -> list[float]:
    """About `count` round values from at most `low` to at least `high`."""
    if not high - low > 1e-9:
        high = low + (abs(low) or 1)
    raw = (high - low) / max(count, 1)
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * size for size in (1, 2, 2.5, 5, 10) if power * size >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def wide(text: str) -> float:
    """About how many em of 1/2 letter `text` takes: CJK letters count two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def shorten(text: Any, room: float) -> str:
    """`text` cut to `room` half-width letters, an ellipsis where it was cut."""
    whole = " ".join(str(text).split())
    if wide(whole) <= room:
        return whole
    taken = 0.0
    for place, letter in enumerate(whole):
        taken += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if taken > room - 1:
            return whole[:place].rstrip() + "…"
    return whole


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter >= " " and not "\ud800" <= letter <= "\udfff")


def _plain(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.2f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value)
