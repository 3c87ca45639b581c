"""What a message or an offer is worth to each customer, as far as customers whom no learner had seen bear its ranking out.

A learner's own effects flatter those it ranks first: it chose them by the same luck that it would be judged by. So `huaxiang uplift`
keeps, of every customer of a test, the score by a learner fitted without them beside what the test says of them (the doubly robust
pseudo-outcome); a line through both says how much of a difference in score is a difference in effect. Of a ranking that is luck it is
flat in the score.

A choice looks at costs, too, and a customer costs the less the less likely they respond at all. So what is expected goes by that chance
beside the score, likewise told by a model that had not seen them: in proportion to it up to the mean chance of the test, with a slope
of its own above. Else the average effect would be expected of the cheapest, who hardly respond. Nobody is expected to add more than all
that they are expected to do: the chance, times what one who responds does.

market.tested    user_id, offer ("": any message), score, chance (to respond where treated), effect, response (what a treated customer who
                 responds does: 1 purchase, or money), fold (whose learners had not seen them)    a row a customer of a test

source: Chernozhukov, Demirer, Duflo & Fernández-Val 2018 (the best linear predictor of effects, by scores from another sample)
Letters: N customers, M offers, C customers of the tests.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from huaxiang.apply.market.allocate import Bools
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ShopError
from huaxiang.models.metrics import Floats

TESTED = "market.tested"
LEAST = 0.1  # no customer of a test weighs more than ten times as much as another
TESTS = pa.schema(
    [
        ("user_id", pa.string()),
        ("offer", pa.string()),
        ("score", pa.float64()),
        ("chance", pa.float64()),
        ("effect", pa.float64()),
        ("response", pa.float64()),
        ("fold", pa.int64()),
    ]
)


class Trial(NamedTuple):
    """The test of one offer, a row a customer. customer: a number, the same in all tests; response: one number of them all."""

    customer: Floats
    score: Floats
    chance: Floats
    effect: Floats
    response: float


@dataclass(frozen=True)
class Worth:
    """effect = response · (below · min(chance, knot) + above · max(chance − knot, 0)) + slope · (score − centre), at most response · chance.

    (M,) each; pulls: (C, 3M) how far each customer of the tests pulled below, above and slope
    """

    below: Floats
    above: Floats
    knot: Floats
    slope: Floats
    centre: Floats
    response: Floats
    pulls: Floats

    def effects(self, score: Floats, chance: Floats) -> Floats:
        """(N, M) outcomes a customer that the offers are expected to add. score, chance: (N, M)"""
        return np.minimum(self._line(score, chance), self.response * chance)

    def interval(self, given: Bools, score: Floats, chance: Floats, cost: Floats, margin: float) -> tuple[float, float]:
        """95 % of the profit of `given` (N, M), by the customers of the tests; cost: (N, M)"""
        free = given & (self._line(score, chance) <= self.response * chance)  # beyond, no one moves with the line
        told = _tell(score, chance, self.knot, self.centre, self.response)
        weights = margin * np.concatenate([np.where(free, one, 0.0).sum(axis=0) for one in told])
        profit = float((self.effects(score, chance) * margin - cost)[given].sum())
        half = 1.96 * float(np.sqrt(((self.pulls @ weights) ** 2).sum()))
        return profit - half, profit + half

    def _line(self, score: Floats, chance: Floats) -> Floats:
        below, above, apart = _tell(score, chance, self.knot, self.centre, self.response)
        return self.below * below + self.above * above + self.slope * apart


def _tell(
    score: Floats, chance: Floats, knot: Floats, centre: Floats, response: Floats
) -> tuple[Floats, Floats, Floats]:
    """What a line goes by, each as `score` is: all they do up to the knot, all they do above, and the score less its centre."""
    up_to = np.minimum(chance, knot)
    return response * up_to, response * (chance - up_to), score - centre


def learn_worth(tests: Sequence[Trial], null: Collection[int] = ()) -> Worth:
    """The lines of M offers.

    null: the offers whose ranking cannot be told from a random order: their line is flat in the score
    """
    count = len(tests)
    knot, centre, response = (
        np.array(one) for one in zip(*((t.chance.mean(), t.score.mean(), t.response) for t in tests), strict=True)
    )
    slopes = np.zeros((3, count))
    who = np.unique(np.concatenate([test.customer for test in tests]), return_inverse=True)[1]
    pulls = np.zeros((who.max() + 1, 3, count))
    start = 0
    for at, test in enumerate(tests):
        own = who[start : start + len(test.effect)]
        start += len(test.effect)
        told = np.column_stack(_tell(test.score, test.chance, knot[at], centre[at], response[at]))
        slopes[:, at], pulled = _fit(told, test.effect, at in null)
        np.add.at(pulls[:, :, at], own, pulled.T)
    return Worth(slopes[0], slopes[1], knot, slopes[2], centre, response, pulls.reshape(len(pulls), -1))


def _fit(told: Floats, effect: Floats, null: bool) -> tuple[Floats, Floats]:
    """(3,) the slopes and (3, C) each customer's pull. A slope that is set to a bound is not known to lie there: pulls are those of free
    slopes. told: (C, 3), effect: (C,)

    Who responds seldom varies little, about in proportion: weighed so, the lines add up to the test's average effect, too.
    """
    from scipy.optimize import lsq_linear

    floor = LEAST * told[:, 0].max()
    weight = np.sqrt(1 / np.maximum(told[:, 0], floor)) if floor > 0 else np.ones(len(told))
    columns, target = told * weight[:, None], effect * weight
    inverse = np.linalg.pinv(columns, rcond=1e-9)
    left = target - columns @ (inverse @ target)
    used = columns * [1.0, 1.0, 0.0] if null else columns
    fitted = lsq_linear(used, target, ([-np.inf, 0.0, 0.0], [1.0, 1.0, np.inf]), method="bvls").x
    return np.where(used.any(axis=0), fitted, 0.0), inverse * left


def read_worth(lake: Lake, offers: Sequence[str], null: Collection[str]) -> Worth:
    """The lines of `offers`, from the tests that the last `huaxiang uplift` learned from; raises ShopError where it kept none."""
    if not lake.has(TESTED) or "chance" not in lake.table(TESTED).columns:
        raise ShopError("market.no_ranking")
    rows = lake.engine.sql(lake.table(TESTED))
    tests = []
    for offer in offers:
        found = lake.engine.arrow(
            f"SELECT hash(user_id)::DOUBLE AS user_id, score, chance, effect, response FROM ({rows}) WHERE offer = {quote(offer)} ORDER BY ALL"
        )
        user, score, chance, effect, response = (np.asarray(one.to_numpy(), dtype=float) for one in found.columns)
        tests.append(Trial(user, score, chance, effect, float(response.max())))
    return learn_worth(tests, [at for at, offer in enumerate(offers) if offer in null])


def tested_rows(
    users: pa.ChunkedArray,
    offer: str,
    told: tuple[Floats, Floats],
    effect: Floats,
    response: float,
    fold: NDArray[np.integer[Any]],
) -> pa.Table:
    """Rows of `market.tested`; told: score and chance."""
    named, same = pa.array([offer] * len(effect), pa.string()), np.full(len(effect), response)
    columns = (users, named, *told, effect, same, fold)
    return pa.table(dict(zip(TESTS.names, columns, strict=True))).cast(TESTS)
