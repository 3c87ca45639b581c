"""Association rules: what goes with what in one order, among all that a customer buys, and among their traits; found in one half of the
customers and held on the other.

A hash splits the customers. In the first half FP-growth (mlxtend) finds the sets of up to four things that are frequent; the rules of
them that say more than each of their parts, the surest TESTED at most, are then asked of the second half, which chose nothing. Told are
those that hold there by Holm's correction for all that were asked: the lift is above 1, and the rule says more than any part of it alone.
Support, confidence, lift and its interval are the second half's, so none is flattered by having been chosen.

source: Han, Pei & Yin 2000 (FP-growth, as mlxtend has it); Webb 2007 (rules held on data that did not find them, productive rules);
Holm 1979; the interval of log lift by the delta method, orders of one customer taken together
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from huaxiang.apply.market.holdout import place_sql
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import DefinitionError, ShopError
from huaxiang.models.metrics import Floats

Over = Literal["orders", "customers", "traits"]
OVERS: tuple[Over, ...] = ("orders", "customers", "traits")
LEAST = 20  # rows of either half that a rule rests on
SUPPORT: Mapping[Over, float] = {"orders": 0.001, "customers": 0.005, "traits": 0.02}  # of the rows, at least
MINED, HELD = (
    20_000,
    500_000,
)  # rows of the first and of the second half, at most: mlxtend's tree is Python's own objects
ITEMS = 150  # the most frequent
TESTED = 500
LONGEST = 3  # things in a rule; four at most
LEVEL = 0.05
TRAITS = (
    "lifecycle", "value_tier", "channel_top", "age_band", "gender", "region", "occupation", "education", "marital_status",
    "household_size", "children", "income_band", "member_level", "signup_channel",
)  # fmt: skip
CATEGORY, APART = "category", "\x1f"
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rule:
    """`given` -> `then`, each thing as [trait or "category", value]; `rows`: of the second half that hold both; p: Holm's."""

    given: list[list[str]]
    then: list[str]
    rows: int
    support: float
    confidence: float
    lift: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Half:
    """Rows of one half. pairs: (P,) the row and the item of each thing held; owner: (N,) whose row it is, from 0 on."""

    row: Ints
    item: Ints
    owner: Ints

    def holds(self, item: int) -> Bools:
        """(N,) which rows hold it."""
        made = np.zeros(len(self.owner), dtype=bool)
        made[self.row[self.item == item]] = True
        return made


def find_associations(
    lake: Lake, over: Over, *, days: int = 180, longest: int = LONGEST, least: int = LEAST, best: int = 30
) -> dict[str, Any]:
    """Rules over `orders`, `customers` (all that each bought) or `traits`; {"over", "as_of", "version", "found_on", "held_on", "tested",
    "held", "rules"}, those of the greatest lower end of the lift first.

    days: how far back purchases are read; longest: things in a rule, both sides together, 2 to 4; least: rows it rests on in either half
    raises: ShopError where mlxtend is not installed
    """
    if not 2 <= longest <= 4:
        raise DefinitionError("market.rules_longest", longest=longest)
    over = over_of(over)
    if find_spec("mlxtend") is None:
        raise ShopError("market.no_mlxtend")
    names, first, second = _read_halves(lake, over, days, least)
    asked = _mine(first, len(names), over, longest, least)
    rules = hold_rules(asked, second, least)
    told = [
        Rule([names[at].split(APART, 1) for at in rule.given], names[rule.then].split(APART, 1), **rule.figures)
        for rule in sorted(rules, key=lambda one: -one.figures["low"])[:best]
    ]
    found = {
        "over": over,
        "as_of": str(lake.note("build").get("as_of", ""))[:10],
        "found_on": len(first.owner),
        "held_on": len(second.owner),
        "tested": len(asked),
        "held": len(rules),
        "rules": [asdict(one) for one in told],
    }
    return found | {"version": hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:12]}


def over_of(text: str) -> Over:
    """What rules may be found over; raises DefinitionError with the nearest for anything else."""
    for one in OVERS:
        if text == one:
            return one
    near = difflib.get_close_matches(text, OVERS, n=1) or [", ".join(OVERS)]
    raise DefinitionError("market.rules_over", over=text, near=near[0])


