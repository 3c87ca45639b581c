"""A model brought as an ONNX file goes through a shop: added, examined, predicting with reasons, listed, removed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from rich.console import Console
from tests.models import onnx_files as files
from tests.models import test_outcomes as shops

from conftest import run_huaxiang
from huaxiang.engine import Engine, Lake
from huaxiang.errors import HuaxiangError, ModelError
from huaxiang.models.brought import bring_model, files_in, list_models
from huaxiang.models.card import ScoreCard
from huaxiang.models.predictor import Predictor
from huaxiang.models.show import show_card
from huaxiang.models.zoo import Matrix
from huaxiang.report.cards import card_body
from huaxiang.settings import ModelSettings, Settings, TrainSettings
from huaxiang.shop import SETTINGS


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=1, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "lake", engine)


def bring(lake: Lake, content: bytes, outcome: str = "churn", **more: Any) -> Settings:
    """The settings of the test shop with the model added, as `Shop.add_model` does it."""
    path = lake.folder.parent / f"{more.get('name', 'mine')}.onnx"
    path.write_bytes(content)
    settings = Settings(train=TrainSettings(folds=2))
    name, entry = bring_model(lake, settings, lake.folder.parent / "models", path, outcome=outcome, **more)
    return settings.model_copy(update={"models": {name: ModelSettings(**entry)}})


def known_spend() -> bytes:
    """A network that knows how the test shop was made: churn where spend is large."""
    return bytes(files.from_keras({"spend": 3.4, "noise": 0.0}, -1.7))


def test_brought_model_wins_the_exam_and_predicts_with_reasons(lake: Lake) -> None:
    shops.build_shop(lake, [shops.outcome("churn", "binary")])
    settings = bring(lake, known_spend())
    (card,) = shops.train(lake, settings)
    score = card.score_of("mine")
    assert score is not None
    assert score.brought
    assert score.settings["sha256"] == settings.models["mine"].sha256
    assert "content" not in score.settings
    assert score.bytes > len(known_spend())
    assert score.test["roc_auc"]["low"] > 0.85  # type: ignore[operator]
    assert set(score.cv) == set(card.models[0].cv)
    assert "may have seen these rows" in card.brought_note("en")
    assert "可能见过这些行" in card.brought_note("zh")
    assert ScoreCard.from_json(card.to_json()).score_of("mine").brought  # type: ignore[union-attr]
    console = Console(width=100)
    with console.capture() as shown:
        show_card(card, console, "en")
    assert "Brought: mine" in shown.get()
    assert "自带模型：mine" in card_body(card, "zh", currency="CNY", meanings={})
    assert card.model == "mine"
    assert "mine was brought" in card.why["en"]
    rows = lake.engine.rows(lake.table("predictions"))
    assert len(rows) == shops.USERS
    assert {row["model"] for row in rows} == {"mine"}
    assert all(row["reasons"][0]["feature"] == "spend" for row in rows)
    (listed,) = list_models(settings.models, [card], lake.folder.parent / "models")
    assert listed["predicts"]
    assert listed["test"] == pytest.approx(score.test["roc_auc"]["value"])
    assert listed["bytes"] == len(known_spend())


def test_saved_predictor_of_a_brought_model_gives_the_stored_predictions(lake: Lake) -> None:
    shops.build_shop(lake, [shops.outcome("churn", "binary")])
    (card,) = shops.train(lake, bring(lake, known_spend()))
    folder = lake.folder.parent / "models"
    text = (folder / "churn" / card.version / "model.json").read_text(encoding="utf-8")
    predictor = Predictor.from_json(text, files_in(folder))
    assert predictor.version == card.version
    rows = lake.engine.rows(lake.table("predictions").order_by("user_id"))
    features = lake.engine.arrow(lake.table("features").order_by("user_id"))
    x = Matrix(("spend", "noise"), np.column_stack([features.column(name).to_numpy() for name in ("spend", "noise")]))
    found = predictor.predict(features.column("user_id"), features.column("as_of"), x, card.version).to_pylist()
    assert [row["value"] for row in found] == [row["value"] for row in rows]
    with pytest.raises(ModelError, match="is gone"):
        (folder / "brought" / f"{predictor.model.config.sha256}.onnx").unlink()  # type: ignore[attr-defined]
        Predictor.from_json(text, files_in(folder))


def test_training_twice_gives_the_same_version(lake: Lake) -> None:
    shops.build_shop(lake, [shops.outcome("churn", "binary")])
    settings = bring(lake, known_spend())
    assert shops.train(lake, settings)[0].version == shops.train(lake, settings)[0].version


def test_poor_brought_model_stands_on_the_card_and_loses(lake: Lake) -> None:
    shops.build_shop(lake, [shops.outcome("churn", "binary")])
    (card,) = shops.train(lake, bring(lake, files.from_keras({"spend": 0.0, "noise": 1.0})))
    assert card.score_of("mine") is not None
    assert card.model != "mine"
    assert "was brought" not in card.why["en"]


def test_numbers_and_classes_can_be_brought_too(lake: Lake) -> None:
    shops.build_shop(lake, [shops.outcome("amount", "number"), shops.outcome("band", "class")])
    amount = bring(lake, files.dense([[4.0], [0.0]]), "amount", features=("spend", "noise"), name="amounts")
    metadata = {"features": '["spend", "noise"]', "labels": '["top", "mid", "low"]'}
    band = bring(lake, files.dense([[3, 0, -3], [0, 0, 0]], last="Softmax", metadata=metadata), "band", name="bands")
    cards = shops.train(lake, amount.model_copy(update={"models": amount.models | band.models}))
    assert [card.score_of(name) is not None for card, name in zip(cards, ("amounts", "bands"), strict=True)] == [
        True
    ] * 2
    assert cards[1].score_of("bands").test["accuracy"]["value"] > 0.5  # type: ignore[union-attr, operator]


def test_unused_files_are_swept_at_the_next_training_but_one_a_predictor_needs_stays(lake: Lake) -> None:
    shops.build_shop(lake, [shops.outcome("churn", "binary")])
    settings = bring(lake, known_spend())
    shops.train(lake, settings)
    brought = lake.folder.parent / "models" / "brought"
    removed = settings.model_copy(update={"models": {}})
    shops.train(lake, removed)
    assert len(list(brought.glob("*.onnx"))) == 1  # the predictor before this one may still be open
    shops.train(lake, removed.model_copy(update={"train": TrainSettings(folds=2, seed=5)}))
    assert list(brought.glob("*.onnx")) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"outcome": "chrun"}, "did you mean 'churn'"),
        ({"outcome": "zzz"}, "there are churn"),
        ({"features": ("spned", "noise")}, "did you mean 'spend'"),
        ({"features": ("zzz", "noise")}, "huaxiang features SHOP"),
        ({"features": ("tags", "noise")}, "does not compute as a number"),
        ({"name": "tree"}, "one of huaxiang's own"),
        ({"name": "a b"}, "cannot be a model's name"),
        ({"output": "odds"}, "use one of probability, logit, number"),
        ({"output": "number"}, "does not fit"),
    ],
    ids=["near outcome", "far outcome", "near feature", "far feature", "list", "taken", "name", "output", "task"],
)
def test_wrong_word_is_named_and_nothing_is_kept(lake: Lake, more: dict[str, Any], says: str) -> None:
    shops.build_shop(lake, [shops.outcome("churn", "binary")], users=60)
    with pytest.raises(HuaxiangError, match=says):
        bring(lake, known_spend(), **more)
    assert not (lake.folder.parent / "models" / "brought").exists()


@pytest.mark.parametrize(
    ("metadata", "says"),
    [({}, "does not say which features"), ({"features": "spend"}, "not a JSON list")],
    ids=["none", "no list"],
)
def test_features_must_be_named(lake: Lake, metadata: dict[str, str], says: str) -> None:
    shops.build_shop(lake, [shops.outcome("churn", "binary")], users=60)
    with pytest.raises(ModelError, match=says):
        bring(lake, files.dense([[1], [0]], last="Sigmoid", metadata=metadata))


def test_without_a_build_or_a_file_it_says_so(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(HuaxiangError, match="no file"):
        bring_model(lake, Settings(), tmp_path, tmp_path / "gone.onnx", outcome="churn")
    with pytest.raises(HuaxiangError, match="no table training yet"):
        bring(lake, known_spend())


def test_model_whose_outcome_or_feature_is_gone_stops_the_training_with_a_mend(lake: Lake) -> None:
    shops.build_shop(lake, [shops.outcome("churn", "binary")], users=60)
    settings = bring(lake, known_spend())
    entry = settings.models["mine"]
    for change, says in (({"outcome": "chrn"}, "did you mean 'churn'"), ({"features": ("spend", "void2")}, "void2")):
        changed = settings.model_copy(update={"models": {"mine": entry.model_copy(update=change)}})
        with pytest.raises(ModelError, match=says):
            shops.train(lake, changed)


def test_commands_add_list_and_remove_leave_the_rest_of_the_settings_alone(small_shop: Path, tmp_path: Path) -> None:
    shop, file = tmp_path / "shop", tmp_path / "quiet-ones.onnx"
    shutil.copytree(small_shop, shop)
    before = (shop / SETTINGS).read_text(encoding="utf-8")
    file.write_bytes(files.from_keras({"recency_days": 0.05, "orders_90d": -0.4}, kind=TensorProto.INT64))
    added = run_huaxiang("model", "add", str(shop), str(file), "--outcome", "churn_30d")
    assert added.returncode == 0, added.stderr
    assert (shop / SETTINGS).read_text(encoding="utf-8").startswith(before.rstrip())
    listed = json.loads(run_huaxiang("model", "list", str(shop), "--json").stdout)
    assert [(one["name"], one["features"], one["test"]) for one in listed] == [
        ("quiet-ones", ["recency_days", "orders_90d"], None)
    ]
    assert "quiet-ones" in run_huaxiang("model", "list", str(shop)).stdout
    wrong = run_huaxiang("model", "remove", str(shop), "quiet-one")
    assert wrong.returncode == 1
    assert "did you mean 'quiet-ones'" in wrong.stderr
    assert run_huaxiang("model", "remove", str(shop), "quiet-ones").returncode == 0
    assert (shop / SETTINGS).read_text(encoding="utf-8").rstrip() == before.rstrip()
    assert "no model was brought" in run_huaxiang("model", "list", str(shop)).stdout
