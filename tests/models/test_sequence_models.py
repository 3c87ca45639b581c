"""Networks that read events: what only the order of events tells, what may be seen at a date, and how it all looks in the end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from huaxiang.engine import Engine, Lake
from huaxiang.errors import ModelError
from huaxiang.models import histories as reading
from huaxiang.models.card import ScoreCard
from huaxiang.models.histories import HistoryReader
from huaxiang.models.labelled import read_labelled
from huaxiang.models.metrics import Floats, roc_auc
from huaxiang.models.next_item.sequences import Sequences, from_lists
from huaxiang.models.outcomes import LakeScorer
from huaxiang.models.predictor import Predictor, finish_predictor
from huaxiang.models.zoo import Config, Matrix, grids, load_model, make_model, save_model, sequence_grids
from huaxiang.models.zoo.history import RECENT_EVENTS, Histories
from huaxiang.models.zoo.sequence import SequenceConfig, SequenceModel
from huaxiang.profile.page import profile_page
from huaxiang.profile.show import show_profile
from huaxiang.report.cards import card_body
from huaxiang.settings import Settings
from huaxiang.shop import Shop
from huaxiang.words import Lang

torch = pytest.importorskip("torch")

VIEW, CART = 1, 2
HOUR, DAY = 3600, 86_400
ENCODERS = [pytest.param(grid[0], id=name) for name, grid in sequence_grids("binary").items()]


# ---- what only the order tells ------------------------------------------------------------------------------------


def planted(seed: int, rows: int = 800) -> tuple[Matrix, Floats]:
    """4 to 9 events an hour apart; the label: the last is a cart and the one before it a view. The columns count both."""
    random = np.random.default_rng(seed)
    counts = random.integers(4, 10, rows)
    starts = np.concatenate([[0], np.cumsum(counts)])
    kind = random.integers(VIEW, CART + 1, starts[-1])
    rank = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
    until = np.full(rows, 1_700_000_000)
    ts = until[0] - (np.repeat(counts, counts) - rank) * HOUR
    none = np.zeros(len(kind), dtype=np.int64)
    history = Histories(
        Sequences(starts, none, ts, kind, np.full(len(kind), np.nan)), none - 1, none - 1, until, (), np.arange(rows)
    )
    carts = np.add.reduceat(kind == CART, starts[:-1]).astype(float)
    y = ((kind[starts[1:] - 1] == CART) & (kind[starts[1:] - 2] == VIEW)).astype(float)
    return Matrix(("carts", "views"), np.column_stack([carts, counts - carts]), history=history), y


def fit(config: Config, x: Matrix, y: Floats) -> SequenceModel:
    made = make_model(config).fit(x, y, seed=3)
    assert isinstance(made, SequenceModel)
    return made


@pytest.fixture(scope="module")
def gru() -> SequenceModel:
    """A GRU that has learned the planted order."""
    return fit(SequenceConfig("binary", encoder="gru", batch=32, epochs=25, rate=4e-3), *planted(1))


def test_counts_alone_do_not_tell_the_order() -> None:
    (x, y), (new, truth) = planted(1), planted(2)
    assert roc_auc(truth, make_model(grids("binary")["lightgbm"][0]).fit(x, y, seed=3).score(new)) < 0.75


@pytest.mark.parametrize("config", ENCODERS)
def test_encoder_learns_what_only_the_order_tells(config: SequenceConfig) -> None:
    model = fit(replace(config, batch=32, epochs=25, rate=4e-3), *planted(1))
    new, truth = planted(2)
    assert roc_auc(truth, model.score(new)) > 0.95
    effects, _ = model.explain(new)
    assert model.columns[-1] == RECENT_EVENTS
    assert int(np.abs(effects).mean(axis=0).argmax()) == len(model.columns) - 1


def test_effects_of_events_add_up_and_name_the_ones_that_told(gru: SequenceModel) -> None:
    new, truth = planted(2)
    effects, count = gru.event_effects(new)
    row = np.repeat(np.arange(len(count)), count)
    whole = gru.explain(new)[0][:, -1]
    assert np.bincount(row, weights=effects) == pytest.approx(whole, abs=1e-6)
    ends = np.cumsum(count)
    yes = truth == 1
    last_two = effects[ends[yes] - 1] + effects[ends[yes] - 2]
    others = effects[np.cumsum(count)[yes] - 3]
    assert np.mean(last_two > others) > 0.9


def test_value_of_the_events_column_is_their_number(gru: SequenceModel) -> None:
    x, _ = planted(2)
    assert np.array_equal(x.take(gru.columns)[:, -1], x.history.lengths)  # type: ignore[union-attr]
    assert np.array_equal(x.take(gru.columns)[:, :2], x.values)


def test_only_the_last_events_are_read(gru: SequenceModel) -> None:
    """Events before the last `length` change nothing."""
    x, _ = planted(4, rows=50)
    assert x.history is not None
    short = load_model(save_model(gru) | {"config": vars(replace(gru.settings, length=3)) | {}})
    before, some = short.score(x), x.history.events
    kind = some.kind.copy()  # type: ignore[union-attr]
    kind[some.starts[:-1]] = VIEW + CART - kind[some.starts[:-1]]
    other = replace(x, history=replace(x.history, events=replace(some, kind=kind)))
    assert np.array_equal(short.score(other), before)
    assert not np.array_equal(gru.score(other), gru.score(x))


def test_unseen_kinds_and_categories_say_nothing_instead_of_failing(gru: SequenceModel) -> None:
    x, _ = planted(4, rows=50)
    assert x.history is not None
    some = x.history.events
    strange = replace(
        x.history,
        events=replace(some, kind=np.full(len(some.item), 99), price=np.full(len(some.item), 3.5)),
        category=np.zeros(len(some.item), dtype=np.int64),
        names=("never seen",),
    )
    assert np.isfinite(gru.score(replace(x, history=strange))).all()


def test_categories_are_known_by_name_not_by_number() -> None:
    x, _ = planted(1, rows=200)
    assert x.history is not None
    random = np.random.default_rng(1)
    category = random.integers(0, 2, len(x.history.category))
    y = np.array([float(category[low]) for low in x.history.events.starts[:-1]])
    told = replace(x, history=replace(x.history, category=category, names=("tea", "bread")))
    model = fit(SequenceConfig("binary", encoder="cnn", batch=32, epochs=3), told, y)
    turned = replace(x, history=replace(x.history, category=1 - category, names=("bread", "tea")))
    assert np.array_equal(model.score(turned), model.score(told))


def test_many_rows_have_two_folds_and_few_those_wanted() -> None:
    assert SequenceConfig("binary").folds(100_000, 5) == 2
    assert SequenceConfig("binary").folds(500, 5) == 5
    assert not SequenceConfig("binary").spread(100_000)
    assert SequenceConfig("binary").spread(500) and grids("binary")["lightgbm"][0].spread(100_000)
    assert grids("binary")["lightgbm"][0].folds(100_000, 5) == 5


def test_many_rows_are_sampled_and_few_epochs_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huaxiang.models.zoo.sequence.READ", 2_000)
    model = fit(SequenceConfig("binary"), *planted(1))
    assert model.settings.epochs == 2
    assert save_model(model) == save_model(fit(SequenceConfig("binary"), *planted(1)))


def test_rows_without_their_history_are_refused(gru: SequenceModel) -> None:
    x, _ = planted(2)
    with pytest.raises(ModelError, match="come without them"):
        gru.score(replace(x, history=None))


def test_saved_model_needs_torch_and_says_so(gru: SequenceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = save_model(gru)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError, match=r"needs PyTorch, which is not installed\n.*huaxiang\[deep\]"):
        load_model(saved)


def test_zoo_is_imported_without_torch() -> None:
    code = "import sys, huaxiang.models.zoo, huaxiang.models.outcomes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sequences_carry_prices() -> None:
    some = replace(from_lists([[1, 2, 3], [4, 5]]), price=np.array([1.0, 2.0, np.nan, 4.0, 5.0]))
    assert some.last(1).price == pytest.approx([np.nan, 5.0], nan_ok=True)
    assert some.take(np.array([1])).price == pytest.approx([4.0, 5.0])
    assert from_lists([[1]]).last(1).price is None


# ---- what may be seen at a date ------------------------------------------------------------------------------------


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=2, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "lake", engine)


Event = tuple[str, int, date, date, int]  # user, second of the day, day, day on which it is known, item


def write_events(lake: Lake, events: list[Event]) -> None:
    users = sorted({event[0] for event in events})
    columns: dict[str, list[Any]] = {
        "bucket": [users.index(user) % 4 for user, *_ in events],
        "user_no": [users.index(user) for user, *_ in events],
        "event_id": [f"e{n}" for n in range(len(events))],
        "event_no": [10] * len(events),
        "ts": [datetime(day.year, day.month, day.day) + timedelta(seconds=s) for _, s, day, _, _ in events],
        "day": [event[2] for event in events],
        "known_day": [event[3] for event in events],
        "hour": [event[1] // HOUR for event in events],
        "weekday": [event[2].isoweekday() for event in events],
        "item_no": [event[4] for event in events],
        "category_top_no": [event[4] % 2 for event in events],
        "price": [float(event[4]) for event in events],
    }
    with lake.step("build") as step:
        step.replace("ready.events", pa.table(columns))
        people = {"user_id": users, "user_no": range(len(users)), "bucket": [n % 4 for n in range(len(users))]}
        step.replace("ready.users", pa.table({name: list(values) for name, values in people.items()}))
        step.replace(
            "ready.items", pa.table({"item_no": [0, 1], "category_top_no": [0, 1], "category_top": ["Food", "Home"]})
        )


def read(lake: Lake, rows: list[tuple[str, str]], length: int = 64) -> list[list[int]]:
    """The items of each row's events."""
    with lake.step("train") as step:
        reader = HistoryReader.of(step, Settings())
        assert reader is not None
        found = reader.read(pa.array([user for user, _ in rows]), np.array([day for _, day in rows]), length)
    at, count = found.places()
    items = found.events.item[at] - 1
    return [list(map(int, some)) for some in np.split(items, np.cumsum(count)[:-1])]


