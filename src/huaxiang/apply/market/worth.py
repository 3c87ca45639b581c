"""What a message or an offer is worth to each customer, as far as customers whom no learner had seen bear its ranking out.

A learner's own effects flatter those it ranks first: it chose them by the same luck that it would be judged by. So `huaxiang uplift`
keeps, of every customer of a test, the score by a learner fitted without them beside what the test says of them (the doubly robust
pseudo-outcome); a line through both says how much of a difference in score is a difference in effect. Profit is told by that line: of
a ranking that is luck it is flat, and everybody is expected to be moved alike.

market.tested    user_id, offer ("": any message), score, effect, fold (whose learner had not seen them)    a row a customer of a test

source: Chernozhukov, Demirer, Duflo & Fernández-Val 2018 (the best linear predictor of effects, by scores from another sample)
Letters: N customers, M offers, C customers of the tests.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from huaxiang.apply.market.allocate import Bools
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ShopError
from huaxiang.models.metrics import Floats

TESTED = "market.tested"
TESTS = pa.schema(
    [
        ("user_id", pa.string()),
        ("offer", pa.string()),
        ("score", pa.float64()),
        ("effect", pa.float64()),
        ("fold", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Worth:
    """effect = level + slope · (score − centre), (M,) each; pulls: (C, 2M) how far each customer of the tests pulled level and slope."""

    level: Floats
    slope: Floats
    centre: Floats
    pulls: Floats

    def effects(self, score: Floats) -> Floats:
        """(N, M) outcomes a customer that the offers are expected to add. score: (N, M)"""
        return self.level + self.slope * (score - self.centre)

    def interval(self, given: Bools, score: Floats, cost: Floats, margin: float) -> tuple[float, float]:
        """95 % of the profit of `given` (N, M), by the customers of the tests; cost: (N, M)"""
        weights = margin * np.concatenate(
            [given.sum(axis=0).astype(float), np.where(given, score - self.centre, 0.0).sum(axis=0)]
        )
        profit = float((self.effects(score) * margin - cost)[given].sum())
        half = 1.96 * float(np.sqrt(((self.pulls @ weights) ** 2).sum()))
        return profit - half, profit + half


def learn_worth(tests: Sequence[tuple[Floats, Floats, Floats]], null: Collection[int] = ()) -> Worth:
    """The lines of M offers.

    tests: of each offer (customer, score, effect), a row a customer of its test; customer: a number, the same in all tests
    null: the offers whose ranking cannot be told from a random order: their line is flat
    """
    count = len(tests)
    level, slope, centre = np.zeros(count), np.zeros(count), np.zeros(count)
    who = np.unique(np.concatenate([customer for customer, _, _ in tests]), return_inverse=True)[1]
    pulls = np.zeros((who.max() + 1, 2 * count))
    start = 0
    for at, (_, score, effect) in enumerate(tests):
        own = who[start : start + len(score)]
        start += len(score)
        level[at], centre[at] = effect.mean(), score.mean()
        apart = score - centre[at]
        spread = float(apart @ apart)
        found = float(apart @ effect) / spread if spread > 1e-12 else 0.0
        slope[at] = 0.0 if at in null else max(0.0, found)
        left = effect - level[at] - found * apart
        np.add.at(pulls[:, at], own, left / len(left))
        if spread > 1e-12:
            np.add.at(pulls[:, count + at], own, apart * left / spread)
    return Worth(level, slope, centre, pulls)


def read_worth(lake: Lake, offers: Sequence[str], null: Collection[str]) -> Worth:
    """The lines of `offers`, from the tests that the last `huaxiang uplift` learned from; raises ShopError where it kept none."""
    if not lake.has(TESTED):
        raise ShopError("market.no_ranking")
    rows = lake.engine.sql(lake.table(TESTED))
    tests = []
    for offer in offers:
        found = lake.engine.arrow(
            f"SELECT hash(user_id)::DOUBLE AS user_id, score, effect FROM ({rows}) WHERE offer = {quote(offer)} ORDER BY ALL"
        )
        tests.append(tuple(np.asarray(found[name].to_numpy(), dtype=float) for name in found.column_names))
    return learn_worth(tests, [at for at, offer in enumerate(offers) if offer in null])  # type: ignore[arg-type]


def tested_rows(
    users: pa.ChunkedArray, offer: str, score: Floats, effect: Floats, fold: NDArray[np.integer[Any]]
) -> pa.Table:
    """Rows of `market.tested`."""
    named = pa.array([offer] * len(score), pa.string())
    return pa.table({"user_id": users, "offer": named, "score": score, "effect": effect, "fold": fold}).cast(TESTS)
