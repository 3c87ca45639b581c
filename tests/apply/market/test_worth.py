"""What a plan is told to earn: borne out by customers no learner had seen, and so near the truth where the ranking is luck, too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from huaxiang.apply.market.campaign_target import Spend
from huaxiang.apply.market.uplift_learners import LearnerConfig
from huaxiang.apply.market.uplift_shop import find_uplift
from huaxiang.apply.market.worth import learn_worth
from huaxiang.engine import Engine, Lake
from huaxiang.models.zoo.boosting import BoostingConfig

from .test_campaigns import START, campaigns, event, names, write

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
    assert told["optimal"]["profit"] == pytest.approx(told["random"]["profit"], rel=0.01)
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


def test_line_by_hand() -> None:
    """effect 0, 0, 1, 1 at score 0, 0, 2, 2: level .5 at the mean score 1, slope .5; without noise the interval is a point."""
    score, effect = np.array([0.0, 0.0, 2.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0])
    worth = learn_worth([(np.arange(4.0), score, effect)])
    assert (worth.level[0], worth.slope[0], worth.centre[0]) == (0.5, 0.5, 1.0)
    assert worth.effects(np.array([[4.0]]))[0, 0] == 2.0
    given = np.array([[True], [False]])
    assert worth.interval(given, np.array([[2.0], [0.0]]), np.full((2, 1), 3.0), 10.0) == pytest.approx((7.0, 7.0))
    flat = learn_worth([(np.arange(4.0), score, effect)], null=[0])
    assert flat.effects(np.array([[4.0]]))[0, 0] == 0.5


def test_interval_holds_the_truth_about_nineteen_times_in_twenty() -> None:
    held = 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        score = chance.normal(size=800)
        effect = 0.1 + 0.2 * score + chance.normal(0, 2, 800)
        worth = learn_worth([(np.arange(800.0), score, effect)])
        asked = chance.normal(size=(500, 1))
        given = asked > 0.5
        true = float((10 * (0.1 + 0.2 * asked) - 1)[given].sum())
        low, high = worth.interval(given, asked, np.ones((500, 1)), 10.0)
        held += low < true < high
    assert 180 <= held <= 198
