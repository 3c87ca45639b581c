"""The exam of the next item by hand, and every next-item model through one list of exams."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from huaxiang.errors import ModelError
from huaxiang.models.behaviour import BehaviourConfig
from huaxiang.models.next_item import board, fusion, ranking
from huaxiang.models.next_item.again import AgainConfig
from huaxiang.models.next_item.als import AlsConfig
from huaxiang.models.next_item.base import NextConfig, NextItem, strongest
from huaxiang.models.next_item.board import Row, choose, enter, fuse
from huaxiang.models.next_item.content import ContentConfig
from huaxiang.models.next_item.ease import EaseConfig
from huaxiang.models.next_item.fusion import cross_ranks, fit_fusion, gains
from huaxiang.models.next_item.neighbours import NeighboursConfig, count_pairs
from huaxiang.models.next_item.popular import PopularConfig
from huaxiang.models.next_item.ranking import best, measure, rank_targets
from huaxiang.models.next_item.sequences import Items, Sequences, from_lists, read_s3rec
from huaxiang.models.next_item.splits import Questions, Split, by_time, leave_one_out
from huaxiang.models.next_item.zoo import load_next, make_next, save_next

SMALL = BehaviourConfig(
    width=16,
    heads=2,
    epochs=25,
    patience=25,
    threads=1,
    batch=256,
    rate=5e-3,
    warmup=20,
    dropout=0.1,
    input_dropout=0.1,
)
ZOO: dict[str, NextConfig] = {
    "popular": PopularConfig(),
    "again": AgainConfig(),
    "popular_7d": PopularConfig(days=7),
    "content": ContentConfig(),
    "neighbours": NeighboursConfig(),
    "ease": EaseConfig(l2=5.0),
    "als": AlsConfig(factors=16),
    "gru": replace(SMALL, encoder="gru", layers=1),
    "cnn": replace(SMALL, encoder="cnn"),
    "transformer": SMALL,
    "hstu": replace(SMALL, encoder="hstu"),
    "direct": replace(SMALL, direct=3),
    "sampled": replace(SMALL, negatives=16),
    "behaviour": replace(SMALL, tags=True, kinds=True, times=True, id_dropout=0.1),
}
PERSONAL = [name for name in ZOO if not name.startswith("popular")]
FINDING = [name for name in PERSONAL if name != "again"]  # those that can list what a customer never had
ITEMS = 40


def make_shop(seed: int = 3) -> tuple[Sequences, Items]:
    """300 customers who mostly go on from item v to v + 1 within rings of ten; items of a ring share a tag."""
    random = np.random.default_rng(seed)
    histories = []
    for _ in range(300):
        item = int(random.integers(ITEMS))
        found = [item]
        for _ in range(int(random.integers(2, 9))):
            ring = item // 10 * 10
            item = ring + (item + 1) % 10 if random.random() < 0.8 else int(random.integers(ITEMS))
            found.append(item)
        histories.append(found)
    every = from_lists(histories)
    ts = np.arange(len(every.item)) * 3600
    tags = csr_matrix((np.ones(ITEMS), (np.arange(ITEMS), np.arange(ITEMS) // 10)), shape=(ITEMS, 4))
    kind = np.arange(len(every.item)) % 3
    return replace(every, ts=ts, kind=kind), Items(tuple(f"i{v}" for v in range(ITEMS)), tags)


EVERY, KNOWN = make_shop()
SPLIT = leave_one_out(EVERY)
_fitted: dict[str, NextItem] = {}


def fitted(name: str) -> NextItem:
    if name not in _fitted:
        _fitted[name] = make_next(ZOO[name]).fit(SPLIT.train, KNOWN, seed=1, watch=SPLIT.valid)
    return _fitted[name]


def test_als_learns_with_the_confidence_it_scores_with() -> None:
    """After many rounds the items' factors solve Hu et al., eq. 5, with c = 1 + alpha·r, for the customers as `score` solves for them; and
    customers are solved for with the same c."""
    every, items = make_shop()
    config = AlsConfig(factors=3, alpha=3.0, decay=0.5, l2=0.1, rounds=300)
    y = make_next(config).fit(every, items, seed=1).state()["factors"].astype(float)
    r = np.zeros((len(every), ITEMS))
    np.add.at(r, (every.user, every.item), 0.5**every.place)
    c, p = 1 + 3.0 * r, (r > 0).astype(float)
    x = np.array([np.linalg.solve(y.T @ (y * c[u][:, None]) + 0.1 * np.eye(3), y.T @ (c[u] * p[u])) for u in range(len(every))])  # fmt: skip
    again = np.array([np.linalg.solve(x.T @ (x * c[:, v][:, None]) + 0.1 * np.eye(3), x.T @ (c[:, v] * p[:, v])) for v in range(ITEMS)])  # fmt: skip
    np.testing.assert_allclose(again, y, atol=0.02 * np.abs(y).max())


# ---- sequences and splits ---------------------------------------------------------------------------------------


def test_als_counts_an_item_taken_twice_once_and_surer() -> None:
    """Hu et al., eq. 4, with C of the item the sum of both."""
    every, items = make_shop()
    config = AlsConfig(factors=4, alpha=3.0, decay=0.5, l2=0.1)
    model = make_next(config).fit(every, items, seed=1)
    y = model.state()["factors"].astype(float)
    sure = np.zeros(ITEMS)
    sure[[7, 2]] = 3.0 * np.array([1 + 0.25, 0.5])
    taken = (sure > 0).astype(float)
    user = np.linalg.solve(y.T @ (y * (1 + sure)[:, None]) + 0.1 * np.eye(4), y.T @ ((1 + sure) * taken))
    np.testing.assert_allclose(model.score(from_lists([[7, 2, 7]]))[0], y @ user, rtol=1e-4, atol=1e-5)


def test_s3rec_file_is_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 10 20 10\n2 30\n\n7 20 40\n")
    every, items = read_s3rec(tmp_path / "a.txt")
    assert items.ids == ("10", "20", "30", "40")
    assert every.starts.tolist() == [0, 3, 4, 6] and every.item.tolist() == [0, 1, 0, 2, 1, 3]


def test_s3rec_attributes_become_tags_and_unknown_items_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 10 20\n")
    (tmp_path / "a.json").write_text('{"10": [5, 7], "20": [7], "99": [1]}')
    _, items = read_s3rec(tmp_path / "a.txt", tmp_path / "a.json")
    assert items.tags is not None and items.tags.toarray().tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(("text", "why"), [("1 2 x\n", "line 1"), ("", "no sequence")])
def test_file_that_is_no_sequences_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ModelError, match=why):
        read_s3rec(tmp_path / "a.txt")


def test_leave_one_out_asks_the_last_two_and_learns_from_the_rest() -> None:
    split = leave_one_out(from_lists([[1, 2, 3, 4], [5, 6], [7, 8, 9]]))
    assert split.train.item.tolist() == [1, 2, 5, 6, 7]  # two events ask nothing
    assert split.valid.target.tolist() == [3, 8] and split.valid.history.item.tolist() == [1, 2, 7]
    assert split.test.target.tolist() == [4, 9] and split.test.history.item.tolist() == [1, 2, 3, 7, 8]
    assert split.test.user.tolist() == [0, 2]


def test_split_by_time_learns_nothing_from_after() -> None:
    every = replace(from_lists([[1, 2, 3], [4, 5], [6, 7], [8]]), ts=np.array([0, 10, 20, 5, 12, 15, 25, 30]))
    split = by_time(every, valid_from=10, test_from=20)
    assert split.train.item.tolist() == [1, 4]
    assert split.valid.target.tolist() == [2, 5] and split.valid.user.tolist() == [0, 1]
    assert split.test.target.tolist() == [3, 7] and split.test.history.item.tolist() == [1, 2, 6]


def test_no_question_is_an_error() -> None:
    with pytest.raises(ModelError, match="leave-one-out"):
        leave_one_out(from_lists([[1, 2], [3]]))


# ---- ranks ------------------------------------------------------------------------------------------------------


def ask(history: list[list[int]], target: list[int]) -> Questions:
    return Questions(from_lists(history), np.array(target), np.arange(len(target)))


def test_ties_count_against_the_model() -> None:
    ranks = rank_targets(lambda h: np.zeros((len(h), 5)), ask([[0], [1]], [2, 3]), 5)
    assert ranks.rank.tolist() == [4, 4]  # of five items one is masked
    assert ranks.unmasked.tolist() == [5, 5]


def test_history_is_masked_and_the_unmasked_rank_stands_beside_it() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.1]])
    ranks = rank_targets(lambda h: scores, ask([[0, 1]], [2]), 4)
    assert ranks.rank.tolist() == [1] and ranks.unmasked.tolist() == [3]
    assert ranks.top[0, 0] == 2


def test_a_repeat_cannot_be_hit_where_what_was_had_is_masked() -> None:
    ranks = rank_targets(lambda h: np.array([[0.9, 0.1, 0.0]]), ask([[0]], [0]), 3)
    assert ranks.rank.tolist() == [3] and ranks.unmasked.tolist() == [1]


def test_measures_by_hand() -> None:
    ranks = rank_targets(lambda h: np.tile(np.arange(30.0), (len(h), 1)), ask([[29], [29], [29]], [28, 25, 3]), 30)
    assert ranks.rank.tolist() == [1, 4, 26]
    found = measure(ranks, np.arange(30.0))
    assert found["recall@5"] == pytest.approx(2 / 3) and found["recall@20"] == pytest.approx(2 / 3)
    assert found["ndcg@10"] == pytest.approx((1 + 1 / np.log2(5)) / 3)
    assert found["mrr@10"] == pytest.approx((1 + 1 / 4) / 3)
    assert found["coverage@10"] == pytest.approx(10 / 30)
    assert found["popular_share@10"] == 0.0  # the most popular item is the one all had
    assert found["unmasked_popular_share@10"] == pytest.approx(1 / 10) and found["unmasked_ndcg@10"] < found["ndcg@10"]


def test_scores_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(ModelError, match="no number"):
        rank_targets(lambda h: np.full((len(h), 3), np.nan), ask([[0]], [1]), 3)


def test_best_breaks_ties_by_code() -> None:
    assert best(np.array([[1.0, 3.0, 3.0, 2.0]]), 3).tolist() == [[1, 2, 3]]


# ---- parts of the models -----------------------------------------------------------------------------------------


def test_pairs_by_hand() -> None:
    found = count_pairs(from_lists([[0, 1, 2], [1, 2]]), 3, window=2, fade=0.5)
    assert found.toarray().tolist() == [[0, 1, 0.5], [0, 0, 2], [0, 0, 0]]


@pytest.mark.parametrize("torch_is_here", [True, False])
def test_best_is_the_order_of_all_whatever_is_equal(torch_is_here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch_is_here:
        monkeypatch.setattr(ranking, "find_spec", lambda name: None)
    random = np.random.default_rng(5)
    scores = random.random((40, 300)).astype(np.float32)
    scores[:10] = np.round(scores[:10], 1)
    scores[10:20, 4:] = -np.inf
    scores[20:30] = 0
    for count in (1, 7, 300):
        every = np.argsort(-scores, axis=1, kind="stable")
        assert np.array_equal(best(scores, count), every[:, :count])


def test_strongest_of_equal_values_are_those_further_left() -> None:
    random = np.random.default_rng(6)
    values = np.where(random.random((50, 200)) < 0.4, np.round(random.random((50, 200)), 1), 0.0)
    found = strongest(csr_matrix(values), 12).toarray()
    for row, kept in zip(values, found, strict=True):
        wanted = np.zeros(200)
        first = np.argsort(-row, kind="stable")[:12]
        wanted[first] = row[first]
        assert np.array_equal(kept, wanted)


def test_strongest_keeps_the_greatest_of_each_row() -> None:
    found = strongest(csr_matrix(np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 4.0]])), 2)
    assert found.toarray().tolist() == [[0, 3, 2], [0, 0, 4]]


# ---- one list of exams for every model ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", FINDING)
def test_model_learns_what_comes_next(name: str) -> None:
    ranks = rank_targets(fitted(name).score, SPLIT.test, ITEMS)
    same = rank_targets(fitted("popular").score, SPLIT.test, ITEMS)
    assert (ranks.rank <= 10).mean() > 1.5 * (same.rank <= 10).mean()


@pytest.mark.parametrize("name", ZOO)
def test_reloaded_model_scores_bit_identically(name: str, tmp_path: Path) -> None:
    model = fitted(name)
    size = save_next(model, tmp_path)
    back = load_next(tmp_path)
    assert size > 0 and np.array_equal(model.score(SPLIT.test.history), back.score(SPLIT.test.history))
    assert not list(tmp_path.glob("*.pkl"))


@pytest.mark.parametrize("name", ZOO)
def test_refit_with_the_same_seed_is_the_same_model(name: str) -> None:
    def again(seed: int) -> Any:
        config: Any = ZOO[name]
        config = replace(config, epochs=2) if isinstance(config, BehaviourConfig) else config
        return make_next(config).fit(SPLIT.train, KNOWN, seed=seed).score(SPLIT.test.history.take(np.arange(20)))

    assert np.array_equal(again(7), again(7))


@pytest.mark.parametrize("name", ZOO)
def test_empty_history_and_long_history_get_finite_scores(name: str) -> None:
    long = [v % ITEMS for v in range(5000)]
    scores = fitted(name).score(from_lists([[], long, [1]]))
    assert scores.shape == (3, ITEMS) and np.isfinite(scores).all()


@pytest.mark.parametrize("name", ZOO)
def test_a_customer_is_scored_the_same_alone_and_among_others(name: str) -> None:
    together = fitted(name).score(SPLIT.test.history)
    alone = np.concatenate([fitted(name).score(SPLIT.test.history.take(np.array([user]))) for user in range(5)])
    assert np.allclose(together[:5], alone, atol=1e-4)


@pytest.mark.parametrize("name", PERSONAL)
def test_what_another_customer_did_changes_no_score(name: str) -> None:
    history = from_lists([[1, 2, 3], [4, 5]])
    more = from_lists([[1, 2, 3], [4, 5, 6, 7]])
    assert np.allclose(fitted(name).score(history)[0], fitted(name).score(more)[0], atol=1e-5)


@pytest.mark.parametrize("name", ["by time", "leave-one-out"])
def test_what_came_after_a_question_changes_nothing_before(name: str) -> None:
    """Other items after the cut: what is learned from, and the histories of the questions, stay as they were; the answers do not."""
    every = replace(EVERY, ts=(np.arange(len(EVERY.item)) - EVERY.starts[EVERY.user]) * 3600)
    first, second = 3 * 3600, 5 * 3600

    def split(some: Sequences) -> Split:
        return leave_one_out(some) if name == "leave-one-out" else by_time(some, first, second)

    plain = split(every)
    for cut, learned in (("valid", True), ("test", False)):
        if name == "by time":
            after = np.asarray(every.ts) >= (first if learned else second)
        else:
            after = every.place < (2 if learned else 1)
        changed = split(replace(every, item=np.where(after, (every.item + 7) % ITEMS, every.item)))
        np.testing.assert_array_equal(changed.train.item, plain.train.item)
        before, now = getattr(plain, cut), getattr(changed, cut)
        np.testing.assert_array_equal(now.history.item, before.history.item)
        assert (now.target != before.target).all()
        if not learned:
            np.testing.assert_array_equal(changed.valid.target, plain.valid.target)


def test_new_item_is_foreseen_from_its_tags_alone() -> None:
    """An item nobody took yet, of the ring that a customer is in, comes before new items of other rings."""
    held = SPLIT.train.item
    kept = np.isin(held, np.arange(ITEMS - 1, -1, -10))  # the last item of each ring is taken out of training
    lists = [
        [int(v) for v in held[SPLIT.train.starts[u] : SPLIT.train.starts[u + 1]] if not np.isin(v, held[kept])]
        for u in range(len(SPLIT.train))
    ]
    config = replace(SMALL, tags=True, id_dropout=0.5, epochs=30)
    model = make_next(config).fit(from_lists(lists), KNOWN, seed=1)
    scores = model.score(from_lists([[ring * 10 + 2, ring * 10 + 3] for ring in range(4)]))[:, [9, 19, 29, 39]]
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_fusion_is_no_worse_on_validation_than_each_part() -> None:
    parts = [fitted("neighbours"), fitted("transformer")]
    fused, reached = fit_fusion(parts, SPLIT.valid, ITEMS)
    alone = [fit_fusion([part], SPLIT.valid, ITEMS)[1] for part in parts]
    assert reached >= max(alone) - 1e-9
    assert np.isfinite(fused.score(SPLIT.test.history)).all()


def test_many_parts_and_questions_hold_fewer_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [fitted(name) for name in ("neighbours", "popular", "again")]
    every = fusion.candidates(parts, SPLIT.valid, ITEMS)
    assert every.shares.shape == (3, len(SPLIT.valid), 1 + 3 * ITEMS)
    monkeypatch.setattr(fusion, "HELD", 15 * 9 * len(SPLIT.valid))
    few = fusion.candidates(parts, SPLIT.valid, ITEMS)
    assert few.shares.shape == (3, len(SPLIT.valid), 1 + 3 * 15)
    np.testing.assert_array_equal(few.shares[:, :, 0], every.shares[:, :, 0])


def test_the_same_again_by_hand() -> None:
    every, items = make_shop()
    model = make_next(AgainConfig(decay=0.5)).fit(every, items, seed=1)
    found = model.score(from_lists([[3, 5, 3], []]))
    wanted = np.zeros((2, ITEMS))
    wanted[0, [3, 5]] = [1 + 0.25, 0.5]
    np.testing.assert_allclose(found, wanted)


def test_settings_are_chosen_by_the_figure_that_is_asked_for() -> None:
    """Staples s and t are taken twice, x, y and z once: z, t, s where only the last counts, t, s, z where all do; s was had, so masked
    neither finds it, and the first of the grid stands."""
    every = from_lists([[1 + user % 3, 10, 11, 4, 10, 11, 5, 10, 11] for user in range(12)])
    items = Items(tuple(f"i{v}" for v in range(ITEMS)))
    split = leave_one_out(every)
    grid = (AgainConfig(decay=0.1), AgainConfig(decay=0.98))
    chosen = {masked: enter("again", grid, split, items, seeds=[1], masked=masked).config for masked in (True, False)}
    assert chosen == {True: grid[0], False: grid[1]}


def test_once_the_time_is_up_no_further_setting_is_tried() -> None:
    tried: list[Any] = []

    def fit(config: Any, seed: int) -> tuple[NextItem, float]:
        tried.append(config)
        return make_next(config).fit(SPLIT.train, KNOWN, seed=seed), 0.0

    grid = [AgainConfig(decay=decay) for decay in (0.5, 0.6, 0.7)]
    said: list[str] = []
    row = enter("again", grid, SPLIT, KNOWN, seeds=[1], fit=fit, more=lambda: len(tried) < 2, done=said.append)
    assert tried == grid[:2] and row.config in tried and "again: no time for 1 of 3 settings" in said
    row = enter("again", grid, SPLIT, KNOWN, seeds=[1], fit=fit, more=lambda: False)
    assert row.config == grid[0]


class Told:
    """Scores that are laid down: (Q, V), found by the first item of the history, which numbers the question."""

    needs: tuple[str, ...] = ()

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores

    def score(self, history: Sequences) -> np.ndarray:
        return self.scores[history.item[history.starts[:-1]]]


def questions(count: int, items: int, seed: int) -> Questions:
    target = np.random.default_rng(seed).integers(count, count + items, count)
    return Questions(from_lists([[place] for place in range(count)]), target, np.arange(count))


def test_a_fusion_of_noise_is_not_worth_it_and_one_of_two_that_know_is() -> None:
    """What weights found on the questions themselves would promise of noise, halves do not."""
    count, items = 200, 50
    asked, random = questions(count, items, 1), np.random.default_rng(2)
    worth = 0
    for _ in range(10):
        noise = [Told(random.random((count, count + items)) ** 4) for _ in range(3)]
        crossed = cross_ranks(noise, asked, count + items)
        assert crossed is not None
        singles = [rank_targets(one.score, asked, count + items).rank for one in noise]
        worth += gains(crossed.rank, min(singles, key=lambda rank: rank.mean()))
    assert worth <= 4
    knowing = []
    for part in range(2):  # each knows half of the targets
        scores = random.random((count, count + items)) * 0.5
        half = np.flatnonzero(np.arange(count) % 4 // 2 == part)
        scores[half, asked.target[half]] = 5.0
        knowing.append(Told(scores))
    crossed = cross_ranks(knowing, asked, count + items)
    assert crossed is not None
    assert gains(crossed.rank, rank_targets(knowing[0].score, asked, count + items).rank)
    assert cross_ranks(knowing, asked.take(np.arange(10)), count + items) is None


def test_a_fusion_is_worth_it_only_where_it_beats_the_best_single_model_fused_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two that know half of the answers each make a fusion that beats both, and not a third that knows all and is no part of it."""
    count, items = 200, 50
    asked, random = questions(count, items, 1), np.random.default_rng(2)
    known = Items(tuple(f"i{v}" for v in range(count + items)))
    split = Split("laid down", from_lists([[place] for place in range(count + items)]), asked, asked)
    monkeypatch.setattr(board, "save_next", lambda model, folder: 0)

    def entered(name: str, knows: np.ndarray) -> Row:
        scores = random.random((count, count + items)) * 0.5
        scores[knows, asked.target[knows]] = 5.0
        return enter(name, [NextConfig()], split, known, seeds=[1], fit=lambda config, seed: (Told(scores), 0.0))  # type: ignore[arg-type,return-value]

    half = np.arange(count) % 4 // 2 == 0
    parts = {"one": entered("one", half), "other": entered("other", ~half)}
    alone = list(parts.values())
    assert fuse(parts, split, known, rivals=alone).worth
    best_of_all = entered("all", np.ones(count, bool))
    made = fuse(parts, split, known, rivals=[*alone, best_of_all])
    assert not made.worth and choose([*alone, best_of_all, made]) is best_of_all
