"""A shop's forecasts: from its events to the table `clv` and its sentences, and what if."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from huaxiang.apply.predict.open import Predict
from huaxiang.apply.predict.show import clv_lines, show_clv, show_customer, show_intent, show_moved, unusable_line
from huaxiang.engine import Engine, Lake
from huaxiang.errors import ModelError, UnknownUserError
from huaxiang.features.filters import EVENT_CODES
from huaxiang.features.users import bucket_of
from huaxiang.models.labelled import Labelled
from huaxiang.models.predictor import finish_predictor, save_predictor
from huaxiang.models.zoo import LinearConfig, Matrix
from huaxiang.report.predict import clv_body, intent_body
from huaxiang.settings import Settings

FIRST, DAYS = date(2024, 1, 1), 240
AS_OF = FIRST + timedelta(days=DAYS)


def write_events(lake: Lake, *, late: bool = False) -> None:
    """100 customers who look and buy at their own pace; the last 20 stop halfway. late: also purchases known only afterwards."""
    chance = np.random.default_rng(5)
    rows = []
    for user in range(100):
        day = chance.uniform(0, 30)
        while day < (DAYS / 2 if user >= 80 else DAYS):
            visit = datetime.combine(FIRST, datetime.min.time()) + timedelta(days=day)
            cart, buys = chance.random() < 0.5, chance.random() < 0.5
            done = [
                "view",
                *(["add_to_cart"] if cart else []),
                *(["purchase"] if buys and (cart or chance.random() < 0.1) else []),
            ]
            rows += [
                (user, name, visit + timedelta(seconds=40 * n), n == 0, visit.date()) for n, name in enumerate(done)
            ]
            day += chance.exponential(1 + user % 10)
    if late:
        moment = datetime.combine(AS_OF, datetime.min.time()) - timedelta(days=3)
        rows += [(user, "purchase", moment, True, AS_OF + timedelta(days=2)) for user in range(100)]
    table = pa.table(
        {
            "user_no": pa.array([row[0] for row in rows], pa.int32()),
            "user_id": [f"u{row[0]}" for row in rows],
            "bucket": pa.array([bucket_of(f"u{row[0]}") for row in rows], pa.int16()),
            "event_id": [f"e{n}" for n in range(len(rows))],
            "event": [row[1] for row in rows],
            "event_no": pa.array([EVENT_CODES[row[1]] for row in rows], pa.int8()),
            "ts": pa.array([row[2] for row in rows], pa.timestamp("us")),
            "day": pa.array([row[2].date() for row in rows], pa.date32()),
            "known_day": pa.array([row[4] for row in rows], pa.date32()),
            "hour": pa.array([row[2].hour for row in rows], pa.int8()),
            "weekday": pa.array([row[2].isoweekday() for row in rows], pa.int8()),
            "session_id": pa.nulls(len(rows), pa.string()),
            "session_start": [row[3] for row in rows],
            "item_no": pa.array([row[0] % 7 for row in rows], pa.int32()),
            "price": [5.0 + row[0] % 4 for row in rows],
            "amount": pa.array([5.0 + row[0] % 4 if row[0] else None for row in rows], pa.float64()),
            "order_id": [f"o{row[0]}" if row[1] == "purchase" else None for row in rows],
            "quantity": [1.0] * len(rows),
            "visitor": [False] * len(rows),
        }
    )
    with lake.step("build") as step:
        step.replace("ready.events", table)
        step.note |= {
            "as_of": AS_OF.isoformat(),
            "features": [{"name": name, "type": "number"} for name in ("spend", "visits", "age")],
        }
        users = [f"u{n}" for n in range(100)]
        numbers = {
            "spend": np.linspace(0, 99, 100),
            "visits": np.tile(np.arange(10.0), 10),
            "age": np.full(100, np.nan),
        }
        step.replace(
            "features",
            pa.table(
                {"user_id": users, "as_of": pa.array([datetime(2024, 8, 28)] * 100, pa.timestamp("us")), **numbers}
            ),
        )


def write_predictor(lake: Lake, folder: Path) -> None:
    chance = np.random.default_rng(2)
    values = chance.normal(50, 20, (600, 2))
    label = (values[:, 0] + chance.normal(0, 5, 600) > 50).astype(float)
    data = Labelled(
        "binary",
        Matrix(("spend", "visits"), values),
        label,
        np.arange(600),
        np.full(600, "train"),
        np.full(600, "2024-01-01"),
        [],
        {},
        1.0,
    )
    made = finish_predictor(
        "churn_30d", "logistic", LinearConfig("binary"), data, method="none", threshold=0.5, folds=3, level=0.9, seed=1
    )
    place = save_predictor(made, folder / "models")
    with lake.step("train") as step:
        step.note["cards"] = {"churn_30d": f"churn_30d/{place.name}/card.json", "age_band": "age_band/none/card.json"}


@pytest.fixture
def predict(tmp_path: Path) -> Iterator[Predict]:
    with Engine(memory_gb=0.5, threads=1, temp=tmp_path / "tmp") as engine:
        lake = Lake(tmp_path / "lake", engine)
        write_events(lake)
        write_predictor(lake, tmp_path)
        yield Predict(lake, Settings(), tmp_path, lambda user: user)


def test_every_buyer_gets_a_row_that_adds_up(predict: Predict) -> None:
    report = predict.value(days=30)
    rows = predict.lake.engine.arrow(predict.lake.table("clv")).to_pylist()
    bought = predict.lake.engine.value(
        f"SELECT count(DISTINCT user_id) FROM ({predict.lake.engine.sql(predict.lake.table('ready.events'))}) WHERE event = 'purchase'"
    )
    assert len(rows) == report["customers"] == bought
    assert sum(row["expected_purchases"] for row in rows) == pytest.approx(report["expected"])
    assert sum(row["value"] for row in rows) == pytest.approx(report["value"])
    for row in rows:
        assert row["purchases_low"] <= row["expected_purchases"] <= row["purchases_high"]
        assert 0 <= row["p_alive"] <= 1
        assert row["as_of"].date() == AS_OF
    gone, there = (
        [row["p_alive"] for row in rows if (int(row["user_id"][1:]) >= 80) == wanted] for wanted in (True, False)
    )
    assert np.mean(gone) < np.mean(there)
    assert report["without_amount"] > 0  # the first customer's lines
    assert set(report["choice"]["left_out"]) == {"corrected", "ziln"}  # a hundred customers are too few to learn from


def test_without_a_learned_correction_the_reasons_are_what_was_read(predict: Predict) -> None:
    """A shop of few customers: BG/NBD alone, so how often, how lately and how much stand for it."""
    assert predict.value(days=30)["choice"]["head"] == "bg_nbd"
    row = predict.customer("u5")
    assert row is not None
    assert [one["feature"] for one in row["reasons"]] == ["frequency", "recency_days", "spend_mean"]
    assert [one["value"] for one in row["reasons"]] == [row["frequency"], row["recency_days"], row["spend_mean"]]
    assert {one["effect"] for one in row["reasons"]} == {None}
    for lang, said in (("en", "Next purchase: "), ("zh", "下次购买：同类顾客半数")):
        console = Console(record=True, width=160)
        show_customer(row, console, lang, "CNY")
        assert said in console.export_text()


def test_what_was_learned_of_later_is_not_known(predict: Predict) -> None:
    first = predict.value(days=30)
    write_events(predict.lake, late=True)
    assert predict.value(days=30)["expected"] == first["expected"]


def test_orders_that_do_not_count_are_left_out_and_counted(predict: Predict) -> None:
    every = predict.value(days=30)
    found = predict.value(days=30, without=["o3", "o4", "not there"])
    assert found["customers"] == every["customers"] - 2
    assert found["left_out"] == every["lines"] - found["lines"] > 0
    assert predict.customer("u3") is None


def test_reports_are_kept_and_spoken_in_both_languages(predict: Predict) -> None:
    value, intent = predict.value(days=30), predict.learn_intent()
    assert predict.reports() == {"clv": json.loads(json.dumps(value)), "intent": json.loads(json.dumps(intent))}
    for lang in ("en", "zh"):
        console = Console(record=True, width=100, file=io.StringIO())
        show_clv(value, console, lang, "CNY")
        show_intent(intent, console, lang)
        show_customer(predict.customer("u5"), console, lang, "CNY")
        show_customer(predict.customer("nobody"), console, lang, "CNY")
        show_moved(predict.what_if("u5", "churn_30d", {"spend": 500.0, "age": 3.0}), console, lang, "CNY")
        text = console.export_text()
        assert "{" not in text
        for body in (clv_body(value, lang, "CNY"), intent_body(intent, lang)):
            assert "<svg" in body
            assert "{{" not in body
    assert predict.customer("u5")["frequency"] > 0  # type: ignore[index]


def test_a_forecast_that_failed_its_hold_out_says_so_before_its_figures(predict: Predict) -> None:
    report = predict.value(days=30)
    held = report["holdout"] | {
        "coverage": {"level": 0.9, "buys": 0.95},
        "expected": {"mae": 1.0, "spearman": 0.5, "ratio": 1.1},
    }
    held["money"] = {"mae": 1.0, "spearman": 0.5, "ratio": 0.9}
    assert unusable_line(held, "en") == [] == unusable_line({"why": {"en": "short"}}, "en")
    for change, said in (
        ({"coverage": {"level": 0.9, "buys": 0.0}}, "90 % intervals held 0% of the purchases"),
        ({"expected": {"mae": 1.0, "spearman": None, "ratio": 0.000004}}, "forecast ÷ came was 0.000 of the purchases"),
        ({"money": {"mae": 1.0, "spearman": 0.5, "ratio": 2.5}}, "forecast ÷ came was 2.500 of the money"),
    ):
        head = clv_lines(report | {"holdout": held | change}, "en", "CNY")["head"]
        assert said in head[1] and "0.5 to 2" in head[1] and "expected" in head[2]
    assert len(clv_lines(report | {"holdout": held}, "zh", "CNY")["head"]) == 2


def test_known_customer_begins_with_their_past(predict: Predict) -> None:
    predict.learn_intent()
    now = datetime.combine(AS_OF, datetime.min.time())
    state = predict.begin("u5", now).state
    events = predict.lake.engine.sql(predict.lake.table("ready.events"))
    begun, bought = (
        predict.lake.engine.value(f"SELECT count(*) FROM ({events}) WHERE user_id = 'u5' AND {one}")
        for one in ("session_start", "event = 'purchase'")
    )
    assert (state.before.sessions, state.before.bought) == (begun, bought)
    assert 0 < state.before.quiet_days < DAYS
    assert predict.begin("u5", datetime(2023, 1, 1)).state.before.sessions == 0


def test_wrong_days_are_refused(predict: Predict) -> None:
    with pytest.raises(ModelError, match="1 to 3650"):
        predict.value(days=0)
    with pytest.raises(ModelError, match="discount"):
        predict.value(discount=1.5)


def test_pushed_feature_moves_the_prediction(predict: Predict) -> None:
    found = predict.what_if("u5", "churn_30d", {"spend": 95.0})
    assert found.changed == {"spend": (5.0, 95.0)}
    assert found.before.value < 0.1 < 0.9 < found.after.value
    assert found.after.reasons[0][0] == "spend"
    assert found.outside == found.unread == ()
    same = predict.what_if("u5", "churn_30d", {"spend": 5.0})
    assert same.before == same.after


def test_what_moves_it_is_named_and_what_does_not(predict: Predict) -> None:
    found = predict.what_if("u5", "churn_30d", {"spend": 95.0})
    assert found.flat == () and found.tries[0].feature == "spend"
    again = predict.what_if("u5", "churn_30d", {"spend": found.tries[0].value})
    assert again.after.value == found.tries[0].prediction != again.before.value
    moves = [abs(one.prediction - found.before.value) for one in found.tries]
    assert moves == sorted(moves, reverse=True)
    still = predict.what_if("u5", "churn_30d", {"visits": 1.0})
    assert (still.before == still.after) == ("visits" in still.flat + still.unread)


def test_names_and_units_are_those_a_person_reads(predict: Predict) -> None:
    with predict.lake.step("build") as step:
        about = [
            {"name": "spend", "type": "number", "unit": "share", "meaning_en": "share of spend on 护肤", "meaning_zh": "在“护肤”的消费占比"},
            {"name": "visits", "type": "number"},
        ]  # fmt: skip
        outcome = {"name": "churn_30d", "kind": "binary", "meaning_en": "buys nothing", "meaning_zh": "不再购买"}
        step.note |= {"features": about, "outcomes": [outcome]}
    found = predict.what_if("u5", "churn_30d", {"spend": 95.0})
    for lang, said in (
        ("en", ("Buys nothing: ", "Share of spend on 护肤")),
        ("zh", ("不再购买：", "在“护肤”的消费占比")),
    ):
        console = Console(record=True, width=120, file=io.StringIO())
        show_moved(found, console, lang, "CNY")
        text = console.export_text()
        assert all(one in text for one in said) and "churn_30d" not in text and "spend:" not in text
        assert f"{found.after.value:.1%}" in text
    assert found.to_dict()["labels"]["spend"]["zh"] == "在“护肤”的消费占比"


def test_feature_beyond_what_was_seen_or_unread_is_named(predict: Predict) -> None:
    found = predict.what_if("u5", "churn_30d", {"spend": -1.0, "age": 30.0, "visits": None})
    assert found.outside == ("spend", "age")
    assert found.unread == ("age",)


@pytest.mark.parametrize(
    ("outcome", "feature", "what"),
    [
        ("churn", "spend", "did you mean churn_30d"),
        ("age_band", "spend", "has no model"),
        ("churn_30d", "spent", "did you mean spend"),
    ],
    ids=["outcome", "untrained", "feature"],
)
def test_unknown_names_are_refused_with_the_nearest(predict: Predict, outcome: str, feature: str, what: str) -> None:
    with pytest.raises(ModelError, match=what):
        predict.what_if("u5", outcome, {feature: 1.0})


@pytest.mark.parametrize(
    ("unit", "value", "least"),
    [("days", -4.0, "0"), ("money", -0.5, "0"), ("-1..1", -1.5, "-1"), ("1..5", 0.0, "1")],
    ids=["days", "money", "range", "score"],
)
def test_less_than_a_feature_can_be_is_refused(predict: Predict, unit: str, value: float, least: str) -> None:
    with predict.lake.step("build") as step:
        step.note |= {"features": [{"name": "spend", "type": "number", "unit": unit}, {"name": "visits"}]}
        shift = 1.0 if unit == "1..5" else 0.0  # the least that the shop's own customers have
        step.replace("features", f"SELECT * REPLACE (spend + {shift} AS spend) FROM ({step_sql(predict)})")
    with pytest.raises(ModelError, match=f"no spend lies below {least}"):
        predict.what_if("u5", "churn_30d", {"spend": value})
    assert predict.what_if("u5", "churn_30d", {"spend": float(least), "visits": -1.0}).changed["spend"][1] == float(
        least
    )
    with predict.lake.step("build") as step:  # a shop of which one has less: net of what was paid back
        step.note |= predict.lake.note("build")
        step.replace("features", f"SELECT * REPLACE (spend - 10 AS spend) FROM ({step_sql(predict)})")
    assert predict.what_if("u5", "churn_30d", {"spend": value}).changed["spend"][1] == value


def step_sql(predict: Predict) -> str:
    return predict.lake.engine.sql(predict.lake.table("features"))


@pytest.mark.parametrize(
    ("outcomes", "why"), [([], "declares no outcome"), ([{"name": "churn_30d"}], "no outcome with labels enough")]
)
def test_where_nothing_was_trained_the_reason_is_said(predict: Predict, outcomes: list, why: str) -> None:
    with predict.lake.step("train") as step:
        step.note["cards"] = {}
    with predict.lake.step("build") as step:
        step.note |= predict.lake.note("build") | {"outcomes": outcomes}
    with pytest.raises(ModelError, match=why) as found:
        predict.what_if("u5", "churn_30d", {"spend": 1.0})
    assert "did you mean" not in str(found.value)


def test_unknown_customer_is_refused(predict: Predict) -> None:
    with pytest.raises(UnknownUserError):
        predict.what_if("nobody", "churn_30d", {"spend": 1.0})
