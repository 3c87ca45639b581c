"""The simulated shop: the same by seed, its effects as its truth says, and the journey through it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, run_huaxiang
from huaxiang.demo import open_demo
from huaxiang.demo.applications import apply_all
from huaxiang.demo.simulated.make import make_shop
from huaxiang.demo.simulated.people import OFFERS
from huaxiang.demo.simulated.truth import TABLES, join_truth, read_truth
from huaxiang.demo.simulated.world import PIECE, World, hash01, user_ids
from huaxiang.engine import Engine
from huaxiang.errors import HuaxiangError, ShopError
from huaxiang.shop import Shop

SECRETS = {"person", "fraud", "ring", "taste", "satisfaction", "effect_cash", "orders_without", "expected_orders_30d"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated shop of one whole piece and the rings, not yet run. Read only."""
    folder = tmp_path_factory.mktemp("simulated")
    make_shop(folder, World(users=PIECE))
    return folder


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small simulated shop that has been through the whole journey. Read only."""
    folder = tmp_path_factory.mktemp("journey")
    open_demo(folder, shop="simulated", users=300).close()
    settings = (folder / "huaxiang.toml").read_text(encoding="utf-8")
    settings = settings.replace("reads = 250_000", "reads = 10_000").replace("as_of_count = 3", "as_of_count = 2")
    (folder / "huaxiang.toml").write_text(settings.partition("[outcomes.purchase_7d]")[0], encoding="utf-8")
    with Shop.open(folder) as shop:
        shop.run()
    return folder


def ask(folder: Path, query: str) -> list[tuple[object, ...]]:
    """Rows of a query in which @data/x and @truth/x name the shop's files."""
    sql = query.replace("@", f"{folder}/")
    with Engine(memory_gb=0.5) as engine:
        return [tuple(row.values()) for row in engine.rows(sql)]


