"""A running session: folded one by one and all at once alike; a chance that updates with each event, learned and calibrated."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from huaxiang.apply.predict.intent import Intent, learn_sessions, load_intent, read_sessions
from huaxiang.apply.predict.session import COLUMNS, Before, Running, Sessions, prefixes
from huaxiang.engine import Engine, Lake
from huaxiang.errors import DefinitionError, ModelError
from huaxiang.features.filters import EVENT_CODES

CODES = {code: name for name, code in EVENT_CODES.items()}
BEGIN = datetime(2024, 3, 4, 9, tzinfo=UTC).replace(tzinfo=None)  # a Monday


def draw_sessions(count: int, *, seed: int, useful: bool = True) -> Sessions:
    """Sessions of views and carts; one that put something into the cart buys in the end with chance .7, another with .05."""
    chance = np.random.default_rng(seed)
    session, code, second, item, price = [], [], [], [], []
    for number in range(count):
        at, carted = number * 1000.0, False
        for _ in range(int(chance.integers(1, 8))):
            cart = bool(chance.random() < 0.15)
            carted |= cart
            session.append(number)
            code.append(EVENT_CODES["add_to_cart" if cart else "view"])
            second.append(at := at + chance.exponential(20))
            item.append(int(chance.integers(-1, 5)))
            price.append(float(chance.uniform(1, 9)) if chance.random() < 0.8 else np.nan)
        if chance.random() < ((0.7 if carted else 0.05) if useful else 0.2):
            session.append(number)
            code.append(EVENT_CODES["purchase"])
            second.append(at + 5)
            item.append(1)
            price.append(2.0)
    size = len(session)
    return Sessions(
        np.array(session), np.array(code), np.array(second), np.array(item), np.array(price), np.full(size, 9.0), np.full(size, 1.0),
        np.full(size, 4.0), np.full(size, 1.0), np.full(size, np.nan),
    )  # fmt: skip


@pytest.fixture(scope="module")
def learned() -> Intent:
    return learn_sessions(draw_sessions(1500, seed=1), seed=1)[0]


@pytest.mark.parametrize("seed", range(5))
def test_folded_event_by_event_it_is_the_same_as_all_at_once(seed: int) -> None:
    found = draw_sessions(20, seed=seed)
    whole = prefixes(found).values
    running, current = Running(), -1
    for place in range(len(found)):
        if found.session[place] != current:
            current, running = int(found.session[place]), Running(Before(4, 1))
        base = found.second[np.searchsorted(found.session, current)]
        running.add(
            CODES[int(found.code[place])],
            BEGIN + timedelta(seconds=found.second[place] - base),
            item_id=str(found.item[place]) if found.item[place] >= 0 else None,
            price=float(found.price[place]),
        )
        np.testing.assert_allclose(running.row().values[0], whole[place], atol=2e-6, err_msg=str(place))


def test_prefix_by_hand() -> None:
    running = Running()
    running.add("view", BEGIN, item_id="a", price=10.0)
    running.add("view", BEGIN + timedelta(seconds=30), item_id="a")
    running.add("add_to_cart", BEGIN + timedelta(seconds=90), item_id="b", price=20.0)
    row = dict(zip(COLUMNS, running.row().values[0].tolist(), strict=True))
    assert (row["view_count"], row["add_to_cart_count"], row["items"], row["again_count"]) == (2, 1, 2, 1)
    assert (row["seconds"], row["seconds_last"], row["seconds_mean"]) == (90, 60, 45)
    assert (row["price_mean"], row["price_last"], row["price_max"]) == (15, 20, 20)
    assert (row["hour"], row["weekday"], row["past_sessions"]) == (9, 1, 0)


def test_chance_rises_with_the_cart_and_is_sure_after_the_purchase(learned: Intent) -> None:
    session = learned.begin(Before(4, 1))
    assert session.chance is None
    looked = session.add({"event": "view", "item_id": "1", "price": 3.0, "ts": BEGIN})
    carted = session.add({"event": "加购", "item_id": "1", "price": 3.0, "ts": BEGIN + timedelta(seconds=20)})
    assert looked < 0.35
    assert carted > 0.5
    assert "add_to_cart_count" in [name for name, _, _ in session.why()][:2]
    assert session.add({"event": "purchase", "ts": BEGIN + timedelta(seconds=40)}) == 1.0


def test_one_clock_whatever_the_times_carry(learned: Intent) -> None:
    """09:00 in Shanghai told as the shop's own, with the zone, in UTC and as text is one moment, and one chance."""
    shop = replace(learned, zone="Asia/Shanghai")
    own = datetime(2024, 3, 1, 9)
    for ts in (
        own,
        own.replace(tzinfo=ZoneInfo("Asia/Shanghai")),
        datetime(2024, 3, 1, 1, tzinfo=UTC),
        "2024-03-01T01:00:00+00:00",
    ):
        session = shop.begin()
        session.add({"event": "view", "ts": "2024-03-01T08:59:00"})
        chance = session.add({"event": "add_to_cart", "ts": ts})
        assert (session.as_of, session.state.since_last, session.version) == (own, 60.0, learned.version)
        assert chance == session.chance


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "view"}, "None is no time"),
        ({"event": "view", "ts": "noon"}, "'noon' is no time"),
        ({"ts": "x"}, "it has ts"),
    ],
    ids=["no time", "no such time", "no name"],
)
def test_an_event_that_lacks_something_says_so(learned: Intent, event: dict, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        learned.begin().add(event)


def test_exam_beats_one_chance_for_all_and_is_calibrated() -> None:
    intent, report = learn_sessions(draw_sessions(5000, seed=2), seed=1)
    assert report["model"] != "prior"
    assert report["test"]["log_loss"] < 0.95 * report["baseline"]["log_loss"]
    assert report["calibration"]["error"] < 0.05
    assert report["version"] == intent.version


def test_null_result_is_reported_as_null() -> None:
    _, report = learn_sessions(draw_sessions(1500, seed=3, useful=False), seed=1)
    assert abs(report["test"]["log_loss"] - report["baseline"]["log_loss"]) < 0.02
    assert report["test"]["roc_auc"] < 0.6


def test_saved_model_says_the_same(learned: Intent, tmp_path: Path) -> None:
    path = tmp_path / "intent.json"
    path.write_text(learned.to_json())
    x = prefixes(draw_sessions(10, seed=9))
    assert np.array_equal(load_intent(path).score(x), learned.score(x))
    assert load_intent(path).version == learned.version


def test_shop_without_a_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="huaxiang intent"):
        load_intent(tmp_path / "intent.json")


