"""How good a list is: recall and NDCG of its first ten by customer, with intervals over the customers asked.

Intervals: 95 % by resampling customers (the percentile bootstrap, Efron & Tibshirani 1993, ch. 13); what one list is behind another by is
resampled in pairs, the same customers for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from huaxiang.apply.recommend.known import PROFILE
from huaxiang.apply.recommend.learn import Look, Order, score_by
from huaxiang.apply.recommend.past import Floats, Ints, Past
from huaxiang.models.rank import Ranker

LISTED = 10
DRAWS = 1_000
LIST = "ranker"  # what the exam calls the list that is shown
WITH, WITHOUT = "with profile", f"without {PROFILE}"  # the rankers that read the profile, and that do not
SURE = 2.0  # standard errors, over the customers asked: what is chosen on one window is also lucky there
ALONE = "ranker alone"  # … and the ranker, where the list follows a source instead


@dataclass(frozen=True)
class Exam:
    """figures: of the list, of each source alone, and of the list without each source: `recall@10`, `ndcg@10`, each with `_low` and `_high`,
    `behind_low` and `behind_high` (by how much its NDCG is behind the list's), customers. new: the same, counting only items a customer had not bought
    before. reach: how many of the bought items are candidates at all; led: for "any" and "new" the source that the list follows because
    it did better than the ranker on the window before ("": none); valid: NDCG@10 there of the ranker, of those with and without the profile, of which it is one, and of
    the sources."""

    day: int
    window: int
    asked: int
    candidates_mean: float
    reach: float
    reach_of: dict[str, float]
    figures: dict[str, dict[str, float]]
    new: dict[str, dict[str, float]]
    gains: dict[str, float]
    led: dict[str, str]
    valid: dict[str, dict[str, float]]


def choose_order(
    ranker: Ranker, valid: Look, items: int, *, plain: Ranker | None = None
) -> tuple[Order, dict[str, float]]:
    """The ranker, or the source that alone does better on the window that ended its learning; and what each does there.

    plain: a ranker that reads no profile, which is taken unless the other does better there by more than SURE standard errors
    """
    key = valid.table.user * items + valid.table.item

    def ndcg_of(score: Floats) -> Floats:
        return measure(key, score, valid.bought, items)[1]

    full = ndcg_of(score_by(ranker, valid.table))
    ndcg = {LIST: float(full.mean())}
    if plain is not None:
        gain = full - (without := ndcg_of(score_by(plain, valid.table)))
        ndcg |= {WITH: ndcg[LIST], WITHOUT: float(without.mean())}
        if not gain.mean() > SURE * gain.std() / np.sqrt(len(gain)):
            ranker, ndcg[LIST] = plain, ndcg[WITHOUT]
    alone = {name: float(ndcg_of(valid.table.alone(name)).mean()) for name in valid.table.sources}
    best = max(alone, key=lambda name: alone[name])
    return Order(ranker, best if alone[best] > ndcg[LIST] else ""), ndcg | alone


def take_exam(
    look: Look, orders: Mapping[str, Order], rivals: Mapping[str, Ranker], past: Past, items: int, window: int, *,
    valid: Mapping[str, dict[str, float]], seed: int,
) -> Exam:  # fmt: skip
    """The lists beside each source's own and beside other rankers (of `rivals`, by what they are called). orders: "any", and "new" for what a
    customer has not bought"""
    table, order = look.table, orders["any"]
    scored: dict[str, Floats] = {LIST: order.score(table)}
    if order.lead:
        scored[ALONE] = score_by(order.ranker, table)
    scored |= {name: table.alone(name) for name in table.sources}
    scored |= {name: score_by(rival, table) for name, rival in rivals.items()}
    had = np.unique((seen := past.before(look.day).purchases()).user * items + seen.item)
    fresh = look.bought[~np.isin(look.bought, had)]
    key = table.user * items + table.item
    apart = {name: np.where(np.isin(key, had), -np.inf, score) for name, score in scored.items()}
    apart["ranker of new items"] = np.where(np.isin(key, had), -np.inf, orders["new"].score(table))
    reach_of = {
        name: float(np.isin(look.bought, key[table.values[:, table.columns.index(f"{name}_score")] > 0]).mean())
        for name in table.sources
    }
    return Exam(
        look.day,
        window,
        len(look.asked),
        float(table.sizes[look.asked].mean()),
        float(np.isin(look.bought, key).mean()),
        reach_of,
        figures_of(key, scored, look.bought, items, seed=seed),
        figures_of(key, apart, fresh, items, seed=seed),
        order.ranker.gains(),
        {name: one.lead for name, one in orders.items()},
        dict(valid),
    )


def figures_of(key: Ints, scored: Mapping[str, Floats], bought: Ints, items: int, *, seed: int) -> dict[str, dict[str, float]]:  # fmt: skip
    """Of each list its figures with their intervals, the same draws of customers for all."""
    found = {name: measure(key, score, bought, items) for name, score in scored.items()}
    count = len(np.unique(bought // items))
    if not count:
        return {name: {"recall@10": float("nan"), "ndcg@10": float("nan"), "customers": 0} for name in scored}
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=DRAWS) / count  # (D, C)
    made: dict[str, dict[str, float]] = {}
    for name, (recall, ndcg) in found.items():
        made[name] = {
            "recall@10": float(recall.mean()), **_interval("recall", drawn @ recall),
            "ndcg@10": float(ndcg.mean()), **_interval("ndcg", drawn @ ndcg),
            **_interval("behind", drawn @ (found[LIST][1] - ndcg)), "customers": count,
        }  # fmt: skip
    return made


def _interval(name: str, drawn: Floats) -> dict[str, float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def measure(key: Ints, score: Floats, bought: Ints, items: int) -> tuple[Floats, Floats]:
    """(C,) recall@10 (of at most ten items) and (C,) NDCG@10 of each customer who bought an item of `bought`, by number.

    key: (N,) customer × V + item of each candidate; score: (N,), −inf for what is not listed
    """
    user, asked = key // items, np.unique(bought // items)
    if not len(asked):
        return np.zeros(0), np.zeros(0)
    order = np.lexsort((key, -score, user))
    user, key, score = user[order], key[order], score[order]
    first = np.concatenate([[0], np.flatnonzero(np.diff(user)) + 1]) if len(user) else np.zeros(0, np.int64)
    place = np.arange(len(user)) - np.repeat(first, np.diff(np.append(first, len(user))))
    listed = (place < LISTED) & np.isfinite(score)
    hit = listed & np.isin(key, bought)
    gained = np.bincount(user[hit], 1 / np.log2(place[hit] + 2), minlength=int(asked.max()) + 1)
    found = np.bincount(user[hit], minlength=int(asked.max()) + 1)
    wanted = np.minimum(np.bincount(bought // items, minlength=int(asked.max()) + 1), LISTED)
    best = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(LISTED) + 2))])
    return found[asked] / wanted[asked], gained[asked] / best[wanted[asked]]