def hash_files(folder: Path) -> dict[str, str]:
    paths = sorted(folder.glob("*/*.parquet"))
    return {f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_same_seed_makes_the_same_bytes_and_another_seed_another_shop(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        make_shop(tmp_path / name, World(users=200, seed=seed))
    one, two, three = (hash_files(tmp_path / name) for name in ("one", "two", "three"))
    assert len(one) == 9 + 1 + len(TABLES)
    assert one == two
    same = {name for name in one if one[name] == three[name]}
    assert same == {"truth/leaves.parquet"}


def test_sizes_are_those_of_a_shop(made: Path) -> None:
    [(clicks, orders, buyers)] = ask(
        made,
        "SELECT (SELECT count(*) FROM '@data/clicks.parquet') / 4096, (SELECT count(DISTINCT order_no) FROM '@data/orders.parquet') / 4096, "
        "(SELECT count(DISTINCT uid) FROM '@data/orders.parquet') / 4096",
    )
    assert 60 < clicks < 200  # the acts of a customer
    assert 3 < orders < 10
    assert 0.4 < buyers < 0.9


def test_exports_tell_nothing_of_the_truth(made: Path) -> None:
    for path in (made / "data").glob("*.parquet"):
        [columns] = ask(made, f"SELECT list(column_name) FROM (DESCRIBE FROM '@data/{path.name}')")
        assert not SECRETS & set(columns[0]), path.name  # type: ignore[arg-type]


def test_truth_speaks_of_exactly_what_is_recorded(made: Path) -> None:
    [(orders, users)] = ask(
        made,
        "SELECT (SELECT count(*) FROM (SELECT DISTINCT order_no FROM '@data/orders.parquet') d "
        "FULL JOIN '@truth/orders.parquet' t ON t.order_id = d.order_no WHERE t.order_id IS NULL OR d.order_no IS NULL), "
        "(SELECT count(*) FROM (FROM '@data/users.parquet' WHERE uid NOT LIKE 'test%') d FULL JOIN '@truth/users.parquet' t "
        "ON t.user_id = d.uid WHERE t.user_id IS NULL OR d.uid IS NULL)",
    )
    assert (orders, users) == (0, 0)


@pytest.mark.parametrize("offer", OFFERS)
def test_randomised_coupon_does_in_the_data_what_the_truth_says(made: Path, offer: str) -> None:
    """Weighted by the logged chances, orders with the coupon less orders without are its known effect, within the error."""
    rows = ask(
        made,
        f"""WITH o AS (SELECT DISTINCT order_no, uid, min(paid_at) OVER (PARTITION BY order_no) AS at FROM '@data/orders.parquet'),
        e AS (SELECT x.uid, x.campaign, x.arm, x.propensity, count(DISTINCT o.order_no) AS orders FROM '@data/exposures.parquet' x
              LEFT JOIN o ON o.uid = x.uid AND o.at >= x.sent_at AND o.at < x.sent_at + INTERVAL 14 DAY GROUP BY ALL)
        SELECT e.arm, e.propensity, e.orders, t.effect_{offer} FROM e JOIN '@truth/exposures.parquet' t ON t.user_id = e.uid AND t.campaign = e.campaign
        JOIN '@truth/users.parquet' u ON u.user_id = e.uid WHERE u.fraud = ''""",
    )
    arm = np.array([row[0] for row in rows])
    propensity, orders, effect = (np.array([row[place] for row in rows], dtype=np.float64) for place in (1, 2, 3))
    gain = np.where(arm == offer, orders / propensity, 0.0) - np.where(arm == "control", orders / propensity, 0.0)
    error = gain.std() / np.sqrt(len(gain))
    assert abs(gain.mean() - effect.mean()) < 4 * error
    assert 4 * error < 0.15  # the test would see an effect that is off by more


def test_coupons_move_some_customers_and_annoy_others(made: Path) -> None:
    [(better, worse, none)] = ask(
        made,
        "SELECT avg((effect > 0.05)::INT), avg((effect < -0.01)::INT), avg((effect = 0)::INT) FROM '@truth/effects.parquet' WHERE offer = 'cash'",
    )
    assert better > 0.15
    assert worse > 0.02
    assert none > 0.3


def test_every_ring_shares_something_where_customers_rarely_do(made: Path) -> None:
    rings = ask(
        made,
        """WITH i AS (SELECT kind, value, uid, ring FROM '@data/identifiers.parquet' JOIN '@truth/users.parquet' u ON u.user_id = uid
                      WHERE kind IN ('device', 'address', 'payment') AND ring >= 0),
        r AS (SELECT ring, kind, count(DISTINCT value) AS values, count(DISTINCT uid) AS accounts FROM i GROUP BY ring, kind HAVING accounts >= 8)
        SELECT ring, min(values / accounts) FROM r GROUP BY ring""",
    )
    assert len(rings) >= 4
    assert all(share < 0.7 for _, share in rings)  # type: ignore[operator]
    [(alone,)] = ask(
        made,
        """WITH i AS (SELECT kind, value, uid FROM '@data/identifiers.parquet' JOIN '@truth/users.parquet' u ON u.user_id = uid
                      WHERE kind IN ('device', 'address', 'payment') AND ring < 0)
        SELECT avg((n = 1)::INT) FROM (SELECT count(DISTINCT uid) AS n FROM i GROUP BY kind, value)""",
    )
    assert alone > 0.9  # type: ignore[operator]


def test_stars_follow_satisfaction_and_the_dissatisfied_leave(made: Path) -> None:
    [(stars, stay)] = ask(
        made,
        "SELECT (SELECT corr(stars, satisfaction) FROM '@data/reviews.parquet' r JOIN '@truth/users.parquet' u ON u.user_id = r.uid WHERE fraud = ''), "
        "(SELECT corr(active::INT, satisfaction) FROM '@truth/users.parquet' WHERE fraud = '')",
    )
    assert stars > 0.3  # type: ignore[operator]
    assert stay > 0.15  # type: ignore[operator]


def test_expected_orders_are_neither_too_many_nor_too_few(made: Path) -> None:
    for days in (7, 30, 90):
        [(real, expected, error)] = ask(
            made,
            f"SELECT avg(orders_{days}d), avg(expected_orders_{days}d), stddev(orders_{days}d - expected_orders_{days}d) / sqrt(count(*)) FROM '@truth/futures.parquet'",
        )
        assert abs(real - expected) < 5 * error + 0.08 * real, days  # type: ignore[operator]  # pauses are left out


def test_ids_and_fixed_chance_spread_evenly() -> None:
    assert len(np.unique(user_ids(np.arange(200_000)))) == 200_000
    drawn = hash01(np.arange(100_000), 3)
    assert abs(drawn.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02


def test_journey_meets_the_dirt_and_makes_profiles(journey: Path) -> None:
    with Shop.open(journey) as shop:
        quality = shop.quality()
        assert quality is not None
        reasons = {
            row["reason"]
            for row in shop.engine.rows(
                f"SELECT DISTINCT reason FROM ({shop.engine.sql(shop.lake.table('quarantine'))})"
            )
        }
        assert {"robot", "test_account", "duplicate_event_id"} <= reasons
        assert shop.lake.rows("profiles") > 200
        assert shop.lake.rows("raw.refused") > 0
        assert {card.outcome for card in shop.cards()} == set(shop.settings.outcomes)
    assert all(path.startswith("data/") for source in shop.settings.collect for path in source.from_)


def test_every_application_fills_its_page_or_says_why(journey: Path, tmp_path: Path) -> None:
    """A shop of 300 is too small for a few; whoever is not told of has a section. Done twice, nothing runs again."""
    folder = tmp_path / "shop"
    shutil.copytree(journey, folder)
    told: dict[str, HuaxiangError | None] = {}
    with Shop.open(folder) as shop:
        before = set(shop.decided())
        apply_all(shop, tell=lambda name, seconds, why: told.update({name: why}))
        assert (
            set(told)
            == {"guard", "recommend", "clv", "intent", "segments", "audiences", "uplift", "campaigns"} - before
        )
        done = {name for name, why in told.items() if why is None}
        assert {"guard", "clv", "segments", "uplift", "campaigns"} <= done
        assert done <= set(shop.decided())
        page = shop.run().read_text(encoding="utf-8")
        assert all(f'id="{name}-en"' in page for name in (*done, "flow", "rfm", "rules"))
        again: list[str] = []
        apply_all(shop, tell=lambda name, seconds, why: again.append(name))
        assert set(again) == set(told) - done


def test_truth_joins_to_the_shops_pseudonyms(journey: Path) -> None:
    truth = read_truth(journey)
    with Shop.open(journey) as shop:
        events = shop.engine.sql(shop.lake.table("clean.events"))
        bought = f"SELECT user_id, count(DISTINCT order_id) AS orders FROM ({events}) WHERE event = 'purchase' AND user_id IS NOT NULL GROUP BY user_id"
        joined = join_truth(shop, truth, "users", bought)
        assert joined.num_rows == shop.engine.value(f"SELECT count(*) FROM ({bought})")
        assert set(joined.column_names) >= {"orders", "satisfaction", "taste"}
        assert joined.column("orders").to_pylist() != [1] * joined.num_rows


def test_benchmark_sets_the_shop_between_baseline_and_oracle(journey: Path, tmp_path: Path) -> None:
    out = tmp_path / "decisions.json"
    bench = ROOT / "bench" / "decisions.py"
    done = subprocess.run(
        [sys.executable, str(bench), "--data", str(journey), "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {name: figure["mean"] for name, figure in json.loads(out.read_text(encoding="utf-8"))["metrics"].items()}
    for better in (
        "churn_30d_auc",
        "next_view_recall@10",
        "listed_items_hidden_taste",
        "home_list_views_found",
        "identity_pairs_recall",
    ):
        assert found[f"{better}_shop"] > found[f"{better}_baseline"], better
    assert found["fraud_all_auc_shop"] > 0.85 > 0.6 > found["fraud_all_auc_baseline"]
    assert found["orders_held_fake_precision_shop"] > 0.9
    assert found["identity_pairs_precision_shop"] > 0.95
    assert {f"message:_{offer}_spearman_shop" for offer in ("cash", "percent", "shipping")} <= set(found)
    for name, oracle in found.items():
        if name.endswith("_oracle"):
            assert found[name.replace("_oracle", "_shop")] <= oracle, name
    assert "value_90d_spearman_shop" in found, "no scorer is left out"


def test_chinese_shop_takes_the_chinese_columns(tmp_path: Path) -> None:
    with open_demo(tmp_path, shop="simulated", users=60, lang="zh") as shop:
        maps = {
            name: origin.column
            for source in shop.settings.collect
            for to in source.to
            for name, origin in to.map.items()
        }
        assert (maps["title"], maps["description"], maps["category"]) == ("title_zh", "title_en", "category_zh")
        assert (maps["city"], maps["region"], shop.settings.shop.name) == ("city_zh", "province_zh", "模拟店铺")


def test_truth_is_asked_for_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(ShopError, match="holds no truth"):
        read_truth(tmp_path)


@pytest.mark.parametrize("users", [-1, 49, 10**9])
def test_impossible_number_of_customers_is_refused(tmp_path: Path, users: int) -> None:
    with pytest.raises(ShopError, match=f"{users} is no number of customers"):
        open_demo(tmp_path / "shop", shop="simulated", users=users)
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [(("--users", "100"), "of the simulated shop"), (("--shop", "simulated", "--households", "9"), "of the grocer")],
    ids=["users of the grocer", "households of the simulated shop"],
)
def test_options_of_the_other_shop_are_refused(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    refused = run_huaxiang("demo", *words, cwd=tmp_path)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_demo_does_not_take_one_shop_for_the_other(journey: Path) -> None:
    refused = run_huaxiang("demo", "--folder", str(journey))
    assert refused.returncode == 1
    assert "not the demo shop 'grocer'" in refused.stderr
