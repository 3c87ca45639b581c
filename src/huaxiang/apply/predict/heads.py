"""What a customer will buy, by three forecasters of one shape: BG/NBD alone, BG/NBD corrected by boosting, and a two-part head.

The learned ones rehearse first: standing in the middle of what is known, they see what came after. There they learn; then they are
asked at the end of what is known. Nothing after that end is ever read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from huaxiang.apply.predict.bgnbd import BgNbd, fit_bgnbd
from huaxiang.apply.predict.buys import Buys, Summary, first_places, summarise
from huaxiang.errors import ModelError
from huaxiang.models.counts import CountConfig, Counts
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import BoostingConfig, Matrix, make_model

Head = Literal["bg_nbd", "corrected", "ziln"]
HEADS: tuple[Head, ...] = ("bg_nbd", "corrected", "ziln")
NEED_ROWS = 500  # customers of the rehearsal below which boosting has nothing to say
LEAST = 1e-6  # an expectation is never taken as less, for its logarithm is
RUNS = 5  # boosted models that are averaged, each on its own draw of rows and columns


@dataclass(frozen=True)
class Asked:
    """Customers as a forecaster sees them at the end of day `end`: (N,) each; `x` the columns of the learned heads."""

    end: int
    buys: Buys
    known: Summary
    model: BgNbd
    days: int
    expected: Floats  # buys in the next `days`, by BG/NBD
    x: Matrix


def ask(buys: Buys, end: int, days: int) -> Asked:
    """What is known of each customer at the end of day `end`, asked for the next `days`."""
    known = buys.until(end)
    summary = summarise(known, end)
    model = fit_bgnbd(summary)
    expected = np.maximum(model.expect(summary, days), LEAST)
    return Asked(end, known, summary, model, days, expected, describe(known, summary, end))


def describe(buys: Buys, known: Summary, end: int) -> Matrix:
    """(N, F) what the learned heads look at."""
    start, count = first_places(buys)
    last = start + count - 1
    again = buys.day > buys.day[start][buys.user]  # repeat buys
    length = end - int(buys.day.min()) + 1

    def recent(days: float) -> Floats:
        return np.bincount(buys.user[again & (buys.day > end - days)], minlength=len(buys)).astype(float)

    quiet = known.age - known.recency
    gap = np.divide(known.recency, known.frequency, out=np.full(len(buys), np.nan), where=known.frequency > 0)
    columns = {
        "frequency": known.frequency,
        "recency_days": known.recency,
        "age_days": known.age,
        "quiet_days": quiet,
        "quiet_share": quiet / np.maximum(known.age, 1),
        "gap_days": gap,
        "quiet_gaps": np.divide(quiet, gap, out=np.full(len(buys), np.nan), where=gap > 0),
        "rate": known.frequency / np.maximum(known.age, 1),
        "recent_28d": recent(28),
        "recent_56d": recent(56),
        "recent_quarter": recent(length / 4),
        "recent_half": recent(length / 2),
        "first_paid": buys.paid[start],
        "last_paid": buys.paid[last],
        "paid": np.bincount(buys.user, weights=buys.paid, minlength=len(buys)),
        "paid_mean": known.spend,
        "first_pieces": buys.pieces[start],
        "last_pieces": buys.pieces[last],
        "pieces": np.bincount(buys.user, weights=buys.pieces, minlength=len(buys)),
        "piece_price": buys.paid[start] / np.maximum(buys.pieces[start], 1),
    }
    return Matrix(tuple(columns), np.column_stack(list(columns.values())))


@dataclass(frozen=True)
class Rehearsal:
    """A day in the middle of what is known, and the buys (N,) that came after it until the end."""

    asked: Asked
    buys: Floats


def rehearse(buys: Buys, end: int, days: int) -> Rehearsal:
    """Half of the days until `end`, asked for as many again (or `days`, where that is less)."""
    first = int(buys.day.min())
    middle = first + (end - first + 1) // 2 - 1
    asked = ask(buys, middle, min(days, end - middle))
    return Rehearsal(asked, buys.after(middle, asked.days, asked.buys)[0])


@dataclass(frozen=True)
class Learned:
    """The fitted correction (None: BG/NBD alone), with what it multiplies: an Asked's expectation."""

    runs: tuple[Counts, ...] = ()

    def expect(self, asked: Asked) -> Floats:
        """(N,) buys expected of the customers asked for."""
        if not self.runs:
            return asked.expected
        return asked.expected * np.mean([run.factor(asked.x) for run in self.runs], axis=0)

    def explain(self, asked: Asked) -> Floats:
        """(N, F) by how much each column moves the logarithm of the expectation."""
        if not self.runs:
            return np.zeros((len(asked.known), len(asked.x.columns)))
        return np.asarray(sum(run.explain(asked.x)[0] for run in self.runs)) / len(self.runs)


def learn(seen: Rehearsal, *, seed: int) -> Learned:
    """The correction as the rehearsal teaches it; raises ModelError where its customers are too few."""
    count = len(seen.buys)
    if count < NEED_ROWS:
        raise ModelError("predict.few_to_learn", customers=count, need=NEED_ROWS)
    config = CountConfig(leaf_rows=int(np.clip(count // 200, 20, 100)))
    asked = seen.asked
    return Learned(
        tuple(Counts(config).fit(asked.x, seen.buys, asked.expected, seed=seed + run) for run in range(RUNS))
    )


def expect_two_part(seen: Rehearsal, asked: Asked, *, seed: int) -> Floats:
    """(N,) buys expected by the zero-inflated lognormal: the chance to buy at all × the mean of a lognormal.

    source: Wang, Liu & Miao 2019 (ZILN), eq. 3, with two gradient boostings in place of one network; both see times as shares of the
    history's length, since the rehearsal's was shorter.
    """
    some = seen.buys > 0
    if len(some) < NEED_ROWS:
        raise ModelError("predict.few_to_learn", customers=len(some), need=NEED_ROWS)
    if int(some.sum()) < NEED_ROWS // 5:
        raise ModelError("predict.few_to_learn", customers=int(some.sum()), need=NEED_ROWS // 5)
    here, there = _shares(seen.asked), _shares(asked)
    settings = {"leaves": 7, "leaf_rows": 100, "rate": 0.03, "trees": 150, "threads": 1}
    chance = make_model(BoostingConfig("binary", **settings)).fit(here, some.astype(float), seed=seed)  # type: ignore[arg-type]
    bought = here.rows(np.flatnonzero(some))
    logs = np.log(seen.buys[some])
    size = make_model(BoostingConfig("number", **settings)).fit(bought, logs, seed=seed)  # type: ignore[arg-type]
    spread = float(np.var(logs - size.score(bought)))
    return chance.score(there) * np.exp(size.score(there) + spread / 2)


def _shares(asked: Asked) -> Matrix:
    """The columns with times as shares of the history's length, and BG/NBD's expectation beside them."""
    length = asked.end - int(asked.buys.day.min()) + 1
    values = asked.x.values.copy()
    for at, name in enumerate(asked.x.columns):
        if name.endswith("_days"):
            values[:, at] /= length
    kept = [at for at, name in enumerate(asked.x.columns) if name not in ("recent_28d", "recent_56d", "rate")]
    columns = (*(asked.x.columns[at] for at in kept), "expected")
    return Matrix(columns, np.column_stack([values[:, kept], np.log(asked.expected)]))
