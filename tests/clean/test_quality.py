"""The quality report: its numbers, its JSON, its look."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from huaxiang.clean import QualityReport, quarantined
from huaxiang.clean.show import show_quality
from huaxiang.words import LANGS, Lang

NOON = datetime(2024, 5, 1, 12)


@pytest.fixture
def report(shop: Any, make_event: Any) -> QualityReport:
    shop.collect(
        items=[{"item_id": "tea", "price": 5.0}],
        users=[{"user_id": "ada", "birth_year": 1815, "city": "Bath"}, {"user_id": "bob", "birth_year": 1990}],
        events=[
            make_event(received_at=NOON + timedelta(hours=1), channel="web"),
            make_event(received_at=NOON + timedelta(hours=1), channel="web"),
            make_event(item_id="ghost", received_at=NOON + timedelta(days=3), channel="app", price=None, amount=None),
            make_event(item_id="cup", ts=datetime(2037, 1, 1)),
        ],
    )
    found: QualityReport = shop.clean(missing={"users.birth_year": {"how": "constant", "value": 1990}})
    return found


def test_dimensions_are_counted_before_and_after(report: QualityReport) -> None:
    events = report.tables["events"]
    before, after = events.scores.before, events.scores.after
    assert before.uniqueness == 0.75 and after.uniqueness == 1.0  # one of four rows said what another said
    assert events.column("ts").before.validity == 0.75 and events.column("ts").after.validity == 1.0
    assert before.timeliness == pytest.approx(2 / 3)  # of three with a receipt, one came after three days
    assert events.column("amount").before.completeness == 0.75
    assert events.column("item_id").before.consistency == 0.5  # ghost and cup are in no items table
    assert report.tables["users"].column("birth_year").before.validity == 0.5
    assert (report.rows.raw, report.rows.clean, report.rows.quarantined) == (7, 5, 2)
    assert report.scores.after.overall is not None and report.scores.before.overall is not None
    assert report.scores.after.overall > report.scores.before.overall


def test_column_a_shop_never_gives_is_not_held_against_it(report: QualityReport) -> None:
    assert not report.tables["users"].column("occupation").supplied
    assert report.tables["users"].scores.before.completeness == pytest.approx(
        5 / 6
    )  # user, year, city; one city missing


def test_frequent_values_are_named_but_never_pseudonyms_or_words_of_people(report: QualityReport) -> None:
    events = report.tables["events"]
    assert [(top.value, top.rows) for top in events.column("channel").before.top] == [("web", 2), ("app", 1)]
    assert all(
        not events.column(name).before.top for name in ("user_id", "anonymous_id", "event_id", "order_id", "text")
    )


def test_days_are_counted_raw_and_clean(report: QualityReport) -> None:
    time = report.tables["events"].time
    assert time is not None
    assert (time.first, time.unit) == ("2024-05-01T12:00:00", "day")
    assert [(point.at, point.raw, point.clean) for point in time.series] == [("2024-05-01", 3, 2)]


def test_report_travels_as_json(report: QualityReport) -> None:
    assert QualityReport.from_json(report.to_json()) == report
    assert json.loads(report.to_json())["tables"]["events"]["reasons"][0]["code"] == "duplicate_row"


@pytest.mark.parametrize("lang", LANGS)
def test_report_is_shown_in_both_languages(report: QualityReport, lang: Lang) -> None:
    out = io.StringIO()
    show_quality(report, Console(file=out, width=160), lang)
    said = {
        "en": ["7 rows in = 5 clean + 2 quarantined", "time outside", "impossible birth year"],
        "zh": ["隔离 2 行", "时间超出", "出生年份"],
    }
    assert all(words in out.getvalue() for words in said[lang])


def test_quarantined_rows_can_be_listed_by_reason(shop: Any, report: QualityReport) -> None:
    assert len(quarantined(shop.lake)) == 2
    assert [row["reason"] for row in quarantined(shop.lake, reason="impossible_time")] == ["impossible_time"]
    assert len(quarantined(shop.lake, limit=1)) == 1
