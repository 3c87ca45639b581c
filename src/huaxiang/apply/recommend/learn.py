"""The ranker learns from three looks back, and takes its exam at the last of them.

The last day of the shop, less one window each: sources learn up to the day, customers who buy within the window after it are the
question. The first look is learned from, the second ends the learning and says whether a source alone does better, the third is asked once. What the exam examined then learns its
sources anew up to today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix

from huaxiang.apply.recommend.known import PROFILE, Known
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
        ranked = score_by(self.ranker, table)
        if not self.lead:
            return ranked
        own = table.values[:, table.columns.index(f"{self.lead}_score")]
        return own + EQUAL / (1 + np.exp(-np.clip(ranked, -30, 30)))


def score_by(ranker: Ranker, table: Candidates) -> Floats:
    """(N,) by the columns that the ranker reads; one that the table lacks is unknown."""
    if ranker.columns == table.columns:
        return ranker.score(table.values)
    read = np.full((len(ranker.columns), len(table.user)), np.nan, np.float32)
    for place, name in enumerate(ranker.columns):
        if name in table.columns:
            read[place] = table.values[:, table.columns.index(name)]
    return ranker.score(read.T)


def look_back(
    past: Past,
    shelf: Shelf,
    day: int,
    *,
    window: int,
    seed: int,
    extra: Mapping[str, Made] | None = None,
    profile: Known | None = None,
) -> Look:
    """shelf: as it was known at `day`; profile: (U, P) of the customers as of `day` (None: unknown, whatever `past` says of today)

    raises: ModelError where too few customers bought in the window
    """
    past = replace(past, profile=np.full_like(past.profile, np.nan) if profile is None else profile)
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


def _only(scores: csr_matrix, users: Ints) -> csr_matrix:
    """The rows of `users` alone; the others' are empty."""
    counts = np.diff(scores.indptr)
    kept = np.zeros(len(counts), bool)
    kept[users] = True
    inside = np.repeat(kept, counts)
    starts = np.concatenate([[0], np.cumsum(np.where(kept, counts, 0))])
    return csr_matrix((scores.data[inside], scores.indices[inside], starts), shape=scores.shape)


def fit_ranker(train: Look, valid: Look, items: int, *, seed: int, without: Sequence[str] = ()) -> Ranker:
    """Learns from customers with something they bought among their candidates. without: sources (or PROFILE) whose columns are left out"""
    columns = train.table.columns
    left_out = {f"{one}_{said}" for one in without for said in ("score", "rank")}
    if PROFILE in without:
        left_out |= {name for name in columns if name.startswith(f"{PROFILE}_")}
    kept = [place for place, name in enumerate(columns) if name not in left_out]
    parts = []
    for look in (train, valid):
        taken = look.taken(items)
        has = np.isin(look.table.user, np.unique(look.table.user[taken > 0]))
        sizes = np.bincount(look.table.user[has], minlength=look.table.users).astype(np.int64)
        parts.append((look.table.values[has][:, kept], taken[has], sizes[sizes > 0]))
    if not parts[0][1].any() or not parts[1][1].any():
        raise ModelError("recommend.nothing_found")
    return Ranker(RankerConfig(), [columns[place] for place in kept]).fit(parts[0], parts[1], seed=seed)
