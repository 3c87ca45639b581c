"""Each audience by its own schedule: what is due when, what a refresh of some leaves alone, and what a bad interval is answered with."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from huaxiang.apply.market.market import Market
from huaxiang.apply.market.schedule import read_every, schedule
from huaxiang.engine import Engine, Lake
from huaxiang.errors import DefinitionError, SettingsError
from huaxiang.settings import AudienceSettings, Settings, add_entry, load_settings

NOON = datetime(2025, 3, 1, 12)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=1, temp=tmp_path / "tmp") as engine:
        found = Lake(tmp_path / "lake", engine)
        bring(found, [5, 2, 0])
        yield found


def bring(lake: Lake, orders: list[int], day: str = "2025-03-01") -> None:
    """Profiles of ann, bob and eve, with so many orders each."""
    with lake.step("build") as step:
        step.replace("profiles", pa.table({"user_id": ["ann", "bob", "eve"], "orders_90d": orders}))
        step.replace("ready.events", pa.table({"user_id": pa.array([], pa.string())}))
        step.note["as_of"] = day


def market_of(lake: Lake, **every: str) -> Market:
    """A market whose audiences, all of who ordered twice, have these schedules."""
    audiences = {name: AudienceSettings(when="orders_90d >= 2", every=how) for name, how in every.items()}
    market: Market

    def declare(name, entry):
        kept = {other: one for other, one in market.settings.audiences.items() if other != name}
        return Settings(audiences=kept if entry is None else kept | {name: AudienceSettings(**entry)})

    market = Market(lake, Settings(audiences=audiences), declare, lambda user: user)
    return market


def due(market: Market, now: datetime) -> list[str]:
    return [one.name for one in market.schedule(now=now) if one.is_due]


def sizes(market: Market) -> dict[str, int]:
    return {one.name: one.size for one in market.audiences()}


@pytest.mark.parametrize(
    ("every", "ago", "is_due", "next_due"),
    [
        ("1d", 24 * HOUR, True, NOON),
        ("1d", 24 * HOUR - 10 * MINUTE, True, NOON + 10 * MINUTE),  # a little early counts: ten minutes at most …
        ("1d", 24 * HOUR - 11 * MINUTE, False, NOON + 11 * MINUTE),
        ("1h", 57 * MINUTE, True, NOON + 3 * MINUTE),  # … or a twentieth of the interval
        ("1h", 56 * MINUTE, False, NOON + 4 * MINUTE),
        ("2w", 13 * 24 * HOUR, False, NOON + 24 * HOUR),
        ("after_run", 999 * HOUR, False, None),
        ("by_hand", 999 * HOUR, False, None),
    ],
)
def test_due_by_the_clock(every: str, ago: timedelta, is_due: bool, next_due: datetime | None) -> None:
    found = schedule("x", every, now=NOON, refreshed_at=NOON - ago)
    assert (found.is_due, found.next_due) == (is_due, next_due)


@pytest.mark.parametrize(("every", "is_due"), [("1d", True), ("after_run", True), ("by_hand", False)])
def test_never_found_or_changed_is_due_at_once_unless_by_hand(every: str, is_due: bool) -> None:
    assert schedule("x", every, now=NOON, refreshed_at=None).is_due is is_due
    assert schedule("x", every, now=NOON, refreshed_at=NOON - MINUTE, is_changed=True).is_due is is_due
    assert not schedule("x", every, now=NOON, refreshed_at=NOON - MINUTE).is_due


def test_refresh_due_leaves_the_others_as_they_were(lake: Lake) -> None:
    market = market_of(lake, often="1h", daily="1d", run="after_run", hand="by_hand")
    assert [one.name for one in market.refresh_due(now=NOON)] == ["often", "daily", "run"]
    market.refresh(["hand"], now=NOON)
    assert sizes(market) == {"often": 2, "daily": 2, "run": 2, "hand": 2}
    assert market.refresh_due(now=NOON + 30 * MINUTE) == []
    bring(lake, [5, 0, 0], day="2025-03-02")  # bob is out
    assert due(market, NOON + HOUR) == ["often", "run"]  # of new profiles "run" knows by itself
    [often, run] = market.refresh_due(now=NOON + HOUR)
    assert (often.name, often.size, often.left) == ("often", 1, 1)
    assert run.size == 1
    assert sizes(market) == {"often": 1, "daily": 2, "run": 1, "hand": 2}
    members = lake.engine.rows(lake.engine.sql(lake.table("audience.members")))
    assert sorted(row["user_id"] for row in members if row["name"] == "daily") == ["ann", "bob"]
    assert [one.name for one in market.refresh_due(now=NOON + 24 * HOUR)] == ["often", "daily"]
    market.refresh(now=NOON + 25 * HOUR)
    assert sizes(market) == {"often": 1, "daily": 1, "run": 1, "hand": 1}
    left = [
        row["name"]
        for row in lake.engine.rows(lake.engine.sql(lake.table("audience.changes")))
        if row["change"] == "leave"
    ]
    assert sorted(left) == ["daily", "hand", "often", "run"], "each said once that bob left"


def test_a_run_finds_those_that_wait_for_it_and_those_due(lake: Lake) -> None:
    market = market_of(lake, daily="1d", run="after_run", hand="by_hand")
    assert [one.name for one in market.refresh_due(now=NOON, ran=True)] == ["daily", "run"]
    assert [one.name for one in market.refresh_due(now=NOON + HOUR, ran=True)] == ["run"]


def test_times_with_a_zone_are_taken_as_utc(lake: Lake) -> None:
    market = market_of(lake, daily="1d")
    shanghai = timezone(8 * HOUR)
    market.refresh_due(now=datetime(2025, 3, 1, 20, tzinfo=shanghai))  # noon of UTC
    [one] = market.schedule(now=NOON.replace(tzinfo=UTC))
    assert (one.refreshed_at, one.next_due) == (NOON, NOON + 24 * HOUR)


def test_save_keeps_the_schedule_and_a_schedule_is_no_new_version(lake: Lake) -> None:
    market = market_of(lake)
    first = market.save("big", "orders_90d >= 2", every="6 h", meaning="who orders", now=NOON)
    market.save("fans", "in_audience('big')", every="by hand", now=NOON)
    market.save("fan", "in_audience('big')", every="1d", now=NOON)
    again = market.save("big", "orders_90d >= 2", now=NOON + MINUTE)
    assert (again.version, again.meaning, market.settings.audiences["big"].every) == (first.version, "who orders", "6h")
    assert market.save("big", "orders_90d >= 2", every="1d", now=NOON).version == first.version
    market.save("big", "orders_90d >= 3", now=NOON + HOUR)
    assert sizes(market) == {"big": 1, "fan": 1, "fans": 2}, "what is built on it is found too, but for by hand"
    assert [one.name for one in market.schedule(now=NOON + HOUR) if one.is_changed] == ["fans"]
    assert due(market, NOON + HOUR) == []
    market.remove("fans")
    assert set(sizes(market)) == {"big", "fan"}
    with pytest.raises(DefinitionError, match="did you mean fan"):
        market.refresh(["fanz"])


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("1dy", "1d"),
        ("6 hours", "6h"),
        ("30m", "30min"),
        ("0d", "1d"),
        ("7", "7d"),
        ("daily", "1d"),
        ("weekly", "1w"),
        ("after runs", "after_run"),
        ("by_hnd", "by_hand"),
        ("99999d", "9999d"),
        ("每天", "after_run"),
    ],
)
def test_a_bad_schedule_says_the_nearest(text: str, near: str, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=f"did you mean {near}\\?"):
        read_every(text)
    assert read_every(near) == near
    path = tmp_path / "huaxiang.toml"
    path.write_text(add_entry("", ("audiences", "x"), {"when": "true", "every": text}), encoding="utf-8")
    with pytest.raises(SettingsError, match=f"did you mean {near}\\?"):
        load_settings(path, {})