JAN = [date(2024, 1, day) for day in range(1, 20)]
EVENTS: list[Event] = [
    ("ann", 10, JAN[0], JAN[0], 0),
    ("ann", 20, JAN[0], JAN[0], 1),
    ("ann", 10, JAN[3], JAN[3], 2),
    ("bob", 10, JAN[2], JAN[9], 3),  # known a week later
    ("bob", 10, JAN[4], JAN[4], 4),
]
ASKED = [
    ("bob", "2024-01-06"),
    ("ann", "2024-01-04"),
    ("ann", "2024-01-05"),
    ("bob", "2024-01-12"),
    ("eve", "2024-01-06"),
]


def test_row_sees_only_what_happened_and_was_known_before_its_day(lake: Lake) -> None:
    write_events(lake, EVENTS)
    assert read(lake, ASKED) == [[4], [0, 1], [0, 1, 2], [3, 4], []]
    assert read(lake, ASKED, length=1) == [[4], [1], [2], [4], []]


def test_later_and_late_events_change_nothing_before(lake: Lake) -> None:
    write_events(lake, EVENTS)
    before = read(lake, ASKED)
    later: list[Event] = [
        ("ann", 0, JAN[4], JAN[4], 7),  # on the day itself
        ("ann", 0, JAN[1], JAN[14], 8),  # before, but known after
        ("bob", 0, JAN[11], JAN[11], 9),
    ]
    write_events(lake, EVENTS + later)
    assert read(lake, ASKED) == before


