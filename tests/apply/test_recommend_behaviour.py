"""The behaviour model as a source of candidates: a small one really trained, asked as of a day, kept with the lists."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from huaxiang.apply.recommend.again import Timing
from huaxiang.apply.recommend.behaviour import NAME, Foreseer, find_foreseer, foreseer_of
from huaxiang.apply.recommend.desk import Desk
from huaxiang.apply.recommend.past import PURCHASE, Past, Shelf
from huaxiang.apply.recommend.sources import candidates, learn_sources
from huaxiang.apply.recommend.store import load_desk, save_desk
from huaxiang.engine import Engine, Lake
from huaxiang.errors import ModelError
from huaxiang.models.behaviour import Behaviour, BehaviourConfig
from huaxiang.models.behaviour_table import TABLE
from huaxiang.models.foresight import Foresight, save_foresight
from huaxiang.models.next_item.sequences import Items, from_lists

ITEMS = 12
IDS = tuple(f"i{place}" for place in range(1, ITEMS))  # item 0 of the shelf is newer than the model
DAY = 20_000


@pytest.fixture(scope="module")
def model() -> Behaviour:
    """After item n comes item n + 1 of the shelf's 1 to 11, and after the last the first."""
    walks = [[(start + step) % (ITEMS - 1) for step in range(8)] for start in range(ITEMS - 1)] * 6
    config = BehaviourConfig(
        width=16,
        layers=1,
        length=8,
        threads=1,
        dropout=0.0,
        input_dropout=0.0,
        epochs=15,
        batch=128,
        warmup=5,
        rate=2e-2,
    )
    return Behaviour(config).fit(from_lists(walks), Items(IDS), seed=1)


def make_shelf() -> Shelf:
    ids, none = ("i0", *IDS), np.full(ITEMS, -1, np.int64)
    return Shelf(ids, ids, none, none, none, np.full(ITEMS, 5.0), np.ones(ITEMS, bool), np.arange(ITEMS))


def make_past(walks: list[list[int]], days_ago: int = 5) -> Past:
    item = np.array([item for walk in walks for item in walk], dtype=np.int64)
    user = np.repeat(np.arange(len(walks)), [len(walk) for walk in walks])
    day = np.full(len(item), DAY - days_ago)
    kind = np.full(len(item), PURCHASE)
    return Past(tuple(f"u{n}" for n in range(len(walks))), user, item, kind, day, day, np.full(len(item), -1), day * 86_400 + np.arange(len(item)))  # fmt: skip


def test_it_names_what_comes_next_by_the_shelf_s_own_places(model: Behaviour) -> None:
    shelf, past = make_shelf(), make_past([[3, 4, 4, 5], [0, 0], [8, 9, 10]])
    found = foreseer_of(model, IDS, shelf)
    assert found is not None
    scores = found(past, shelf, 3)
    assert scores.shape == (3, ITEMS) and np.diff(scores.indptr).tolist() == [3, 0, 3]  # of item 0 it knows nothing
    assert (int(scores[0].toarray().argmax()), int(scores[2].toarray().argmax())) == (6, 11)
    assert scores.max() == pytest.approx(1) and scores.data.min() > 0
    assert foreseer_of(model, ("gone", *IDS[1:]), shelf) is None


def test_among_the_sources_it_sees_nothing_of_the_day_and_later(model: Behaviour) -> None:
    shelf, past = make_shelf(), make_past([[3, 4, 5], [8, 9]])
    learned = learn_sources(past, shelf, DAY, {NAME: foreseer_of(model, IDS, shelf)})  # type: ignore[dict-item]
    before = candidates(learned, past, shelf)[NAME]
    later = make_past([[7], []], days_ago=-1)
    both = {name: np.concatenate([getattr(past, name), getattr(later, name)]) for name in ("user", "item", "kind", "day", "known", "order", "second")}  # fmt: skip
    order = np.argsort(both["user"], kind="stable")
    after = candidates(learned, replace(past, **{name: column[order] for name, column in both.items()}), shelf)[NAME]
    assert (before != after).nnz == 0 and before.nnz > 0


def test_it_is_kept_with_the_lists_and_read_back(model: Behaviour, tmp_path: Path) -> None:
    shelf, past = make_shelf(), make_past([[3, 4, 5], [8, 9]])
    learned = learn_sources(past, shelf, DAY, {NAME: foreseer_of(model, IDS, shelf)})  # type: ignore[dict-item]
    assert isinstance(learned.timing, Timing)
    kept = save_desk(Desk(shelf, learned, {}, False, "", "2024-10-04"), tmp_path)
    again = load_desk(tmp_path / kept.version, shelf).learned
    one, other = (candidates(some, past, shelf)[NAME].toarray() for some in (learned, again))
    assert one == pytest.approx(other, abs=1e-6)
    other_shelf = replace(shelf, ids=("i0", "new", *IDS[1:]))
    with pytest.raises(ModelError, match="items changed"):
        load_desk(tmp_path / kept.version, other_shelf)


def test_only_a_model_that_knows_nothing_of_the_windows_takes_part(model: Behaviour, tmp_path: Path) -> None:
    shelf = make_shelf()
    version = save_foresight(Foresight({"behaviour": model}, (1.0,), (1e-4,), "behaviour", IDS, {}, (), {}), tmp_path)
    with Engine(memory_gb=0.3, threads=1) as engine:
        lake = Lake(tmp_path / "lake", engine)
        assert find_foreseer(lake, tmp_path, shelf, before=DAY, users=9) is None  # nothing trained
        with lake.step("train") as step:
            step.note[TABLE] = {"past": {"version": version, "before": str(date(1970, 1, 1) + timedelta(days=DAY))}}
        assert isinstance(find_foreseer(lake, tmp_path, shelf, before=DAY, users=9), Foreseer)
        assert find_foreseer(lake, tmp_path, shelf, before=DAY - 1, users=9) is None
        assert find_foreseer(lake, tmp_path, shelf, before=DAY, users=10**9) is None  # too much to score
