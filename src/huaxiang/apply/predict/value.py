"""Customer lifetime value of a shop: from its purchases to one explained row a customer, and the report of a forecast that can be checked."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from huaxiang.apply.predict.buys import Buys, gather_buys
from huaxiang.apply.predict.forecast import Forecast, examine, forecast
from huaxiang.apply.predict.heads import ask
from huaxiang.apply.predict.next_buy import LEVELS, NextBuy, learn_next
from huaxiang.engine import Lake, Step
from huaxiang.engine.duck import quote
from huaxiang.errors import ModelError
from huaxiang.features.fakes import everything_sql, is_fake_sql
from huaxiang.models.card import plain
from huaxiang.models.metrics import Floats, spearman

log = logging.getLogger(__name__)
DAYS, DISCOUNT, SEED = 90, 0.1, 20260101
EPOCH = date(1970, 1, 1)
REASONS = 3
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("as_of", pa.timestamp("us")),
        ("days", pa.int64()),
        ("frequency", pa.float64()),
        ("recency_days", pa.float64()),
        ("age_days", pa.float64()),
        ("spend_mean", pa.float64()),
        ("p_alive", pa.float64()),
        ("expected_purchases", pa.float64()),
        ("likely_purchases", pa.float64()),
        ("purchases_low", pa.float64()),
        ("purchases_high", pa.float64()),
        ("spend_per_purchase", pa.float64()),
        ("value", pa.float64()),
        ("value_low", pa.float64()),
        ("value_high", pa.float64()),
        ("next_days_low", pa.float64()),
        ("next_days", pa.float64()),
        ("next_days_high", pa.float64()),
        ("reasons", pa.list_(pa.struct([("feature", pa.string()), ("value", pa.float64()), ("effect", pa.float64())]))),
        ("model", pa.string()),
        ("version", pa.string()),
    ]
)


@dataclass(frozen=True)
class Lines:
    """Purchases as the shop has them: `buys`, the day the forecast stands at, how many lines had no amount, and how many were left out."""

    buys: Buys
    end: int
    lines: int
    without_amount: int
    left_out: int


def read_buys(lake: Lake, *, as_of: date | None = None, without: Sequence[str] | None = ()) -> Lines:
    """What customers bought before `as_of` as it was known then (default: the last build's day), by the shop's own days.

    without: orders that do not count, by their id (None: those the guard holds fake)
    raises: ModelError where there is no purchase at all
    """
    engine = lake.engine
    events = everything_sql(lake)  # raises where nothing is built yet
    day = as_of or date.fromisoformat(lake.note("build")["as_of"])
    named = engine.load(pa.table({"order_id": pa.array(list(without or ()), pa.string())}))
    fake = (
        is_fake_sql(lake) if without is None else f"coalesce(order_id, '') IN (SELECT order_id FROM {named.get_name()})"
    )
    known = f"event = 'purchase' AND NOT visitor AND day < DATE '{day}' AND known_day < DATE '{day}'"
    left_out = int(engine.value(f"SELECT count(*) FROM ({events}) WHERE {known} AND {fake}"))
    bought = f"""
        SELECT user_no, user_id, (day - DATE '1970-01-01')::BIGINT AS day, amount, quantity FROM ({events})
        WHERE {known} AND NOT {fake}"""
    found = engine.arrow(f"""
        SELECT user_no, any_value(user_id) AS user_id, day, coalesce(sum(amount) FILTER (amount >= 0), 0)::DOUBLE AS paid,
            coalesce(sum(quantity), count(*))::DOUBLE AS pieces, count(*) AS lines, count(*) FILTER (amount IS NULL) AS bare
        FROM ({bought}) GROUP BY user_no, day ORDER BY user_no, day""")
    engine.drop(named)
    if not found.num_rows:
        raise ModelError("predict.no_purchases")
    numbers, places = np.unique(found.column("user_no").to_numpy(), return_index=True)
    users = np.asarray(found.column("user_id").take(pa.array(places)).to_pylist(), dtype=object)
    user = np.searchsorted(numbers, found.column("user_no").to_numpy()).astype(np.int64)
    paid, pieces = (found.column(name).to_numpy() for name in ("paid", "pieces"))
    buys = gather_buys(users, user, found.column("day").to_numpy(), paid, pieces)
    lines, bare = (int(found.column(name).to_numpy().sum()) for name in ("lines", "bare"))
    return Lines(buys, (day - EPOCH).days - 1, lines, bare, left_out)


def write_value(
    step: Step,
    *,
    days: int = DAYS,
    discount: float = DISCOUNT,
    seed: int = SEED,
    as_of: date | None = None,
    without: Sequence[str] | None = (),
) -> dict[str, Any]:
    """Writes `clv`, one row a customer who ever bought; gives the report: what was chosen and why, and how it did on the last days.

    days: of the forecast; discount: what a year takes off money; without: orders that do not count (None: those the guard holds fake)
    raises: ModelError where the history is too short, or too few customers came again
    """
    start = time.perf_counter()
    if not 1 <= days <= 3650 or not 0 <= discount < 1:
        raise ModelError("predict.wrong_days", days=days, discount=discount)
    lines = read_buys(step.lake, as_of=as_of, without=without)
    buys, end = lines.buys, lines.end
    made = forecast(buys, end, days, seed=seed, discount=discount)
    again = learn_next(buys, ask(buys, made.choice.day, made.choice.days), seed=seed)
    version = _version(made)
    standing = datetime.combine(EPOCH + timedelta(days=end + 1), datetime.min.time())
    step.replace("clv", _rows(made, again, standing, version))
    report = {
        "as_of": standing.date().isoformat(),
        "days": days,
        "discount": discount,
        "customers": len(buys),
        "repeat": int((made.asked.known.frequency > 0).sum()),
        "lines": lines.lines,
        "without_amount": lines.without_amount,
        "left_out": lines.left_out,
        "version": version,
        "model": {name: getattr(made.asked.model, name) for name in ("r", "alpha", "a", "b")},
        "spend_model": None if made.spend_model is None else vars(made.spend_model),
        "frequency_and_spend": spearman(made.asked.known.frequency, made.asked.known.spend),
        "choice": _choice(made),
        "expected": float(made.expected.sum()),
        "value": None if made.value is None else float(made.value.sum()),
        "shares": _shares(made.value if made.value is not None else made.expected),
        "next": {"levels": {f"{level:g}": share for level, share in again.measured.items()}, "days": made.choice.days},
        "holdout": _holdout(buys, end, days, seed=seed, discount=discount),
    }  # fmt: skip
    report["seconds"] = time.perf_counter() - start
    log.info("clv: %d customers, %s, %.1f s", len(buys), made.choice.head, report["seconds"])
    found = plain(report)
    assert isinstance(found, dict)
    return found


def read_customer(lake: Lake, user_id: str) -> dict[str, Any] | None:
    """The row of `user_id` (a pseudonym) in `clv` (None: they never bought)."""
    rows = lake.engine.rows(f"SELECT * FROM ({lake.engine.sql(lake.table('clv'))}) WHERE user_id = {quote(user_id)}")
    return rows[0] if rows else None


def _holdout(buys: Buys, end: int, days: int, *, seed: int, discount: float) -> dict[str, Any]:
    """The same forecast made `days` earlier (a third of the history at most), beside what came; or why there is none."""
    held = min(days, (end - int(buys.day.min()) + 1) // 3)
    try:
        made, report = examine(buys, end - held, held, seed=seed, discount=discount)
    except ModelError as error:
        return {"why": {"en": error.what("en"), "zh": error.what("zh")}}
    return report | {"head": made.choice.head}


def _choice(made: Forecast) -> dict[str, Any]:
    choice = made.choice
    return {
        "head": choice.head,
        "tried": dict(choice.tried),
        "left_out": {head: {"en": error.what("en"), "zh": error.what("zh")} for head, error in choice.left_out.items()},
        "days": choice.days,
        "coverage": {"buys": choice.buys.coverage, "money": choice.money.coverage if choice.money else None},
    }


def _shares(value: Floats) -> list[float]:
    """What part of the whole each tenth of the customers brings, the strongest first."""
    ordered = np.sort(value)[::-1]
    total = float(ordered.sum()) or 1.0
    return [float(part.sum()) / total for part in np.array_split(ordered, 10)]


def _rows(made: Forecast, again: NextBuy, standing: datetime, version: str) -> pa.Table:
    known, count = made.asked.known, len(made.asked.known)
    low, high = made.buys_span
    none = np.full(count, np.nan)
    money_low, money_high = made.value_span or (none, none)
    waits = [again.days(made.asked, level) for level in LEVELS]
    columns: list[Any] = [
        pa.array(made.asked.buys.users.tolist(), pa.string()),
        pa.repeat(pa.scalar(standing, pa.timestamp("us")), count),
        np.full(count, made.asked.days),
        known.frequency, known.recency, known.age, known.spend, made.asked.model.alive(known),
        made.expected, made.likely, low, high,
        none if made.spend is None else made.spend, none if made.value is None else made.value, money_low, money_high,
        *(np.where(np.isfinite(wait), wait, np.nan) for wait in waits),
        _reasons(made),
        pa.repeat(made.choice.head, count),
        pa.repeat(version, count),
    ]  # fmt: skip
    arrays = [
        pa.array(one, mask=np.isnan(one) if one.dtype.kind == "f" else None) if isinstance(one, np.ndarray) else one
        for one in columns
    ]
    return pa.Table.from_arrays(arrays, names=SCHEMA.names).cast(SCHEMA)


def _reasons(made: Forecast) -> pa.ListArray:
    """The columns that moved each customer's expectation most beside BG/NBD's, as logarithms of a factor. Of BG/NBD alone the three numbers
    that it reads: how often, how lately (days from the first to the last purchase), and the spend; they carry no effect of their own."""
    count = len(made.expected)
    if not made.learned.runs:
        return _plain_reasons(made)
    width = REASONS
    effects = made.learned.explain(made.asked)
    top = np.argsort(-np.abs(effects), axis=1, kind="stable")[:, :width]
    every = np.arange(count)[:, None]
    values = made.asked.x.values[every, top].ravel()
    rows = pa.StructArray.from_arrays(
        [
            pa.array(made.asked.x.columns, pa.string()).take(pa.array(top.ravel(), pa.int64())),
            pa.array(values, pa.float64(), mask=np.isnan(values)),
            pa.array(effects[every, top].ravel(), pa.float64()),
        ],
        names=["feature", "value", "effect"],
    )
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * width), rows)


def _plain_reasons(made: Forecast) -> pa.ListArray:
    known = made.asked.known
    columns = {"frequency": known.frequency, "recency_days": known.recency, "spend_mean": known.spend}
    values = np.column_stack([np.asarray(one, dtype=float) for one in columns.values()]).ravel()
    count = len(known)
    rows = pa.StructArray.from_arrays(
        [
            pa.array(list(columns) * count, pa.string()),
            pa.array(values, pa.float64(), mask=np.isnan(values)),
            pa.nulls(len(values), pa.float64()),
        ],
        names=["feature", "value", "effect"],
    )
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * len(columns)), rows)


def _version(made: Forecast) -> str:
    """The first 12 hex digits of a hash of all that was learned: equal models, equal version."""
    model = made.asked.model
    text = repr(
        (model.r, model.alpha, model.a, model.b, made.spend_model, made.choice.head, made.choice.buyers, made.discount)
    )
    return hashlib.sha256((text + "".join(run.text for run in made.learned.runs)).encode()).hexdigest()[:12]