def _base_sql(lake: Lake, over: Over, days: int) -> str:
    """SQL of owner, key (of the row) and what, once each."""
    engine = lake.engine
    if over == "traits":
        table = lake.table("profiles")
        columns = [name for name in TRAITS if name in table.columns and table.schema()[name].is_string()]
        parts = [(name, name) for name in columns]
        if "top_categories" in table.columns:
            parts.append(("top_categories", "top_categories[1].key"))
        source = engine.sql(table)
        return " UNION ALL ".join(
            f"SELECT user_id AS owner, user_id AS key, {quote(name + APART)} || {value} AS what FROM ({source}) WHERE {value} IS NOT NULL "
            f"AND {value} <> 'none'"  # of a tier: who bought nothing, as the stage says
            for name, value in parts
        )
    as_of = str(lake.note("build")["as_of"])[:10]
    key = "coalesce(order_key::VARCHAR, user_id || day)" if over == "orders" else "user_id"
    return (
        f"SELECT DISTINCT user_id AS owner, {key} AS key, {quote(CATEGORY + APART)} || coalesce(category_2, category_top) AS what "
        f"FROM ({engine.sql(lake.table('ready.events'))}) WHERE event = 'purchase' AND coalesce(category_2, category_top) IS NOT NULL "
        f"AND day < DATE '{as_of}' AND day >= DATE '{as_of}' - INTERVAL {days} DAY"
    )


def _read_halves(lake: Lake, over: Over, days: int, least: int) -> tuple[list[str], Half, Half]:
    """The frequent things' names, and both halves; which are frequent the first half says."""
    engine = lake.engine
    held = engine.store(f"SELECT *, {place_sql('rules', 'owner')} AS place FROM ({_base_sql(lake, over, days)})")
    try:
        rows = {
            half: int(engine.value(f"SELECT count(DISTINCT key) FROM {held} WHERE {where}"))
            for half, where in ((1, "place < 0.5"), (2, "place >= 0.5"))
        }
        need = max(least, SUPPORT[over] * rows[1])
        listed = engine.rows(
            f"SELECT what, count(*) AS n FROM {held} WHERE place < 0.5 GROUP BY 1 HAVING n >= {need} ORDER BY n DESC, what LIMIT {ITEMS}"
        )
        names = [row["what"] for row in listed]
        numbers = ", ".join(f"({quote(name)}, {at})" for at, name in enumerate(names)) or "('', -1)"
        upper = 0.5 * min(1.0, MINED / max(rows[1], 1))
        lower = 1 - 0.5 * min(1.0, HELD / max(rows[2], 1))
        halves = []
        for where in (f"place < {upper!r}", f"place >= {lower!r}"):
            found = engine.arrow(
                f"SELECT dense_rank() OVER (ORDER BY owner, key) - 1 AS row, dense_rank() OVER (ORDER BY owner) - 1 AS owner, coalesce(n.item, -1) AS item "
                f"FROM (SELECT * FROM {held} WHERE {where}) LEFT JOIN (VALUES {numbers}) AS n(what, item) USING (what)"
            )
            row, who, item = (found.column(name).to_numpy().astype(np.int64) for name in ("row", "owner", "item"))
            owner = np.zeros(int(row.max(initial=-1)) + 1, np.int64)
            owner[row] = who
            halves.append(Half(row, item, owner))
    finally:
        engine.drop(held)
    return names, halves[0], halves[1]


@dataclass(frozen=True)
class Asked:
    """A rule of the first half, by the items' numbers."""

    given: tuple[int, ...]
    then: int


@dataclass(frozen=True)
class Held:
    """A rule that the second half holds, and its figures there."""

    given: tuple[int, ...]
    then: int
    figures: dict[str, Any]


