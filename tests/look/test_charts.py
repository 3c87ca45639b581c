"""Charts: holes, single values and hostile texts never break a picture."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
from markupsafe import Markup

from huaxiang.look import charts
from huaxiang.look.charts import Bar, Effect, Series
from huaxiang.look.charts.grids import _squarify
from huaxiang.look.svg import shorten, ticks, wide

HOSTILE = '<script>alert("x")</script> & \u202eابت 😀 \x07'
DRAW: dict[str, Callable[[list[Any]], Markup]] = {
    "bars": lambda v: charts.bars([Bar(HOSTILE, x, note=HOSTILE) for x in v], lang="en", title=HOSTILE),
    "columns": lambda v: charts.columns(v, [HOSTILE] * len(v), lang="zh", title=HOSTILE),
    "stacked": lambda v: charts.stacked([(HOSTILE, v)], [HOSTILE] * len(v), lang="en"),
    "donut": lambda v: charts.donut([Bar(HOSTILE, x) for x in v], lang="zh", middle=HOSTILE),
    "lines": lambda v: charts.lines([Series(HOSTILE, v), Series("b", v, 2)], [HOSTILE] * len(v), lang="en"),
    "spark": lambda v: charts.spark(v, lang="en"),
    "curve": lambda v: charts.curve(
        [Series(HOSTILE, points=[(x, x) for x in v], dots=True)], lang="en", x_name=HOSTILE
    ),
    "heat": lambda v: charts.heat([v, v], [HOSTILE, "b"], [HOSTILE] * len(v), lang="zh", write_cells=True),
    "treemap": lambda v: charts.treemap([Bar(HOSTILE, x) for x in v], lang="en"),
    "clock": lambda v: charts.clock(v, lang="en", title=HOSTILE, middle=HOSTILE),
    "sankey": lambda v: charts.sankey(
        {(HOSTILE, str(place % 3)): x for place, x in enumerate(v)},
        [(HOSTILE, HOSTILE)],
        [(str(place), HOSTILE) for place in range(3)],
        lang="zh",
        title=HOSTILE,
    ),
    "range_bar": lambda v: charts.range_bar(*((v + [None] * 3)[:3]), lang="zh", title=HOSTILE, threshold=0.4),
    "waterfall": lambda v: charts.waterfall([Effect(HOSTILE, x, HOSTILE) for x in v], lang="en"),
}
VALUES: dict[str, list[Any]] = {
    "none": [],
    "one": [3.0],
    "zeros": [0.0, 0.0],
    "holes": [None, math.nan, 2.0, math.inf, -math.inf],
    "only_holes": [None, math.nan],
    "negative": [-2.0, 1.0],
    "huge": [1e308, 1e308, 1e-308],
    "texts": ["a", "4"],
    "many": [float(x % 17) for x in range(500)],
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW.keys())
def test_any_data_gives_well_formed_safe_markup(draw: Callable[[list[Any]], Markup], values: list[Any]) -> None:
    text = str(draw(list(values)))
    ET.fromstring(f"<all>{text}</all>")
    assert "<script" not in text
    assert "\x07" not in text
    for bad in ('="nan', '="inf', '="-inf', " nan", " inf ", '"None"'):
        assert bad not in text, bad


@pytest.mark.parametrize("name", [name for name in DRAW if name not in ("donut",)])
def test_picture_has_a_role_and_a_name(name: str) -> None:
    text = str(DRAW[name]([1.0, 2.0, 3.0]))
    assert 'role="img"' in text
    assert "aria-label=" in text


def test_empty_chart_says_so_in_its_language() -> None:
    assert "Nothing to draw yet" in charts.bars([], lang="en")
    assert "暂无数据" in charts.bars([], lang="zh")


def test_longest_bar_is_full_and_others_are_in_proportion() -> None:
    text = charts.bars([Bar("a", 4), Bar("b", 1)], lang="en")
    assert 'width="100%" height="6" rx="3" class="c1"' in text
    assert 'width="25%" height="6" rx="3" class="c1"' in text


def test_waterfall_step_starts_where_the_one_before_ended() -> None:
    text = charts.waterfall([Effect("up", 3), Effect("down", -1)], lang="en")
    # the steps span 0..3: the first from 0 to 3, the second from 3 back to 2
    assert 'x="0%" y="19" width="100%"' in text
    assert 'x="66.67%" y="55" width="33.33%"' in text


def test_tiles_fill_the_box_without_overlap() -> None:
    boxes = _squarify([3.0, 2.0, 1.0], 0.0, 0.0, 3.0, 2.0)
    assert sum(w * h for _, _, w, h in boxes) == pytest.approx(6.0)
    assert all(x + w <= 3.0 + 1e-9 and y + h <= 2.0 + 1e-9 for x, y, w, h in boxes)


def test_small_tiles_are_put_together() -> None:
    text = charts.treemap([Bar("big", 97), Bar("s1", 1), Bar("s2", 1), Bar("s3", 1)], lang="en")
    assert "3 others" in text


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 97, [0, 50, 100]), (0, 1, [0, 0.5, 1]), (0, 0, [0, 0.5, 1]), (-3, 5, [-5, 0, 5])],
)
def test_ticks_are_round_and_cover_the_range(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, 2) == expected


def test_shortened_text_counts_wide_letters_twice() -> None:
    assert wide("画a") == 3
    assert shorten("画像画像", 5) == "画像…"
    assert shorten("short", 10) == "short"


def test_ribbons_are_as_wide_as_the_number_that_moved_and_lose_nobody() -> None:
    moves = {("a", "a"): 60, ("a", "b"): 20, ("b", "b"): 15, ("", "b"): 5}
    drawn = str(
        charts.sankey(moves, [("a", "A"), ("b", "B"), ("", "new")], [("a", "A"), ("b", "B")], lang="en", height=200)
    )
    paths = [path for path in ET.fromstring(drawn).iter() if path.tag.endswith("path")]
    heights = {}
    for path in paths:
        said = next(child.text or "" for child in path)
        top = float(path.attrib["d"][1:].split("C")[0].split(",")[1])
        bottom = float(path.attrib["d"].rstrip("Z").split(" ")[-1].split(",")[1])
        heights[said.split(":")[0]] = bottom - top
    assert {name: round(high / heights["new → B"]) for name, high in heights.items()} == {
        "A → A": 12, "A → B": 4, "B → B": 3, "new → B": 1,
    }  # fmt: skip
    assert "A 80%" in drawn
    assert "B 40%" in drawn
