"""A build after new events gives what a full build gives: late, changed and deleted events, merged customers, new items."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.features.conftest import NOW, Bench, Row, clean_table
from tests.features.test_oracle import CHURN, assert_like

from huaxiang.engine import Engine, Lake
from huaxiang.features import BuildReport, build_features, renew, training
from huaxiang.identity import link_users
from huaxiang.settings import Settings

# One feature of each kind: what is folded, keyed, counted in days or read exactly; few, so that a build takes a second.
MINE: dict[str, dict[str, str]] = {
    "buys_90d": {"agg": "count", "where": "event == 'purchase'", "window": "90d"},
    "spend": {"agg": "sum", "column": "amount", "where": "event == 'purchase'"},
    "price_level": {"agg": "mean", "column": "price_ratio", "where": "event == 'purchase'"},
    "seen": {"agg": "recency"},
    "gap": {"agg": "gap"},
    "sessions": {"agg": "sessions"},
    "session_s": {"agg": "sum", "column": "session_gap_s"},
    "favourites": {"agg": "top", "column": "item_id"},
    "tastes": {"agg": "top", "column": "category_2"},
    "brand": {"agg": "mode", "column": "brand"},
    "last_items": {"agg": "sequence", "column": "item_id"},
}
LEAN = {"standard": False, "mine": MINE}
OUTCOMES: dict[str, Any] = {
    "churn": {"agg": "none", "where": "event == 'purchase'", "within": "30d"},
    "buys": {"agg": "count", "where": "event == 'purchase'", "within": "14d", "among": "buys_90d > 0"},
    "gender": {"attribute": "users.gender"},
}
CODES = ("user_no", "item_no", "category_no", "category_top_no", "category_2_no", "brand_no", "part")
KEYS = {
    "ready.users": ("user_id",),
    "ready.items": ("item_id",),
    "ready.events": ("event_id",),
    "features": ("user_id",),
    "training": ("user_id", "as_of"),
    "labels": ("outcome", "user_id", "as_of"),
}
DAY = timedelta(days=1)
START = datetime(2023, 9, 20, 12)


class State:
    """What the clean tables of a shop hold."""

    def __init__(self, events: list[Row], items: list[Row], users: list[Row] | None = None) -> None:
        self.events, self.items, self.users = events, items, users or []


def build(bench: Bench, state: State, *, full: bool = False, **declared: Any) -> BuildReport:
    """Cleans and builds; the settings are those of this module unless `declared` says otherwise."""
    asked = Settings.model_validate({"features": LEAN, "outcomes": OUTCOMES, "train": {"as_of_count": 2}, **declared})
    with bench.lake.step("clean") as step:
        step.replace("clean.events", clean_table("events", state.events))
        step.replace("clean.items", clean_table("items", state.items))
        step.replace("clean.users", clean_table("users", state.users))
    with bench.lake.step("build") as step:
        link_users(step, asked)
        return build_features(step, asked, now=NOW, full=full)


def content(bench: Bench, table: str) -> dict[Any, Row]:
    rows = bench.rows(table) if bench.lake.has(table) else []
    found = {tuple(row[name] for name in KEYS[table]): row for row in rows}
    assert len(found) == len(rows), f"{table} repeats a row"
    return found


def assert_same(one: Bench, other: Bench) -> None:
    """Both shops hold the same, but for the numbers of users, items and names."""
    for table in KEYS:
        found, wanted = content(one, table), content(other, table)
        assert found.keys() == wanted.keys(), table
        for key, row in wanted.items():
            assert found[key].keys() == row.keys(), table
            for name, value in row.items():
                if name not in CODES:
                    assert_like(found[key][name], value, f"{table} {key} {name}")
                    assert (found[key][name] is None) == (value is None), f"{table} {key} {name}"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small shops are brought up to date however much of them changed."""
    monkeypatch.setattr(renew, "STALE_SHARE", 2.0)
    monkeypatch.setattr(training, "REDO_SHARE", 2.0)


