"""How near do the shop's decisions come to the truth of the simulated shop?

    python bench/decisions.py --users 2500 --seed 1 --out decisions.json     # 2 to 3 minutes on 2 cores
    python bench/decisions.py --data simulated-shop                          # a shop that has been run
    python bench/decisions.py --speed --out speed.json                       # how fast, at a million customers: 20 to 30 minutes

Every row sets what the shop says beside a plain baseline and beside the oracle, who knows everything of each customer but chance.
Simulated, and so a check of the machinery and of honest figures, not a claim about real shops. An application adds its rows by one
function in SCORERS: it takes the opened shop and its truth and gives Rows.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from decisions_market import score_coupons, score_intent, score_messages
from decisions_people import score_alikes, score_next_buy, score_next_category, score_segments
from decisions_speed import measure_speeds
from huaxiang.demo import open_demo
from huaxiang.demo.simulated.truth import Truth, join_truth, read_truth, with_pseudonyms
from huaxiang.errors import HuaxiangError
from huaxiang.shop import Shop
from measure import Metrics, note, write_report
from truth_rows import Row, auc, mean, numbers, rank, recall_at, show

RECALL = "recall, 1 % false"
KINDS = {
    "fake_order": "fake_orders",
    "refund_abuse": "malicious_buyer",
    "takeover": "takeover",
    "coupon_farm": "coupon_farm",
}  # what the truth calls it -> the guard's risk


def score_outcomes(shop: Shop, truth: Truth) -> list[Row]:
    """Predicted churn, purchase and spend against what the customers did next. Baselines: days of silence, spend of 90 days."""
    found = []
    for outcome, real, oracle, plain in (
        ("churn_30d", "(orders_30d = 0)::INT", "-expected_orders_30d", "recency_days"),
        ("purchase_7d", "(orders_7d > 0)::INT", "expected_orders_7d", "-recency_days"),
        ("spend_30d", "spend_30d", "expected_spend_30d", "spend_90d_before"),
    ):
        said = (
            f"SELECT p.user_id, value, coalesce(recency_days, 999) AS recency_days, coalesce(spend_90d, 0) AS spend_90d_before "
            f"FROM ({shop.engine.sql(shop.lake.table('predictions'))}) p JOIN ({shop.engine.sql(shop.lake.table('features'))}) f USING (user_id) "
            f"WHERE outcome = '{outcome}'"
        )
        joined = shop.engine.load(join_truth(shop, truth, "futures", said))
        rows = shop.engine.arrow(
            f"SELECT value, {real} AS real, {oracle} AS oracle, {plain} AS plain FROM {joined.get_name()}"
        )
        if not rows.num_rows:
            continue  # this shop does not predict it
        value, target, best, base = (numbers(rows, name) for name in ("value", "real", "oracle", "plain"))
        metric, judge = ("spearman", rank) if outcome == "spend_30d" else ("auc", auc)
        found.append(Row(outcome, metric, *(judge(target, one) for one in (value, base, best)), len(target)))
    return found


def score_next_items(shop: Shop, truth: Truth, k: int = 10) -> list[Row]:
    """The items the behaviour model lists against those viewed next, and against hidden tastes. Baseline: the most viewed of 90 days."""
    events = shop.engine.sql(shop.lake.table("clean.events"))
    popular = [
        row["item_id"]
        for row in shop.engine.rows(
            f"SELECT item_id FROM ({events}) WHERE event = 'view' AND ts > (SELECT max(ts) FROM ({events}) WHERE event = 'view') - INTERVAL 90 DAY "
            f"GROUP BY item_id ORDER BY count(*) DESC, item_id LIMIT {k}"
        )
    ]
    said = f"SELECT user_id, list_transform(next_items, x -> x.item_id)[:{k}] AS listed FROM ({shop.engine.sql(shop.lake.table('behaviour'))}) WHERE len(next_items) > 0"
    viewed = shop.engine.load(with_pseudonyms(truth.table("next_views"), shop.pseudonyms()))
    rows = shop.engine.rows(
        f"SELECT listed, list(item_id ORDER BY rank) AS viewed FROM ({said}) JOIN {viewed.get_name()} USING (user_id) GROUP BY user_id, listed"
    )
    first = [(row["viewed"][0] in row["listed"], row["viewed"][0] in popular) for row in rows]
    leaf = dict(zip(*(truth.table("items").column(name).to_pylist() for name in ("item_id", "leaf")), strict=True))
    tastes = join_truth(shop, truth, "users", said)
    liked = np.array(tastes.column("taste").to_pylist())  # (B, L) of B customers, L leaves
    listed = [[leaf[item] for item in items] for items in tastes.column("listed").to_pylist()]
    mine = [float(liked[number, leaves].mean()) for number, leaves in enumerate(listed)]
    plain = liked[:, [leaf[item] for item in popular]].mean(axis=1)
    return [
        Row(
            "next view",
            f"recall@{k}",
            mean([one for one, _ in first]),
            mean([one for _, one in first]),
            math.nan,
            len(first),
        ),
        Row(
            "listed items",
            "hidden taste",
            mean(mine),
            float(plain.mean()),
            float(liked.max(axis=1).mean()),
            len(mine),
        ),
    ]


def score_identities(shop: Shop, truth: Truth) -> list[Row]:
    """Pairs of ids taken for one person, against the person behind each. Baseline: links by login alone."""
    engine = shop.engine
    real = engine.load(with_pseudonyms(truth.table("identities"), shop.pseudonyms(), "raw_id")).get_name()
    links = engine.sql(shop.lake.table("identity.links"))
    found: dict[str, tuple[float, float]] = {}
    for name, where in (("shop", "true"), ("login", "rule = 'login'")):
        clusters = (
            f"SELECT raw_id, person, coalesce(l.user_id, raw_id) AS said FROM {real} LEFT JOIN "
            f"(SELECT anonymous_id, arg_max(user_id, (since, user_id)) AS user_id FROM ({links}) WHERE {where} GROUP BY anonymous_id) l ON l.anonymous_id = raw_id"
        )
        both, said, true = (
            float(
                engine.value(
                    f"SELECT coalesce(sum(n * (n - 1) / 2), 0) FROM (SELECT count(*) AS n FROM ({clusters}) GROUP BY {by})"
                )
            )
            for by in ("said, person", "said", "person")
        )
        found[name] = both / max(said, 1), both / max(true, 1)
    n = int(engine.value(f"SELECT count(*) FROM {real}"))
    return [
        Row("identity pairs", metric, found["shop"][place], found["login"][place], 1.0, n)
        for place, metric in enumerate(("precision", "recall"))
    ]


def score_value(shop: Shop, truth: Truth) -> list[Row]:
    """Forecast money and purchases of the next 90 days against what came. Baseline: spend of the last 90 days."""
    shop.predict.value(days=90)
    said = (
        f"SELECT c.user_id, c.value, c.expected_purchases, coalesce(f.spend_90d, 0) AS before FROM ({shop.engine.sql(shop.lake.table('clv'))}) c "
        f"JOIN ({shop.engine.sql(shop.lake.table('features'))}) f USING (user_id)"
    )
    rows = join_truth(shop, truth, "futures", said)
    value, before, real, best = (numbers(rows, name) for name in ("value", "before", "spend_90d", "expected_spend_90d"))
    bought, came = numbers(rows, "expected_purchases"), numbers(rows, "orders_90d")
    return [
        Row("value_90d", "spearman", rank(real, value), rank(real, before), rank(real, best), len(real)),
        Row("value_90d", "purchases ÷ came", float(bought.sum() / came.sum()), math.nan, math.nan, len(real)),
    ]


def score_risks(shop: Shop, truth: Truth) -> list[Row]:
    """The greatest risk of each account that did anything in a year, against what each is; per kind of fraud those who ordered as such (an
    account that never did leaves no evidence, and counts in `fraud, all` only); and the orders held fake. Baseline: orders."""
    shop.guard.score()
    risks = ", ".join(KINDS.values())
    said = f"SELECT user_id, {risks}, greatest({risks}) AS risk, orders FROM ({shop.engine.sql(shop.lake.table('guard.scores'))})"
    rows = join_truth(shop, truth, "users", said)
    kind = np.array(rows.column("fraud").to_pylist())
    fraud, risk, plain = kind != "", numbers(rows, "risk"), numbers(rows, "orders")
    each = np.column_stack([numbers(rows, name) for name in KINDS.values()])
    found = [
        Row("fraud, all", "auc", auc(fraud, risk), auc(fraud, plain), 1.0, len(fraud)),
        Row("fraud, all", RECALL, recall_at(fraud, risk), recall_at(fraud, plain), 1.0, int(fraud.sum())),
    ]
    orders = with_pseudonyms(truth.table("orders"), shop.pseudonyms())
    done = dict(zip(orders.column("order_id").to_pylist(), orders.column("fraud").to_pylist(), strict=True))
    who = orders.column("user_id").to_pylist()
    users = rows.column("user_id").to_pylist()
    for at, name in enumerate(KINDS):
        guilty = {user for user, one in zip(who, done.values(), strict=True) if one == name}
        did = np.array([user in guilty for user in users]) & (kind == name)
        if did.any():
            score, base = (np.concatenate([one[~fraud], one[did]]) for one in (risk, plain))
            real = np.arange(len(score)) >= np.sum(~fraud)
            named = float((each[did].argmax(axis=1) == at)[risk[did] > 0].mean()) if (risk[did] > 0).any() else 0.0
            found.append(Row(name, RECALL, recall_at(real, score), recall_at(real, base), 1.0, int(did.sum())))
            found.append(Row(name, "named as such", named, math.nan, 1.0, int((risk[did] > 0).sum())))
    held = [row["order_id"] for row in shop.engine.rows(f"SELECT order_id FROM ({shop.engine.sql(shop.lake.table('guard.fake_orders'))})")]  # fmt: skip
    fakes = [one for one, what in done.items() if what == "fake_order"]
    right = len({*held} & {*fakes})
    found.append(Row("orders held fake", "precision", right / max(len(held), 1), math.nan, 1.0, len(held)))
    return [*found, Row("orders held fake", "recall", right / max(len(fakes), 1), math.nan, 1.0, len(fakes))]


def score_lists(shop: Shop, truth: Truth) -> list[Row]:
    """The home list of `recommend` against what each customer views next, and hidden tastes. Baseline: what is listed most often."""
    shop.recommend.train()
    lists = f"SELECT user_id, list(item_id ORDER BY place) AS listed FROM ({shop.engine.sql(shop.lake.table('recommendations'))}) GROUP BY user_id"
    everybody = [
        row["item_id"]
        for row in shop.engine.rows(
            f"SELECT item_id FROM ({shop.engine.sql(shop.lake.table('recommendations'))}) GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 10"
        )
    ]
    viewed = shop.engine.load(with_pseudonyms(truth.table("next_views"), shop.pseudonyms()))
    rows = shop.engine.rows(
        f"SELECT listed, list(item_id) AS viewed FROM ({lists}) JOIN {viewed.get_name()} USING (user_id) GROUP BY user_id, listed"
    )
    leaf = dict(zip(*(truth.table("items").column(name).to_pylist() for name in ("item_id", "leaf")), strict=True))
    tastes = join_truth(shop, truth, "users", lists)
    liked = np.array(tastes.column("taste").to_pylist())  # (B, L) of B customers, L leaves
    mine = [
        float(liked[place, [leaf[item] for item in items]].mean())
        for place, items in enumerate(tastes.column("listed").to_pylist())
    ]
    plain = float(liked[:, [leaf[item] for item in everybody]].mean())
    return [
        Row("home list", "views found", mean([len({*row["viewed"]} & {*row["listed"]}) / len({*row["viewed"]}) for row in rows]), mean([len({*row["viewed"]} & {*everybody}) / len({*row["viewed"]}) for row in rows]), math.nan, len(rows)),
        Row("home list", "hidden taste", mean(mine), plain, float(liked.max(axis=1).mean()), len(mine)),
    ]  # fmt: skip


SCORERS: tuple[Callable[[Shop, Truth], list[Row]], ...] = (
    score_outcomes, score_next_items, score_identities, score_lists, score_value, score_risks, score_messages,
    score_coupons, score_intent, score_alikes, score_segments, score_next_buy, score_next_category,
)  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, help="a simulated shop that has been run (default: one is made)")
    words.add_argument("--users", type=int, default=0, help="of the shop that is made (0: as many as the demo)")
    words.add_argument("--seed", type=int, default=1, help="the shop that is made")
    words.add_argument(
        "--only", nargs="+", choices=[one.__name__.removeprefix("score_") for one in SCORERS], help="rows to score"
    )
    words.add_argument("--speed", action="store_true", help="how long decisions take instead, on made tables")
    words.add_argument("--customers", type=int, default=1_000_000, help="of audiences and allocation, with --speed")
    words.add_argument("--listed", type=int, default=100_000, help="customers and items of the lists, with --speed")
    words.add_argument("--out", type=Path)
    given = words.parse_args()
    if given.speed:
        fast = measure_speeds(given.customers, given.listed, given.seed)
        write_report(given.out, "how long do decisions take", f"made, seed {given.seed}", fast)
        return
    with tempfile.TemporaryDirectory() as temp:
        folder = given.data or Path(temp)
        with (
            Shop.open(folder)
            if given.data
            else open_demo(folder, shop="simulated", users=given.users, seed=given.seed) as shop
        ):
            if not given.data:
                shop.run()
            truth = read_truth(folder)
            rows: list[Row] = []
            for scorer in SCORERS:
                if given.only and scorer.__name__.removeprefix("score_") not in given.only:
                    continue
                try:
                    rows += scorer(shop, truth)
                except HuaxiangError as error:  # a small shop has too little for some: the table says which, and why
                    print(f"{scorer.__name__.removeprefix('score_')} left out: {error.what()}")
    show(rows)
    metrics = Metrics()
    for row in rows:
        for who in ("shop", "baseline", "oracle"):
            if not math.isnan(getattr(row, who)):
                note(
                    metrics,
                    f"{row.name} {row.metric} {who}".replace(",", "").replace("%", "pct").replace(" ", "_"),
                    [getattr(row, who)],
                )
    write_report(
        given.out,
        "how near do decisions come to the truth",
        str(given.data or f"simulated, seed {given.seed}"),
        metrics,
    )


if __name__ == "__main__":
    main()
