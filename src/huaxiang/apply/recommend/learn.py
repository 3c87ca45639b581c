"""The ranker learns from three looks back, and takes its exam at the last of them.

The last day of the shop, less one window each: sources learn up to the day, customers who buy within the window after it are the
question. The first look is learned from, the second ends the learning, the third is asked once. What the exam examined then learns its
sources anew up to today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from huaxiang.apply.recommend.past import Floats, Ints, Past, Shelf
from huaxiang.apply.recommend.sources import Learned, candidates, learn_sources
from huaxiang.apply.recommend.table import Candidates, table_of
from huaxiang.errors import ModelError
from huaxiang.models.rank import Ranker, RankerConfig

WINDOW = 14  # days
ASKED = 4_000  # customers of each look, at most
LISTED = 10
LEAST = 20  # customers who buy within a window


@dataclass(frozen=True)
class Look:
    """One look back. bought: (U, V) key of each item bought in the window; asked: (Q,) customers who bought; table: their candidates."""

    day: int
    learned: Learned
    bought: Ints
    asked: Ints
    table: Candidates

    def taken(self, items: int) -> Ints:
        """(N,) whether each candidate was bought."""
        return np.isin(self.table.user * items + self.table.item, self.bought).astype(np.int64)


@dataclass(frozen=True)
class Exam:
    """Recall@10 and NDCG@10 of the list, of each source alone, and without each source; how many of the bought items are candidates at
    all; day, window (days), customers asked. `new`: the same figures counting only items a customer had not bought before."""

    day: int
    window: int
    asked: int
    candidates_mean: float
    reach: float
    reach_of: dict[str, float]
    figures: dict[str, dict[str, float]]
    new: dict[str, dict[str, float]]
    gains: dict[str, float]


def look_back(
    past: Past, shelf: Shelf, day: int, *, window: int, seed: int, extra: Mapping[str, Any] | None = None
) -> Look:
    """raises: ModelError where too few customers bought in the window"""
    learned = learn_sources(past, shelf, day)
    if extra:
        learned = replace(learned, extra={name: made(past.before(day), day) for name, made in extra.items()})
    after = past.within(day, day + window).purchases()
    buyers = np.unique(after.user)
    if len(buyers) < LEAST:
        raise ModelError("recommend.few_buyers", count=len(buyers), need=LEAST, days=window)
    asked = np.sort(np.random.default_rng([seed, day]).permutation(buyers)[:ASKED])
    some = past.of(asked)
    scores = candidates(learned, some, shelf)
    scores = {name: _only(one, asked) for name, one in scores.items()}
    bought = np.unique(after.user * len(shelf) + after.item)
    return Look(
        day, learned, bought[np.isin(bought // len(shelf), asked)], asked, table_of(scores, learned, some, shelf)
    )


def _only(scores: Any, users: Ints) -> Any:
    """The rows of `users` alone; the others' are empty."""
    from scipy.sparse import csr_matrix, diags

    kept = np.zeros(scores.shape[0])
    kept[users] = 1.0
    found = csr_matrix(diags(kept) @ scores)
    found.eliminate_zeros()
    return found


def fit_ranker(train: Look, valid: Look, items: int, *, seed: int, without: Sequence[str] = ()) -> Ranker:
    """Learns from customers with something they bought among their candidates. without: sources whose columns are left out"""
    columns = train.table.columns
    kept = [
        place
        for place, name in enumerate(columns)
        if not any(name.startswith(f"{one}_") and name.split("_")[-1] in ("score", "rank") for one in without)
    ]
    parts = []
    for look in (train, valid):
        taken = look.taken(items)
        has = np.isin(look.table.user, np.unique(look.table.user[taken > 0]))
        sizes = np.bincount(look.table.user[has], minlength=look.table.users)
        parts.append((look.table.values[has][:, kept], taken[has], sizes[sizes > 0]))
    if not parts[0][1].any() or not parts[1][1].any():
        raise ModelError("recommend.nothing_found")
    return Ranker(RankerConfig(), [columns[place] for place in kept]).fit(parts[0], parts[1], seed=seed)


def take_exam(look: Look, ranker: Ranker, rivals: Mapping[str, Ranker], past: Past, shelf: Shelf, window: int) -> Exam:
    """The list of the ranker beside each source's own and beside rankers that lack one."""
    items = len(shelf)
    sources = [name.removesuffix("_score") for name in look.table.columns if name.endswith("_score")]
    scored: dict[str, Floats] = {"ranker": ranker.score(look.table.values)}
    for name in sources:
        rank = look.table.values[:, look.table.columns.index(f"{name}_rank")]
        scored[name] = np.where(rank <= rank.max(initial=1.0), -rank, -np.inf)
    for name, rival in rivals.items():
        kept = [look.table.columns.index(column) for column in rival.columns]
        scored[f"without {name}"] = rival.score(look.table.values[:, kept])
    had = np.unique((seen := past.before(look.day).purchases()).user * items + seen.item)
    fresh = look.bought[~np.isin(look.bought, had)]
    key = look.table.user * items + look.table.item
    among = np.isin(look.bought, key)
    reach_of = {
        name: float(
            np.isin(look.bought, key[look.table.values[:, look.table.columns.index(f"{name}_score")] > 0]).mean()
        )
        for name in sources
    }
    return Exam(
        look.day,
        window,
        len(look.asked),
        float(look.table.sizes[look.asked].mean()),
        float(among.mean()),
        reach_of,
        {name: _measure(key, score, look.bought, items) for name, score in scored.items()},
        {
            name: _measure(key, np.where(np.isin(key, had), -np.inf, score), fresh, items)
            for name, score in scored.items()
        },
        ranker.gains(),
    )


def _measure(key: Ints, score: Floats, bought: Ints, items: int) -> dict[str, float]:
    """Mean over customers who bought (an item of `bought`) of recall@10 (of at most ten items) and NDCG@10."""
    user, asked = key // items, np.unique(bought // items)
    if not len(asked):
        return {"recall@10": float("nan"), "ndcg@10": float("nan"), "customers": 0}
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
    return {
        "recall@10": float((found[asked] / wanted[asked]).mean()),
        "ndcg@10": float((gained[asked] / best[wanted[asked]]).mean()),
        "customers": len(asked),
    }