def _mine(half: Half, items: int, over: Over, longest: int, least: int) -> list[Asked]:
    """The productive rules of the first half with one consequence, the surest first; TESTED at most."""
    import pandas as pd
    from mlxtend.frequent_patterns import association_rules, fpgrowth

    count = len(half.owner)
    if not items or count < 2 * least:
        return []
    held = np.zeros((count, items), dtype=bool)
    held[half.row[half.item >= 0], half.item[half.item >= 0]] = True
    need = max(least / count, SUPPORT[over])
    sets = fpgrowth(pd.DataFrame(held), min_support=need, max_len=longest)
    if sets.empty or not (sets["itemsets"].map(len) > 1).any():
        return []
    rules = association_rules(sets, num_itemsets=count, metric="lift", min_threshold=1.0 + 1e-9)
    rules = rules[rules["consequents"].map(len) == 1]
    sure = {(given, then): confidence for given, then, confidence in zip(rules["antecedents"], rules["consequents"], rules["confidence"], strict=True)}  # fmt: skip
    ranked = []
    for given, then, both, one, other, lift in zip(
        *(rules[name] for name in ("antecedents", "consequents", "support", "antecedent support", "consequent support", "lift")),
        strict=True,
    ):  # fmt: skip
        parts = [sure.get((given - {thing}, then), 0.0) for thing in given] if len(given) > 1 else []
        if all(sure[given, then] > part for part in parts):
            spread = max(1 / both - 1 / one - 1 / other + 1, 1e-12) / count  # roughly: to rank by, no more
            ranked.append((np.log(lift) / np.sqrt(spread), sorted(given), next(iter(then))))
    ranked.sort(key=lambda one: (-one[0], one[1], one[2]))
    return [Asked(tuple(int(thing) for thing in given), int(then)) for _, given, then in ranked[:TESTED]]


def hold_rules(asked: list[Asked], half: Half, least: int) -> list[Held]:
    """The rules that `half` holds, by Holm over all `asked`: the lift is above 1, and each says more than any of its parts."""
    holds = {item: half.holds(item) for rule in asked for item in (*rule.given, rule.then)}
    measured = [_measure(rule, half, holds) for rule in asked]
    adjusted = holm(np.array([one["p"] for one in measured]))
    return [
        Held(rule.given, rule.then, figures | {"p": float(p)})
        for rule, figures, p in zip(asked, measured, adjusted, strict=True)
        if figures["rows"] >= least and p <= LEVEL
    ]


def _measure(rule: Asked, half: Half, holds: Mapping[int, Bools]) -> dict[str, Any]:
    """The rule's figures; p: that it says no more than chance, or than the part of it that says most."""
    everyone = np.ones(len(half.owner), dtype=bool)
    then = holds[rule.then]
    given = np.logical_and.reduce([holds[item] for item in rule.given])
    both = given & then
    if not both.any():
        return {"rows": 0, "p": 1.0}
    parts = [
        np.logical_and.reduce([everyone, *(holds[one] for one in rule.given if one != item)]) for item in rule.given
    ]
    gain, error = _gain(given, everyone, then, half.owner)
    gains = [(gain, error), *(_gain(given, part, then, half.owner) for part in parts if len(rule.given) > 1)]
    return {
        "rows": int(both.sum()),
        "support": float(both.mean()),
        "confidence": float(both.sum() / given.sum()),
        "lift": float(np.exp(gain)),
        "low": float(np.exp(gain - 1.96 * error)),
        "high": float(np.exp(gain + 1.96 * error)),
        "p": max(_above(*one) for one in gains),
    }


def _gain(given: Bools, part: Bools, then: Bools, owner: Ints) -> tuple[float, float]:
    """The logarithm of how many times as sure `then` is among `given` as among `part`, and its standard error; rows of one owner
    together."""
    both, some = given & then, part & then
    pull = both / both.mean() - given / given.mean() - some / some.mean() + part / part.mean()  # (N,) of each row
    error = np.sqrt((np.bincount(owner, weights=pull) ** 2).sum()) / len(owner)
    return float(np.log(both.sum() / given.sum() * part.sum() / some.sum())), float(error)


def _above(gain: float, error: float) -> float:
    """The chance of such a gain or more where there is none."""
    if error < 1e-12:  # nothing varies: both are the same rows, or tell the same
        return 0.0 if gain > 1e-12 else 1.0
    return 0.5 * math.erfc(gain / error / math.sqrt(2))


def holm(p: Floats) -> Floats:
    """Each p corrected for all of them: none below LEVEL is a mistake with chance 1 − LEVEL."""
    order = np.argsort(p, kind="stable")
    made = np.empty(len(p))
    made[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))) if len(p) else p
    return made
