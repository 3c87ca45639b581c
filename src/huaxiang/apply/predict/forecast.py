"""One forecast of everybody's buys and money: which head is used, what a likely number is, how far it may be off.

All of it is decided on the last third of the days that are known: the heads stand at its beginning, as they will stand at the end.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from huaxiang.apply.predict.buys import Buys
from huaxiang.apply.predict.heads import (
    HEADS,
    LEAST,
    Asked,
    Head,
    Learned,
    Rehearsal,
    ask,
    expect_two_part,
    learn,
    rehearse,
)
from huaxiang.apply.predict.spend import GammaGamma, fit_spend
from huaxiang.errors import ModelError
from huaxiang.models.curves import number_bins
from huaxiang.models.intervals import Intervals, fit_intervals
from huaxiang.models.metrics import Floats, spearman

log = logging.getLogger(__name__)

NEED_DAYS = 12  # of history: below, thirds and halves of it hold nothing
# How many customers' likely number is not none, in units of the buyers that BG/NBD expects; inf: everybody's.
BUYERS = (np.inf, 2.0, 1.5, 1.25, 1.0, 0.75)
LEVEL = 0.9  # of the intervals
PIECES = 12  # into which the days are cut for discounting


@dataclass(frozen=True)
class Span:
    """Intervals learned in units of the mean forecast, so that they serve a shorter or longer time."""

    learned: Intervals
    coverage: float  # on customers they were not learned from

    def apply(self, forecast: Floats) -> tuple[Floats, Floats]:
        """(N,) low and high."""
        unit = float(forecast.mean()) or 1.0
        low, high, _ = self.learned.apply(forecast / unit)
        return low * unit, high * unit


@dataclass(frozen=True)
class Choice:
    """What the last third said. tried: head -> deviance, mae, ratio there; left_out: head -> why it was not tried."""

    head: Head
    buyers: float
    tried: dict[Head, dict[str, float]]
    left_out: dict[Head, ModelError]
    day: int  # where the heads stood
    days: int  # for how long they were asked
    buys: Span
    money: Span | None


@dataclass(frozen=True)
class Forecast:
    """Of the customers of `asked`, (N,) each: expected and likely buys, and the money they bring (None: nobody paid anything)."""

    asked: Asked
    choice: Choice
    learned: Learned
    spend_model: GammaGamma | None
    expected: Floats
    likely: Floats
    spend: Floats | None
    value: Floats | None  # discounted
    discount: float

    @property
    def buys_span(self) -> tuple[Floats, Floats]:
        return self.choice.buys.apply(self.expected)

    @property
    def value_span(self) -> tuple[Floats, Floats] | None:
        return None if self.choice.money is None or self.value is None else self.choice.money.apply(self.value)


def forecast(buys: Buys, end: int, days: int, *, seed: int, discount: float = 0.0, level: float = LEVEL) -> Forecast:
    """The next `days` of everybody who bought by the end of day `end`; later buys in `buys` are not read.

    discount: what a year takes off money, 0.1 for a tenth
    raises: ModelError where the history is too short, or too few came again
    """
    known = buys.until(end)
    if len(known.day) == 0 or end - int(known.day.min()) + 1 < NEED_DAYS:
        length = end - int(known.day.min()) + 1 if len(known.day) else 0
        raise ModelError("predict.short_history", days=length, need=NEED_DAYS)
    asked = ask(known, end, days)  # first: it says what is wrong with the whole history
    choice = choose(known, end, days, seed=seed, discount=discount, level=level)
    expected, learned = _expect(choice.head, known, end, days, asked, seed=seed)
    model, spend = _spend(asked)
    value = None if spend is None else expected * spend * _worth(asked, discount)
    return Forecast(
        asked,
        choice,
        learned,
        model,
        expected,
        likely(expected, choice.buyers * _buyers(asked)),
        spend,
        value,
        discount,
    )


def choose(buys: Buys, end: int, days: int, *, seed: int, discount: float, level: float) -> Choice:
    """The head of least Poisson deviance over the last third, the cut of least absolute error, and the intervals there."""
    first = int(buys.day.min())
    day = first + (end - first + 1) * 2 // 3 - 1
    asked = ask(buys, day, min(days, end - day))
    truth, money = buys.after(day, asked.days, asked.buys)
    made: dict[Head, Floats] = {}
    left_out: dict[Head, ModelError] = {}
    for head in HEADS:
        try:
            made[head], _ = _expect(head, buys, day, asked.days, asked, seed=seed)
        except ModelError as error:  # too few to learn from: BG/NBD stands without it, and the report says so
            if head == "bg_nbd":
                raise
            left_out[head] = error
    tried = {head: {"deviance": deviance(truth, one)} | measure(truth, one) for head, one in made.items()}
    head = min(made, key=lambda one: (tried[one]["deviance"], HEADS.index(one)))
    share = min(BUYERS, key=lambda one: float(np.abs(likely(made[head], one * _buyers(asked)) - truth).mean()))
    _, spend = _spend(asked)
    value = None if spend is None else made[head] * spend * _worth(asked, discount)
    return Choice(
        head, share, tried, left_out, day, asked.days,
        _fit_span(truth, made[head], seed=seed, level=level),
        None if value is None else _fit_span(money, value, seed=seed, level=level),
    )  # fmt: skip


def likely(expected: Floats, buyers: float) -> Floats:
    """(N,) none for all but the `buyers` customers of greatest expectation, who share the whole sum in proportion.

    Most customers of a shop buy nothing for a long time: an expectation of .3 is never what happens. These numbers have a smaller
    absolute error and the same sum; they are no expectations.
    """
    count = int(min(max(buyers, 1), len(expected)))
    kept = np.where(expected >= np.partition(expected, -count)[-count], expected, 0.0)
    return kept * (expected.sum() / kept.sum())


def measure(truth: Floats, made: Floats) -> dict[str, float]:
    """mae, spearman and ratio (sum of the forecast over the sum that came)."""
    total = float(truth.sum())
    return {
        "mae": float(np.abs(truth - made).mean()),
        "spearman": spearman(truth, made),
        "ratio": float(made.sum()) / total if total else float("nan"),
    }


def deviance(truth: Floats, made: Floats) -> float:
    """Mean Poisson deviance: a proper score of expected counts, which punishes a wrong sum too."""
    made = np.maximum(made, LEAST)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(truth > 0, truth * np.log(truth / made), 0.0)
    return float(2 * (logs - truth + made).mean())


def examine(buys: Buys, end: int, days: int, *, seed: int, discount: float = 0.0) -> tuple[Forecast, dict[str, Any]]:
    """The forecast made at the end of day `end`, and how it did over the `days` after it: the hold-out report.

    metrics: of the likely, the expected and BG/NBD's numbers; groups: tenths by expected buys with what came; coverage of the intervals
    """
    made = forecast(buys, end, days, seed=seed, discount=discount)
    truth, money = buys.after(end, days, made.asked.buys)
    report: dict[str, Any] = {
        "days": days,
        "customers": len(truth),
        "buys": float(truth.sum()),
        "likely": measure(truth, made.likely),
        "expected": measure(truth, made.expected),
        "bg_nbd": measure(truth, made.asked.expected),
        "groups": number_bins(truth, made.expected),
        "coverage": {"level": LEVEL, "buys": _share_inside(truth, made.buys_span)},
    }
    if made.value is not None and made.value_span is not None:
        report["money"] = measure(money, made.value)
        report["coverage"]["money"] = _share_inside(money, made.value_span)
    return made, report


def _expect(head: Head, buys: Buys, end: int, days: int, asked: Asked, *, seed: int) -> tuple[Floats, Learned]:
    if head == "bg_nbd":
        return asked.expected, Learned()
    seen: Rehearsal = rehearse(buys, end, days)
    if head == "ziln":
        return expect_two_part(seen, asked, seed=seed), Learned()
    learned = learn(seen, seed=seed)
    return learned.expect(asked), learned


def _buyers(asked: Asked) -> float:
    """How many of the customers BG/NBD expects to buy at all."""
    return float(asked.model.bought_by(asked.known, asked.days).sum())


def _spend(asked: Asked) -> tuple[GammaGamma | None, Floats | None]:
    """Money a buy, from all buys of each customer; None where (nearly) nobody paid anything."""
    count = asked.known.frequency + 1
    try:
        model = fit_spend(count, asked.known.spend)
    except ModelError as error:
        log.info("no money forecast: %s", error.what())
        return None, None
    return model, model.expect(count, asked.known.spend)


def _worth(asked: Asked, discount: float) -> Floats | float:
    """(N,) what a coin of the coming days is worth today, by when BG/NBD expects the buys."""
    if discount == 0:
        return 1.0
    ends = asked.days * np.arange(1, PIECES + 1) / PIECES
    until = np.array([asked.model.expect(asked.known, end) for end in ends])
    each = np.maximum(np.diff(until, axis=0, prepend=0), 0)
    worth = (1 + discount) ** -((ends - asked.days / PIECES / 2) / 365)
    return worth @ each / np.maximum(each.sum(axis=0), 1e-12)


def _fit_span(truth: Floats, made: Floats, *, seed: int, level: float) -> Span:
    unit = float(made.mean()) or 1.0
    truth, made = truth / unit, made / unit
    half = np.random.default_rng(seed).permutation(len(truth)) % 2 == 0
    low, high, _ = fit_intervals("number", truth[half], made[half], level=level).apply(made[~half])
    return Span(
        fit_intervals("number", truth, made, level=level),
        float(np.mean((truth[~half] >= low) & (truth[~half] <= high))),
    )


def _share_inside(truth: Floats, span: tuple[Floats, Floats]) -> float:
    return float(np.mean((truth >= span[0] - 1e-9) & (truth <= span[1] + 1e-9)))
