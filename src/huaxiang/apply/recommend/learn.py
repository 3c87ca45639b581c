"""The ranker learns from three looks back, and takes its exam at the last of them.

The last day of the shop, less one window each: sources learn up to the day, customers who buy within the window after it are the
question. The first look is learned from, the second ends the learning and says whether a source alone does better, the third is asked once. What the exam examined then learns its
sources anew up to today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from huaxiang.apply.recommend.past import Floats, Ints, Past, Shelf
from huaxiang.apply.recommend.sources import Learned, Made, candidates, learn_sources
from huaxiang.apply.recommend.table import Candidates, table_of
from huaxiang.errors import ModelError
from huaxiang.models.rank import Ranker, RankerConfig

WINDOW = 14  # days
ASKED = 4_000  # customers of each look, at most
EQUAL = 1e-6  # scores of a source that lie closer are equal
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
class Order:
    """What puts candidates in order: the ranker; or a source that did better, where lead names it, and the ranker among what it holds equal
    or does not name."""

    ranker: Ranker
    lead: str = ""

    def score(self, table: Candidates) -> Floats:
        """(N,) the higher, the further up."""
        if not len(table.user):
            return np.zeros(0)
        ranked = self.ranker.score(table.values)
        if not self.lead:
            return ranked
        own = table.values[:, table.columns.index(f"{self.lead}_score")]
        return own + EQUAL / (1 + np.exp(-np.clip(ranked, -30, 30)))


def look_back(
    past: Past, shelf: Shelf, day: int, *, window: int, seed: int, extra: Mapping[str, Made] | None = None
) -> Look:
    """raises: ModelError where too few customers bought in the window"""
    learned = learn_sources(past, shelf, day, extra)
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