def test_sessions_of_nothing_but_purchases_are_refused() -> None:
    found = draw_sessions(300, seed=1)
    only = Sessions(
        *(getattr(found, name)[found.code == EVENT_CODES["purchase"]] for name in Sessions.__dataclass_fields__)
    )
    renumbered = Sessions(
        np.arange(len(only)), *(getattr(only, name) for name in list(Sessions.__dataclass_fields__)[1:])
    )
    with pytest.raises(ModelError, match="0 bought after doing something else"):
        learn_sessions(renumbered, seed=1)


def test_an_order_without_a_session_id_belongs_to_the_clicks_before_it(tmp_path: Path) -> None:
    """Clicks of the site carry its session id, orders of the shop's own system none; what was sent to a customer is no session."""
    rows = [  # customer, minute, event, session id, whether a session begins
        (0, 0, "view", "s1", True), (0, 5, "add_to_cart", "s1", False), (0, 12, "purchase", None, True), (0, 13, "purchase", None, False),
        (0, 200, "purchase", None, True),  # long after the clicks: a session of its own
        (1, 0, "coupon_receive", None, True), (1, 1, "view", "s2", True),
    ]  # fmt: skip
    table = {
        "user_no": [row[0] for row in rows], "user_id": [f"u{row[0]}" for row in rows], "bucket": [0] * len(rows),
        "ts": [BEGIN + timedelta(minutes=row[1]) for row in rows], "day": [BEGIN.date()] * len(rows), "event_id": [f"e{place}" for place in range(len(rows))],
        "event_no": [EVENT_CODES[row[2]] for row in rows], "session_id": [row[3] for row in rows], "session_start": [row[4] for row in rows],
        "item_no": pa.array([None] * len(rows), pa.int32()), "price": pa.array([None] * len(rows), pa.float64()), "hour": [9] * len(rows), "weekday": [1] * len(rows),
    }  # fmt: skip
    with Engine(memory_gb=0.5, threads=1, temp=tmp_path / "tmp") as engine:
        lake = Lake(tmp_path / "lake", engine)
        with lake.step("build") as step:
            step.replace("ready.events", pa.table(table))
        found = read_sessions(lake)
    sessions = [
        [CODES[code] for code in found.code[found.session == number]] for number in range(int(found.session.max()) + 1)
    ]
    assert sorted(sessions) == [["purchase"], ["view"], ["view", "add_to_cart", "purchase", "purchase"]]