@pytest.fixture
def pair(new_shop: Callable[[], Bench]) -> tuple[Bench, Bench]:
    return new_shop(), new_shop()


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake after the first delivery: `history` and `listed`."""
    folder = tmp_path_factory.mktemp("first")
    with Engine(memory_gb=0.6, threads=2, temp=folder / "tmp") as engine:
        assert build(Bench(Lake(folder / "lake", engine)), State(history(), listed())).full == "first"
    return folder / "lake"


@pytest.fixture
def built(built_once: Path, tmp_path: Path) -> Iterator[Bench]:
    """A shop that has had the first delivery."""
    shutil.copytree(built_once, tmp_path / "lake")
    with Engine(memory_gb=0.6, threads=2, temp=tmp_path / "tmp") as engine:
        yield Bench(Lake(tmp_path / "lake", engine))


def made(number: int, user: str | None, day: float, event: str = "view", item: int | None = 1, **rest: Any) -> Row:
    ts = START + day * DAY
    money = {"price": 10.0 + number % 7, "quantity": 1.0, "amount": 10.0 + number % 7} if event == "purchase" else {}
    return {
        "event_id": f"e{number:05d}", "user_id": user, "event": event, "ts": ts, "received_at": ts,
        "item_id": None if item is None else f"i{item}", "channel": "web", **money, **rest,
    }  # fmt: skip


def listed(count: int = 6, **changed: Row) -> list[Row]:
    items: list[Row] = [
        {
            "item_id": f"i{n}",
            "title": f"Item {n}",
            "category": f"T{n % 2} > M{n % 3}",
            "brand": f"b{n % 2}",
            "price": 5.0,
        }
        for n in range(count)
    ]
    return [row | changed.get(row["item_id"], {}) for row in items]


VISITS = [
    made(800, None, 60, anonymous_id="a1"),
    made(801, None, 61, "purchase", 2, anonymous_id="a1"),
    made(802, None, 150, "purchase", 3, anonymous_id="a1"),
]


def history(users: int = 6, days: int = 230) -> list[Row]:
    """400 events of customers, every third a purchase, and three of a visitor."""
    return [
        made(n, f"u{n % users}", n * days / 400, "purchase" if n % 3 == 0 else "view", n % 5) for n in range(400)
    ] + VISITS


def latest(first: int = 900, day: float = 230.6) -> list[Row]:
    return [made(first + n, f"u{n % 3}", day + n / 100, "purchase" if n % 2 else "view", n % 5) for n in range(6)]


LOGIN = [made(803, "u1", 230.7, anonymous_id="a1")]
OLD_CATEGORY = {"category": "T0 > M1", "brand": "b1"}
# name -> the second delivery of a shop of `history` and `listed`
SECOND: dict[str, Callable[[], State]] = {
    "nothing new": lambda: State(history(), listed()),
    "new events": lambda: State(history() + latest(), listed()),
    "new user": lambda: State([*history(), made(900, "new", 230.5, "purchase")], listed()),
    "late event": lambda: State(history() + latest() + [made(950, "u4", 100.2, received_at=START + 231 * DAY)], listed()),
    "late event known at once": lambda: State([*history(), made(950, "u4", 100.2, "purchase", 2)], listed()),
    "user silent for long": lambda: State([*history(), made(950, "u0", 230.9), made(951, "fresh", 20.0, "purchase")], listed()),
    "changed event": lambda: State([row | ({"amount": 99.0, "price": 99.0} if row["event_id"] == "e00030" else {}) for row in history()], listed()),
    "refunded purchase": lambda: State([row | ({"refunded": 1.0} if row["event_id"] == "e00030" else {}) for row in history()] + latest(), listed()),
    "deleted events": lambda: State(history()[:200] + history()[210:], listed()),
    "deleted user": lambda: State([row for row in history() if row["user_id"] != "u5"] + latest(), listed()),
    "login": lambda: State(history() + LOGIN, listed()),
    "new item": lambda: State([*history(), made(900, "u0", 230.5, "purchase", 7)], listed(8)),
    "new category and brand": lambda: State([*history(), made(900, "u0", 230.5, "purchase", 5)], listed(6, i5={"category": "A > B", "brand": "a"})),
    "category of an item changed": lambda: State(history(), listed(6, i2=OLD_CATEGORY)),
    "item not listed any more": lambda: State(history(), listed()[:4]),
    "title and price changed": lambda: State(history(), listed(6, i1={"title": "Other", "price": 7.0})),
    "session goes on": lambda: State([*history(), made(890, "u1", 229.99), made(891, "u1", 229.995), *latest()], listed()),
    "registered": lambda: State(history(), listed(), [{"user_id": "u1", "registered_at": START - 9 * DAY, "gender": "female"}, {"user_id": "x", "registered_at": START}]),
}  # fmt: skip


@pytest.mark.parametrize("name", SECOND)
def test_second_delivery_gives_what_a_full_build_gives(built: Bench, shop: Bench, name: str) -> None:
    second = SECOND[name]()
    assert build(built, second).full == ""
    build(shop, second)
    assert_same(built, shop)


def test_full_build_on_top_of_an_incremental_one_gives_the_same(built: Bench, shop: Bench) -> None:
    second = State(history()[5:] + latest(), listed())
    build(built, second)
    assert build(built, second, full=True).full == "asked"
    build(shop, second)
    assert_same(built, shop)


def test_standard_set_after_all_kinds_of_changes_at_once(pair: tuple[Bench, Bench]) -> None:
    shop, anew = pair
    declared = {"features": {"mine": {"favourites": MINE["favourites"]}}, "outcomes": CHURN}
    build(shop, State(history(), listed()), **declared)
    late = [made(950, "u4", 100.2, "purchase", 2), made(951, "u5", 90.5, received_at=START + 231 * DAY)]
    second = State(history()[7:] + LOGIN + latest() + late, listed(8, i2=OLD_CATEGORY))
    report = build(shop, second, **declared)
    assert report.full == ""
    assert report.redone > 0
    build(anew, second, **declared)
    assert_same(shop, anew)


def test_session_ids_go_on_across_deliveries(pair: tuple[Bench, Bench]) -> None:
    shop, anew = pair
    past = [row | {"session_id": f"s{n // 4}"} for n, row in enumerate(history(users=1))]
    more = [made(900 + n, "u0", 229.6 + n / 50, session_id=f"s{99 + n % 3}") for n in range(6)]
    build(shop, State(past, listed()))
    assert build(shop, State(past + more, listed())).full == ""
    build(anew, State(past + more, listed()))
    assert_same(shop, anew)


def test_what_it_writes_is_what_events_touch(shop: Bench) -> None:
    declared = {"outcomes": {"churn": OUTCOMES["churn"]}}
    build(shop, State(history(), listed()), **declared)
    report = build(shop, State(history() + latest(), listed()), **declared)
    assert (report.rows, report.touched, report.redone) == (6, 3, 0)
    late = [made(950, "u4", 100.2, "purchase", 2, received_at=START + 231 * DAY)]
    report = build(shop, State(history() + latest() + late, listed()), **declared)
    assert report.touched == 1  # u4 is written anew
    assert report.rows == sum(row["user_id"] == "u4" for row in history()) + 1
    assert report.redone == 0  # known today: no training row knows of it


@pytest.mark.parametrize(
    ("declared", "why"),
    [({"shop": {"timezone": "Asia/Shanghai"}}, "timezone"), ({"features": LEAN | {"session_gap_min": 5}}, "session_gap_min")],
    ids=["zone", "gap"],
)  # fmt: skip
def test_another_setting_of_the_ready_tables_builds_them_whole(
    built: Bench, shop: Bench, declared: Any, why: str
) -> None:
    state = State(history(), listed())
    assert build(built, state, **declared).full == why
    build(shop, state, **declared)
    assert_same(built, shop)


def test_another_definition_computes_every_training_row(built: Bench, shop: Bench) -> None:
    state = State(history(), listed())
    views = {"agg": "count", "where": "event == 'view'", "window": "5d"}
    declared = {"features": {"standard": False, "mine": MINE | {"views_5d": views}}}
    report = build(built, state, **declared)
    assert (report.full, report.redone) == ("", report.training_rows)
    build(shop, state, **declared)
    assert_same(built, shop)


def test_much_that_changed_is_a_full_build(built: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renew, "STALE_SHARE", 0.4)
    assert build(built, State([row | {"channel": "app"} for row in history()], listed())).full == "much"


def test_many_parts_are_written_as_one(built: Bench, shop: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renew, "PARTS", 2)
    events = history()
    for number in range(4):
        events = events + latest(900 + 10 * number, 230.6 + number)
        assert build(built, State(events, listed())).full == ""
    assert built.lake.note("build")["ready"]["parts"] <= 3
    build(shop, State(events, listed()))
    assert_same(built, shop)


def test_failed_build_leaves_the_last_one(built: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {table: content(built, table) for table in KEYS}
    with monkeypatch.context() as patched:
        patched.setattr(renew._Update, "_restated", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(built, State(history()[3:] + latest(), listed()))
    assert {table: content(built, table) for table in KEYS} == before
    assert build(built, State(history()[3:] + latest(), listed())).full == ""


def delivered(chance: random.Random, events: list[Row], day: int, number: int) -> list[Row]:
    """`events` after another delivery: new ones to `day`, some late; of the old some changed, some gone."""
    kept = [row for row in events if chance.random() > 0.01]
    for row in kept:
        if chance.random() < 0.01:
            row["refunded"] = 1.0
        if chance.random() < 0.01 and row.get("amount"):
            row["amount"] = row["price"] = float(chance.randrange(1, 40))
    more = []
    for n in range(chance.randrange(1, 60)):
        late = chance.random() < 0.1
        on = chance.uniform(0, day) if late else day + chance.random()
        user, visitor = f"u{chance.randrange(6)}", chance.random() < 0.2
        row = made(
            number + n, None if visitor else user, on, chance.choice(["view", "purchase", "wish"]), chance.randrange(9)
        )
        if visitor or chance.random() < 0.05:
            row["anonymous_id"] = f"a{chance.randrange(4)}"
        if chance.random() < 0.3:
            row["session_id"] = f"s{chance.randrange(30)}"
        if late and chance.random() < 0.5:
            row["received_at"] = START + day * DAY
        more.append(row)
    return kept + more


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 100_000))
def test_any_deliveries_give_what_a_full_build_gives(new_shop: Callable[[], Bench], seed: int) -> None:
    chance = random.Random(seed)
    shop, anew = new_shop(), new_shop()
    state = State([], listed(8))
    for day in range(0, 200, 5):  # the past, in one delivery
        state.events = delivered(chance, state.events, day, 100 * day)
    build(shop, state)
    for delivery in range(chance.randrange(1, 4)):
        day = 200 + 3 * delivery
        state.events = delivered(chance, state.events, day, 100 * day)
        state.items = listed(
            8 + delivery, **({f"i{chance.randrange(8)}": OLD_CATEGORY} if chance.random() < 0.4 else {})
        )
        state.users = [{"user_id": f"u{chance.randrange(9)}", "gender": "male", "registered_at": START}]
        assert build(shop, state).full == ""
    build(anew, state)
    assert_same(shop, anew)
