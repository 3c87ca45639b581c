"""What uplift learned is kept as JSON, reused while its data and settings are the same, and asked about customers who came later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from huaxiang.apply.market import uplift_shop
from huaxiang.apply.market.campaign_show import uplift_of
from huaxiang.apply.market.experiment import Coding
from huaxiang.apply.market.uplift_kept import load_kept
from huaxiang.apply.market.uplift_learners import learner_grid
from huaxiang.apply.market.uplift_shop import find_uplift, score_customers
from huaxiang.engine import Engine, Lake
from huaxiang.errors import ModelError, ShopError
from huaxiang.words import Words

from .test_campaigns import START, event, names, run_campaign, write

GRID = learner_grid(binary=True)[:1]
COUNT = 600


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=1, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "lake", engine)


def learn(lake: Lake, seed: int = 1) -> dict:
    return find_uplift(lake, seed=seed, repeats=1, grid=GRID, home=lake.folder.parent / "uplift")


def scores(lake: Lake) -> dict[str, float]:
    rows = lake.engine.rows(f"SELECT user_id, score FROM ({lake.engine.sql(lake.table('market.uplift'))}) ORDER BY 1")
    return {row["user_id"]: row["score"] for row in rows}


def bring(lake: Lake, count: int) -> None:
    """The same events, and more customers: `write` keeps the campaign."""
    events = lake.engine.rows(f"SELECT * FROM ({lake.engine.sql(lake.table('clean.events'))})")
    kept = lake.engine.arrow(f"SELECT * FROM ({lake.engine.sql(lake.table('training'))})")
    write(lake, names(count), events)
    with lake.step("build") as step:  # later customers were not there when the campaign began
        step.replace("training", kept)
        step.note["as_of"] = START.date().isoformat()


def test_same_tests_and_settings_are_not_learned_again(lake: Lake, monkeypatch) -> None:
    run_campaign(lake, COUNT, lift=0.5)
    first = learn(lake)
    before = scores(lake)
    assert first["reused"] == []

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("learned again")

    with monkeypatch.context() as patched:
        patched.setattr(uplift_shop, "measure_uplift", fail)
        again = learn(lake)
        assert again["reused"] == [""]
        assert {**again, "reused": []} == first
        assert scores(lake) == before
        with pytest.raises(AssertionError, match="learned again"):
            learn(lake, seed=2)  # another setting
    bought = [
        row
        for row in lake.engine.rows(f"SELECT * FROM ({lake.engine.sql(lake.table('clean.events'))})")
        if row["event"] == "purchase"
    ]
    others = [event("user0000", "view", START + timedelta(days=90)), *bought[5:]]
    write(lake, names(COUNT), others)  # five fewer bought
    assert learn(lake)["reused"] == []


def test_customer_who_came_later_is_scored_by_what_is_kept(lake: Lake) -> None:
    """The odd are moved, the even not: user0601 is active, user0600 is not."""
    run_campaign(lake, COUNT, lift=0.5)
    learn(lake)
    before = scores(lake)
    bring(lake, COUNT + 2)
    home = lake.folder.parent / "uplift"
    told = score_customers(lake, home, ["user0601", "user0600", "user0001"])
    assert [row["user_id"] for row in told] == ["user0001", "user0600", "user0601"]
    assert told[0]["score"] == before["user0001"]  # by the learner that had not seen them
    assert told[2]["score"] > told[1]["score"] + 0.2
    assert {row["basis"] for row in told} == {"effect"}
    again = learn(lake)
    assert again["reused"] == [""]
    assert scores(lake)["user0601"] == told[2]["score"]
    with pytest.raises(ShopError, match="nothing was learned of the offer 'ten'; learned were: –\n"):
        score_customers(lake, home, ["user0001"], "ten")


def test_chances_of_the_tested_are_told_by_a_model_that_had_not_seen_them(lake: Lake) -> None:
    """Nothing is known of anybody but whether they are active (the odd): one model would give all the odd one chance, and all the even.
    There are five, one a fold; the chance told with the test is the one that costs are reckoned with."""
    run_campaign(lake, COUNT, lift=0.5)
    learn(lake)
    tested, ranked = (lake.engine.sql(lake.table(f"market.{name}")) for name in ("tested", "uplift"))
    rows = lake.engine.rows(f"SELECT user_id, fold, chance, likely FROM ({tested}) JOIN ({ranked}) USING (user_id)")
    assert len(rows) == COUNT
    assert all(row["chance"] == row["likely"] for row in rows)
    told = {(int(row["user_id"][4:]) % 2, row["fold"], row["chance"]) for row in rows}
    assert len(told) == 10
    assert len({chance for _, _, chance in told}) > 2
    odd, even = (np.mean([chance for which, _, chance in told if which == one]) for one in (1, 0))
    assert odd > even + 0.2
    (one,) = load_kept(lake.folder.parent / "uplift", lake.note("uplift")["model"]).values()
    assert len(one.held_responds) == 5
    assert one.calibration.method == "sigmoid"


@pytest.mark.parametrize(("lift", "null"), [(0.5, False), (0.0, True)], ids=["moves the odd", "moves nobody"])
def test_one_customer_is_told_what_the_ranking_is_worth(lake: Lake, lift: float, null: bool) -> None:
    run_campaign(lake, COUNT, lift=lift)
    ranking = learn(lake)["uplift"]["ranking"]
    (told,) = score_customers(lake, lake.folder.parent / "uplift", ["user0001"])
    assert (told["is_null"], told["effect"]) == (null, ranking["effect"])
    low, high = ranking["effect_interval"]
    average = f"{ranking['effect']:+.4f} [{low:+.4f}, {high:+.4f}]"
    said = uplift_of(told, "ann", Words("en"))
    assert average in said and "a message" in said and ("cannot be told from a random order" in said) is null
    said = uplift_of(told | {"offer": "cash"}, "ann", Words("zh"))
    assert average in said and "优惠 cash" in said and "消息" not in said and ("与随机无法区分" in said) is null


def test_kept_file_holds_no_customer_and_its_loss_is_said(lake: Lake) -> None:
    run_campaign(lake, COUNT, lift=0.5)
    found = learn(lake)
    home = lake.folder.parent / "uplift"
    (path,) = home.iterdir()
    text = path.read_text(encoding="utf-8")
    assert path.name == f"{found['model']}.json"
    assert json.loads(text)["format"] == "huaxiang.uplift/2"
    assert "user0" not in text
    path.write_text(text.replace("huaxiang.uplift/2", "huaxiang.uplift/0"), encoding="utf-8")
    with pytest.raises(ModelError, match=r"written as huaxiang\.uplift/0"):
        score_customers(lake, home, ["user0001"])
    path.unlink()
    with pytest.raises(ModelError, match="is not kept"):
        score_customers(lake, home, ["user0001"])
    again = learn(lake)
    assert (again["reused"], again["model"]) == ([], found["model"])  # equal data, equal version


def test_redemption_is_kept_too(lake: Lake) -> None:
    generator, events = (
        np.random.default_rng(4),
        [event("user0000", "purchase", START + timedelta(days=300), amount=1.0)],
    )
    for week in range(6):
        sent = START + timedelta(days=30 * week + 1)
        for n, user in enumerate(names(200)):
            events.append(event(user, "coupon_receive", sent, campaign_id=f"c{week}"))
            if generator.random() < (0.4 if n % 2 else 0.02):
                events.append(event(user, "coupon_redeem", sent + timedelta(days=2), campaign_id=f"c{week}"))
    write(lake, names(200), events)
    first, again = learn(lake), learn(lake)
    assert (first["reused"], again["reused"]) == ([], [""])
    assert again["redemption"] == first["redemption"]
    (told,) = score_customers(lake, lake.folder.parent / "uplift", ["user0001"])
    assert told["score"] == told["likely"] > 0.2


def test_texts_are_coded_as_the_rows_learned_from_have_them() -> None:
    """Levels b, a → a is 0, b is 1; an unseen c and a missing one are not known. Bands "1-9", "10+" are ranks."""
    rows = {"city": pa.array(["b", "a"]), "band": pa.array(["10+", "1-9"]), "n": pa.array([1, 2])}
    coding = Coding.from_json(json.loads(json.dumps(Coding.fit(rows, {}).to_json())))
    made = coding.apply(
        {"city": pa.array(["c", "b", None]), "band": pa.array(["1-9", "10+", ""]), "n": pa.array([1, None, 3])}
    )
    assert made.columns == ("city", "band", "n")
    assert made.categories == {"city"}
    nan = np.nan
    assert np.array_equal(made.values, [[nan, 0, 1], [1, 1, nan], [nan, nan, 3]], equal_nan=True)
