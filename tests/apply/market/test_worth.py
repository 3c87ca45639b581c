"""What a plan is told to earn: borne out by customers no learner had seen, and so near the truth where the ranking is luck, too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huaxiang.apply.market.campaign_target import Spend
from huaxiang.apply.market.uplift_learners import LearnerConfig
from huaxiang.apply.market.uplift_shop import find_uplift
from huaxiang.apply.market.worth import Trial, learn_worth
from huaxiang.engine import Engine, Lake
from huaxiang.models.zoo.boosting import BoostingConfig

from .test_campaigns import START, campaigns, event, names, send, write

EAGER = LearnerConfig(
    "eager", "t", BoostingConfig("binary", leaves=15, trees=60, leaf_rows=10, threads=1)
)  # ranks by luck
COUNT = 1200
MARGIN, COST = 40.0, 1.0


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=1, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "lake", engine)


def learn(lake: Lake, effects: np.ndarray, seed: int) -> dict:
    """A test of COUNT customers who carry eight columns of noise, and buy with .2, treated `effects` oftener."""
    noise = {f"noise{n}": np.random.default_rng([seed, n]).normal(size=COUNT) for n in range(8)}
    write(lake, names(COUNT), [], more=noise)
    campaigns(lake).plan("try", channel="email", at=START, holdout=0.5)
    send(lake, "try", START)
    rows = lake.engine.rows(f"SELECT user_id, arm FROM ({lake.engine.sql(lake.table('market.assigned'))}) ORDER BY 1")
    chance, events = np.random.default_rng(seed), []
    for row in rows:
        extra = effects[int(row["user_id"][4:])] * (row["arm"] == "treated")
        if chance.random() < 0.2 + extra:
            events.append(event(row["user_id"], "purchase", START + timedelta(days=2), amount=9.0))
    events.append(event(names(1)[0], "view", START + timedelta(days=90)))
    write(lake, names(COUNT), events, more=noise)
    return find_uplift(lake, seed=seed, repeats=1, grid=(EAGER,))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_ranking_by_luck_is_not_sold_as_profit(lake: Lake, seed: int) -> None:
    """All are moved alike, by .03: whoever is chosen, 300 messages earn 300 · (.03 · 40 − 1) = 60."""
    found = learn(lake, np.full(COUNT, 0.03), seed)
    assert found["uplift"]["is_null"]
    later = START + timedelta(days=60)
    level = found["uplift"]["ranking"]["effect"]
    if level * MARGIN <= COST:
        pytest.skip("this draw shows no average effect that pays")
    plan = campaigns(lake).plan("paid", channel="email", at=later, spend=Spend(300.0, COST, MARGIN))
    told = {one["name"]: one for one in plan.policies}
    assert plan.null_rankings == ("",)
    brings = {name: one["profit"] + one["cost"] for name, one in told.items()}
    assert brings["optimal"] == pytest.approx(
        brings["random"], rel=0.05
    )  # chances to respond differ by luck, too, and hardly
    low, high = told["optimal"]["interval"]
    assert low < 60 < high


def test_a_ranking_that_holds_is_told_near_what_it_earns(lake: Lake) -> None:
    """The odd half is moved by .4, the rest not at all: 300 messages to them earn 300 · (.4 · 40 − 1) = 4,500."""
    effects = 0.4 * (np.arange(COUNT) % 2)
    found = learn(lake, effects, 3)
    assert not found["uplift"]["is_null"]
    plan = campaigns(lake).plan(
        "paid", channel="email", at=START + timedelta(days=60), holdout=0.0, spend=Spend(300.0, COST, MARGIN)
    )
    chosen = [
        int(row["user_id"][4:])
        for row in lake.engine.rows(
            f"SELECT user_id FROM ({lake.engine.sql(lake.table('market.assigned'))}) WHERE campaign = 'paid'"
        )
    ]
    earns = float((effects[chosen] * MARGIN - COST).sum())
    told = {one["name"]: one for one in plan.policies}
    low, high = told["optimal"]["interval"]
    assert low < earns < high
    assert told["optimal"]["profit"] == pytest.approx(earns, rel=0.2)
    assert told["optimal"]["profit"] > 1.3 * told["random"]["profit"]


def certain(count: int) -> np.ndarray:
    """The chances of customers who all respond: they set no bound, and tell nobody apart."""
    return np.ones(count)


def test_line_by_hand() -> None:
    """effect 0, 0, 1, 1 at score 0, 0, 2, 2: .5 at the mean score 1, slope .5; without noise the interval is a point."""
    score, effect = np.array([0.0, 0.0, 2.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0])
    test = Trial(np.arange(4.0), score, certain(4), effect, 1.0)
    worth = learn_worth([test])
    assert (worth.below[0], worth.slope[0], worth.centre[0]) == pytest.approx((0.5, 0.5, 1.0))
    asked, sure = np.array([[1.5], [0.0]]), np.ones((2, 1))
    assert worth.effects(asked, sure)[0, 0] == pytest.approx(0.75)
    given = np.array([[True], [False]])
    assert worth.interval(given, asked, sure, np.full((2, 1), 3.0), 10.0) == pytest.approx((4.5, 4.5))
    flat = learn_worth([test], null=[0])
    assert flat.effects(asked, sure)[:, 0] == pytest.approx([0.5, 0.5])


def test_who_never_responds_is_not_expected_to_be_moved() -> None:
    """Half have left (chance 0, effect 0), half respond with .4 and are moved by .2; the ranking is flat. The average effect is .1, which
    nobody has: effects are half the chance. A price of 1 and margin of 10 make who left cheap:
    ten of them are expected to earn 0, ten others 10 · (2 − 1)."""
    chance = np.array([0.0, 0.4] * 50)
    test = Trial(np.arange(100.0), np.zeros(100), chance, chance / 2, 1.0)
    worth = learn_worth([test], null=[0])
    assert worth.effects(np.zeros((1, 1)), np.array([[0.4]]))[0, 0] == pytest.approx(0.2)
    asked, score, left = np.repeat([0.0, 0.4], 10)[:, None], np.zeros((20, 1)), np.arange(20)[:, None] < 10
    assert worth.effects(score, asked)[left].sum() == 0
    assert worth.interval(left, score, asked, np.zeros((20, 1)), 10.0) == (0.0, 0.0)
    assert worth.interval(~left, score, asked, np.ones((20, 1)), 10.0) == pytest.approx((10.0, 10.0))


def test_who_surely_responds_may_be_moved_no_more_than_others() -> None:
    """Chance .2 and .6, both moved by .2: proportional up to .4, so that .5 · .4 would be .2, is not forced; above the slope is 0. By weights of
    1/.2 and 1/.4: below minimises 5 (.2b − .2)² + 2.5 (.4b − .2)²; 5·.2·.2(b − 1) + 2.5·.4·.4(b − .5) = 0 → .2(b − 1) + .4(b − .5) = 0 → b = 2/3,
    and both together are expected .2·2/3 + .4·2/3 = .4, as the test says."""
    chance = np.array([0.2, 0.6] * 20)
    worth = learn_worth([Trial(np.arange(40.0), np.zeros(40), chance, np.full(40, 0.2), 1.0)], null=[0])
    assert (worth.below[0], worth.above[0]) == pytest.approx((2 / 3, 0.0))
    assert worth.effects(np.zeros((2, 1)), np.array([[0.2], [0.6]])).sum() == pytest.approx(0.4)


def test_lines_add_up_to_what_the_test_says() -> None:
    """Where no bound is met and everyone counts (a chance of .1 at least), expected and doubly robust effects have one mean."""
    draw = np.random.default_rng(3)
    chance, score = draw.uniform(0.1, 0.9, 4000), draw.normal(size=4000)
    effect = 0.4 * chance**2 + 0.02 * score + draw.normal(0, np.sqrt(chance))
    worth = learn_worth([Trial(np.arange(4000.0), score, chance, effect, 1.0)])
    line = worth.below * np.minimum(chance, worth.knot) + worth.above * np.maximum(chance - worth.knot, 0)
    assert (line + worth.slope * (score - worth.centre)).mean() == pytest.approx(effect.mean())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([1.0, 40.0]), st.floats(-2, 5))
def test_nobody_is_promised_more_than_all_that_they_do(seed: int, null: bool, response: float, lift: float) -> None:
    """Whatever the tests say: profit with cost ≤ chance · response · margin, of every customer."""
    draw = np.random.default_rng(seed)
    chance = draw.beta(0.3, 2, 60)
    effect = lift * response * chance + draw.normal(0, response, 60)
    worth = learn_worth([Trial(np.arange(60.0), draw.normal(size=60), chance, effect, response)], [0] if null else [])
    asked, score = draw.random((50, 1)), draw.normal(0, 5, (50, 1))
    assert (worth.effects(score, asked) <= response * asked + 1e-12).all()
    low, high = worth.interval(asked > 0.5, score, asked, np.zeros((50, 1)), 3.0)
    assert low <= 3.0 * response * asked[asked > 0.5].sum() + 1e-9 and low <= high


def test_interval_holds_the_truth_about_nineteen_times_in_twenty() -> None:
    """Moved by .3 of their chance, and by their score; who is asked is chosen by cost, which goes by the chance."""
    held = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        score, chance = draw.normal(0, 0.02, 800), draw.beta(0.8, 2, 800)
        effect = 0.3 * chance + score + draw.normal(0, 2 * np.sqrt(chance))
        worth = learn_worth([Trial(np.arange(800.0), score, chance, effect, 1.0)])
        asked, likely = draw.normal(0, 0.02, (500, 1)), draw.beta(0.8, 2, (500, 1))
        given = likely < 0.3
        true = float((10 * (0.3 * likely + asked) - likely)[given].sum())
        low, high = worth.interval(given, asked, likely, likely, 10.0)
        held += low < true < high
    assert 180 <= held <= 199
