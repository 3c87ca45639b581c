"""Numbers, money and dates as each language writes them."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import pytest

from huaxiang.look import Numbers

EN, ZH = Numbers("en", "USD"), Numbers("zh", "CNY")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (EN.money(1234.5), "$1,234.50"),
        (ZH.money(1234.5), "¥1,234.50"),
        (EN.money(-3), "−$3.00"),
        (EN.money(4_600_000, compact=True), "$4.6M"),
        (ZH.money(4_600_000, compact=True), "¥460万"),
        (Numbers("en", "JPY").money(1234.5), "¥1,234"),
        (Numbers("en", "XAU").money(2), "XAU 2.00"),
        (EN.number(1234.5678), "1,235"),
        (EN.number(0.126), "0.13"),
        (EN.compact(68_512), "68.5k"),
        (ZH.compact(68_512), "6.9万"),
        (EN.percent(0.031), "3.1%"),
        (EN.percent(0.31), "31%"),
        (EN.percent(0.00001), "<0.1%"),
        (EN.percent(0.99996, 1), ">99.9%"),
        (EN.percent(1.0, 1), "100.0%"),
        (EN.percent(0), "0%"),
        (EN.signed(0.18), "+18%"),
        (EN.signed(-0.03), "−3%"),
        (EN.date("2017-03-03T00:00:00Z"), "3 Mar 2017"),
        (ZH.date(datetime(2017, 3, 3)), "2017年3月3日"),
        (EN.span(1), "1 day"),
        (EN.span(359), "12 months"),
        (ZH.span(800), "2.2 年"),
        (EN.size(89_000), "89 kB"),
        (EN.seconds(0.001), "<0.1 s"),
    ],
)
def test_value_is_written_as_a_person_reads_it(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "text", True])
def test_what_is_no_number_is_a_dash(value: Any) -> None:
    for say in (EN.number, EN.money, EN.percent, EN.compact, EN.signed, EN.span, EN.size, EN.seconds):
        assert say(value) == "–"
    assert EN.date(value) == "–"
