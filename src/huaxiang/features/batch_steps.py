"""The arithmetic of what has no fold: an exact quantile of a customer's own values, a score among all buyers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.features.algebra import Feature
from huaxiang.features.keyed import Quantile
from huaxiang.features.nodes import sql
from huaxiang.features.plan import Plan
from huaxiang.features.scores import RANKED
from huaxiang.features.windows import AS_OF
from huaxiang.words import Words


@dataclass(frozen=True)
class Step:
    """One figure of the arithmetic: its letter, what it is, its value."""

    name: str
    what: str
    value: Any


def batch_steps(lake: Lake, feature: Feature, user_id: str, as_of: date, words: Words) -> tuple[tuple[Step, ...], str]:
    """The figures a quantile or a score is made of, and the formula; of anything else, how it is worked out."""
    if isinstance(feature.agg, Quantile):
        return _quantile(lake, feature, feature.agg, user_id, as_of, words)
    held = set(lake.table("features").columns)
    if feature.name in RANKED and RANKED[feature.name][0] in held and "recency_days" in held:
        return _rank(lake, feature.name, user_id, words)
    if feature.name == "rfm" and set(RANKED) <= held:
        found = _row(lake, ", ".join(RANKED), user_id)
        steps = tuple(Step(chr(ord("a") + place), name, found[name]) for place, name in enumerate(RANKED))
        return steps, words("features.explain.side_by_side")
    return (Step("a", words("features.explain.batch", definition=feature.text()), None),), words(
        "features.explain.exact"
    )


def _row(lake: Lake, columns: str, user_id: str) -> dict[str, Any]:
    features = lake.engine.sql(lake.table("features"))
    return lake.engine.rows(f"SELECT {columns} FROM ({features}) WHERE user_id = {quote(user_id)}")[0]


def _rank(lake: Lake, score: str, user_id: str, words: Words) -> tuple[tuple[Step, ...], str]:
    """rank() over the buyers, best last: 1 + how many of them stand before."""
    of, order = RANKED[score]
    features = lake.engine.sql(lake.table("features"))
    own = _row(lake, f"{of} AS own, recency_days AS bought", user_id)
    before = f"{of} {'>' if order == 'DESC' else '<'} {own['own']}::DOUBLE" if own["bought"] is not None else "false"
    found = lake.engine.rows(
        f"SELECT count(*) AS buyers, count(*) FILTER ({before}) AS before FROM ({features}) WHERE recency_days IS NOT NULL"
    )[0]
    how = "longer" if order == "DESC" else "less"
    steps = (
        Step("a", words("features.explain.own", of=of), own["own"]),
        Step("b", words("features.explain.buyers"), found["buyers"]),
        Step("c", words(f"features.explain.before_{how}", of=of), found["before"]),
    )
    return steps, "1 + ⌊5 × c ÷ b⌋"


def _quantile(
    lake: Lake, feature: Feature, agg: Quantile, user_id: str, as_of: date, words: Words
) -> tuple[tuple[Step, ...], str]:
    """Between the two sorted values on either side of place q · (n − 1), counted from 0."""
    place = feature.place(Plan())
    kept = (agg.evidence_sql(place) or "true").replace(AS_OF, f"DATE '{as_of}'")
    events = lake.engine.sql(lake.table("ready.events"))
    values = (
        f"SELECT ({sql(place.amount(agg.column))})::DOUBLE AS v FROM ({events}) "
        f"WHERE user_id = {quote(user_id)} AND known_day < DATE '{as_of}' AND {kept}"
    )
    at = f"({agg.q}::DOUBLE * (count(v) - 1))"
    found = lake.engine.rows(
        f"SELECT count(v) AS n, {at} AS at, list(v ORDER BY v)[floor({at})::BIGINT + 1] AS low, "
        f"list(v ORDER BY v)[ceil({at})::BIGINT + 1] AS high FROM ({values})"
    )[0]
    if not found["n"]:
        return (Step("n", words("features.explain.values", column=agg.column), 0),), "–"
    steps = (
        Step("n", words("features.explain.values", column=agg.column), found["n"]),
        Step("p", words("features.explain.at", q=f"{agg.q:g}"), found["at"]),
        Step("a", words("features.explain.below"), found["low"]),
        Step("b", words("features.explain.above"), found["high"]),
    )
    return steps, "a + (b − a) × (p − ⌊p⌋)"
