"""Rows of bench/decisions.py about people: look-alikes, segments, when they buy next and of what category."""

from __future__ import annotations

import math

import numpy as np
from sklearn.metrics import adjusted_rand_score

from huaxiang.apply.market.alike import look_alikes
from huaxiang.demo.simulated.truth import Truth, join_truth, with_pseudonyms
from huaxiang.shop import Shop
from truth_rows import Row, auc, mean, numbers

LEAVES = 5  # whose lovers are looked for
LEAST = 40  # of them


def score_alikes(shop: Shop, truth: Truth) -> list[Row]:
    """Half of those who like one leaf best are named, and the other half looked for in a list as long. Baseline: a random list."""
    rows = join_truth(shop, truth, "users", f"SELECT user_id FROM ({shop.engine.sql(shop.lake.table('profiles'))})")
    users = np.array(rows.column("user_id").to_pylist())
    best = np.array(rows.column("taste").to_pylist()).argmax(axis=1)
    found, plain, asked = [], [], 0
    for leaf in np.bincount(best).argsort()[::-1][:LEAVES]:
        like = np.random.default_rng(int(leaf)).permutation(users[best == leaf])
        if len(like) < LEAST:
            continue
        seed, others = like[::2], like[1::2]
        listed = look_alikes(shop.lake, seed.tolist(), count=len(others), seed=1).users
        found.append(float(np.isin(others, listed).mean()))
        plain.append(len(others) / (len(users) - len(seed)))
        asked += len(others)
    return [Row("look-alikes, taste", "recall", mean(found), mean(plain), 1.0, asked)] if found else []


def score_segments(shop: Shop, truth: Truth) -> list[Row]:
    """Segments beside what customers are: the category they like best, and whether they left. Baseline: value tiers (random is 0)."""
    shop.market.segments()
    segments, profiles = (shop.engine.sql(shop.lake.table(name)) for name in ("segments", "profiles"))
    said = f"SELECT user_id, segment, coalesce(value_tier, '') AS value_tier FROM ({segments}) JOIN ({profiles}) USING (user_id)"
    rows = join_truth(shop, truth, "users", said)
    segment, tier, stays = (rows.column(name).to_pylist() for name in ("segment", "value_tier", "active"))
    top = np.array(_categories(truth))[np.array(rows.column("taste").to_pylist()).argmax(axis=1)].tolist()
    return [
        Row(f"segments, {name}", "adjusted Rand", *(adjusted_rand_score(real, one) for one in (segment, tier)), 1.0, len(real))
        for name, real in (("taste", top), ("who left", stays))
    ]  # fmt: skip


def score_next_buy(shop: Shop, truth: Truth) -> list[Row]:
    """By when each buys again: who orders within 30 days, ranked by the day told (baseline: days of silence); and of those told to have
    bought within 90 days by nine in ten, how many had."""
    shop.predict.value(days=90)
    said = (
        f"SELECT user_id, coalesce(next_days, 1e6) AS next_days, coalesce(next_days_high, 1e6) AS high, age_days - recency_days AS silent_days "
        f"FROM ({shop.engine.sql(shop.lake.table('clv'))})"
    )
    rows = join_truth(shop, truth, "futures", said)
    told, high, silent = (numbers(rows, name) for name in ("next_days", "high", "silent_days"))
    soon, some = numbers(rows, "orders_30d") > 0, numbers(rows, "orders_90d") > 0
    sure = high <= 90
    found = [Row("next purchase, 30 days", "auc", auc(soon, -told), auc(soon, -silent), math.nan, len(soon))]
    if sure.any():
        found.append(Row("told within 90 days", "had bought (.9)", float(some[sure].mean()), float(some.mean()), 0.9, int(sure.sum())))  # fmt: skip
    return found


def score_next_category(shop: Shop, truth: Truth) -> list[Row]:
    """The department predicted of the next purchase against that of the item viewed first, which the truth has; a
    look need not lead to a purchase. Baseline: the one predicted most often; oracle: the one liked best."""
    if not shop.lake.has("predictions"):
        return []
    engine = shop.engine
    said = f"SELECT user_id, label FROM ({engine.sql(shop.lake.table('predictions'))}) WHERE outcome = 'next_category'"
    viewed = engine.load(with_pseudonyms(truth.table("next_views"), shop.pseudonyms())).get_name()
    rows = join_truth(
        shop,
        truth,
        "users",
        f"SELECT user_id, label, item_id FROM ({said}) JOIN {viewed} USING (user_id) WHERE rank = 0",
    )
    if not rows.num_rows:
        return []  # this shop does not predict it
    category, items = _categories(truth), truth.table("items")
    leaf = dict(zip(items.column("item_id").to_pylist(), items.column("leaf").to_pylist(), strict=True))
    real = np.array([category[leaf[item]] for item in rows.column("item_id").to_pylist()])
    label = np.array(rows.column("label").to_pylist())
    departments = np.array(sorted(set(category)))
    taste = np.array(rows.column("taste").to_pylist()) @ (
        np.array(category)[:, None] == departments
    )  # (B, departments)
    liked = departments[taste.argmax(axis=1)]
    names, counts = np.unique(label, return_counts=True)
    return [Row("next category", "accuracy", float((label == real).mean()), float((names[counts.argmax()] == real).mean()), float((liked == real).mean()), len(real))]  # fmt: skip


def _categories(truth: Truth) -> list[str]:
    """Of each leaf the category at the top of its path."""
    return [path.split(" > ")[0] for path in truth.table("leaves").column("path_en").to_pylist()]