def test_chunks_of_customers_give_what_all_at_once_give(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    write_events(lake, EVENTS)
    before = read(lake, ASKED)
    monkeypatch.setattr(reading, "CHUNK", 1)
    assert read(lake, ASKED) == before


def test_vectors_are_of_the_last_events_with_an_item_before_the_day(lake: Lake) -> None:
    """Events without an item take no place among those that the vector is made of."""
    write_events(lake, EVENTS)
    asked: list[list[int]] = []

    def embed(events: Sequences) -> np.ndarray:
        asked.extend(some.tolist() for some in np.split(events.item, events.starts[1:-1]))
        return np.array([[some[-1] if len(some) else -1.0] for some in np.split(events.item, events.starts[1:-1])])

    with lake.step("train") as step:
        reader = HistoryReader.of(step, Settings())
        assert reader is not None
        told = replace(reader, embed=embed, embedded=2)
        users, days = pa.array([user for user, _ in ASKED]), np.array([day for _, day in ASKED])
        found = told.read(users, days, 1)
        asked_first = sorted(some for some in asked if some)
        asked.clear()
        again = told.read(pa.array(["bob", "ann", "bob"]), np.array(["2024-01-12", "2024-01-19", "2024-01-06"]), 1)
    assert found.vectors is not None
    assert found.vectors[found.row][:, 0].tolist() == [5, 2, 3, 5, 0]  # item_no + 1 of the last; eve has none
    assert asked_first == [[1, 2], [2, 3], [4, 5], [5]]
    assert again.vectors is not None
    assert again.vectors[again.row][:, 0].tolist() == [5, 3, 5]
    assert [some for some in asked if some] == [[2, 3]], "what the last reading had is not embedded again"


def test_date_begins_at_the_midnight_of_the_shop(lake: Lake) -> None:
    write_events(lake, EVENTS)
    settings = Settings.model_validate({"shop": {"timezone": "Asia/Shanghai"}})
    with lake.step("train") as step:
        reader = HistoryReader.of(step, settings)
        assert reader is not None
        found = reader.read(pa.array(["ann"]), np.array(["2024-01-05"]))
    assert found.until[0] == int(datetime(2024, 1, 4, 16).timestamp() - datetime(1970, 1, 1).timestamp())
    assert [found.names[place] for place in found.category] == ["Food", "Home", "Food"]
    assert found.clock.tolist() == [0, 0, 3 * 24]  # a Monday and a Thursday, 0 h
    assert found.events.price.tolist() == [0.0, 1.0, 2.0]  # type: ignore[union-attr]


def test_lake_without_events_has_no_reader(lake: Lake) -> None:
    with lake.step("train") as step:
        assert HistoryReader.of(step, Settings()) is None


# ---- the whole shop ----------------------------------------------------------------------------------------------


@pytest.fixture
def shop(small_shop: Path, tmp_path: Path) -> Iterator[Shop]:
    shutil.copytree(small_shop, tmp_path / "shop")
    with Shop.open(tmp_path / "shop", environ={}) as shop:
        yield shop


def test_cards_have_the_models_that_read_events_where_the_full_zoo_is_asked_for(shop: Shop) -> None:
    def names() -> list[set[str]]:
        return [{score.name for score in card.models} for card in shop.cards() if card.models]

    quick = names()
    shop.train(zoo="full")
    dear = {"seq_cnn", "seq_gru", "seq_transformer", "vector_lightgbm"}
    assert quick and all({"lightgbm", "vector", "vector_features"} <= one and not dear & one for one in quick)
    assert names() == [one | dear for one in quick]


def test_predictions_of_a_model_that_reads_events_are_explained_in_both_languages(shop: Shop) -> None:
    outcome = next(one for one in shop.lake.note("build")["outcomes"] if one["name"] == "churn_30d")
    with shop.lake.step("train") as step:
        data = read_labelled(
            step, "churn_30d", "binary", max_rows=10_000, seed=1, histories=HistoryReader.of(step, shop.settings)
        )
        config = SequenceConfig("binary", encoder="cnn", epochs=2)
        predictor = finish_predictor(
            "churn_30d", "seq_cnn", config, data, method="none", threshold=0.3, folds=2, level=0.9, seed=1
        )
        again = Predictor.from_json(predictor.to_json())
        assert np.array_equal(again.score(data.x), predictor.score(data.x))
        assert again.to_json() == predictor.to_json()
        scorer = LakeScorer(step, shop.settings)
        scorer.add(outcome, predictor, "v1")
        scorer.finish()
        made = shop.lake.engine.sql(step.table("predictions"))
        assert shop.lake.engine.value(f"SELECT count(*) FROM ({made})") > 10
        # whatever moved them most, the events are shown first here
        first = "{'feature': 'recent_events', 'value': 12.0, 'effect': 2.0}"
        step.replace(
            "predictions",
            shop.lake.engine.keep(f"SELECT * REPLACE (list_prepend({first}, reasons[:4]) AS reasons) FROM ({made})"),
        )
        step.note.update(shop.lake.note("train"))
    shop.profiles()
    user = shop.lake.engine.rows(shop.lake.table("predictions").order_by("user_id").limit(1))[0]["user_id"]
    profile = shop.profile(user)
    said: dict[Lang, str] = {
        "en": "What they did lately, event by event: 12 events, raises it",
        "zh": "最近的行为序列：12 个事件，使其升高",
    }
    for lang, sentence in said.items():
        assert sentence in json.dumps(profile.to_dict(), ensure_ascii=False)
        assert sentence in profile_page(profile.to_dict(), lang)
        console = Console(width=140)
        with console.capture() as captured:
            show_profile(profile, console, lang)
        assert sentence in captured.get()


def test_score_card_names_the_events_in_words(lake: Lake) -> None:
    effect = {"feature": RECENT_EVENTS, "effect": 0.5, "share": 1.0, "unit": "log_odds", "direction": 0.0}
    card = ScoreCard(
        "churn", "binary", "trained", True, {"en": "leaves", "zh": "流失"}, {"en": "", "zh": ""}, importance=[effect]
    )
    for lang, label in (("en", "What they did lately, event by event"), ("zh", "最近的行为序列")):
        assert label in str(card_body(card, lang, currency="", meanings={}))  # type: ignore[arg-type]
