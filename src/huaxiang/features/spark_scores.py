"""RFM scores on Spark: where a customer stands among the buyers. The least value that reaches a score is a constant of the shop
and as-of date (spark_ranks.py); a score is then read off those constants, row by row.
"""

from __future__ import annotations

from functools import reduce

import ibis

from huaxiang.engine.spark import SparkEngine
from huaxiang.features.algebra import Feature
from huaxiang.features.scores import RANKED, SCORES
from huaxiang.features.spark_ranks import rank_values

NEVER = float("inf")

Least = dict[str, list[float]]  # score and as-of day -> the least value that reaches 1, 2 … 5


def add_scores(engine: SparkEngine, rows: ibis.Table, features: list[Feature]) -> ibis.Table:
    """`rows` (user_id, as_of_no, features) with the scores among `features` added, in the order the build on DuckDB has them."""
    wanted = [feature.name for feature in features if feature.name in SCORES]
    unasked = {column for column, _ in RANKED.values()} - {feature.name for feature in features}
    if not wanted:
        return rows
    bought = rows.recency_days.notnull()
    values = {score: rows[column] if order == "ASC" else -rows[column] for score, (column, order) in RANKED.items()}
    stacked = [
        rows.filter(bought).select(key=ibis.literal(f"{score} ") + rows.as_of_no.cast("string"), value=value)
        for score, value in values.items()
    ]
    least = find_least(engine, reduce(lambda one, other: one.union(other), stacked))
    made = {
        score: ibis.ifelse(bought, _score(score, rows.as_of_no, value, least), ibis.null("float64"))
        for score, value in values.items()
    }
    text = [found.cast("int32").cast("string") for found in made.values()]
    made["rfm"] = text[0] + text[1] + text[2]
    return rows.mutate(**{name: made[name] for name in wanted}).drop(*sorted(unasked))


def find_least(engine: SparkEngine, rows: ibis.Table) -> Least:
    """The least `value` of a `key` that reaches each level: 1 + ⌊5 · (those below) ÷ (all)⌋."""
    ranks = rank_values(engine, rows)
    if not ranks.totals:
        return {}
    table = ranks.table
    whole = ibis.cases(*((table.key == key, total) for key, total in ranks.totals.items())).cast("float64")
    levels = table.mutate(level=1 + (5.0 * table.below / whole).floor().cast("int32"))
    found: Least = {key: [NEVER] * 5 for key in ranks.totals}
    for row in engine.rows(levels.group_by("key", "level").aggregate(least=lambda t: t.value.min())):
        found[row["key"]][row["level"] - 1] = row["least"]
    return found


def _score(score: str, day: ibis.Value, value: ibis.Value, least: Least) -> ibis.Value:
    cases = []
    for key, values in least.items():
        name, _, number = key.partition(" ")
        reached = [(value >= values[at], at + 1.0) for at in range(4, 0, -1) if values[at] < NEVER]
        if name == score:
            cases.append((day == int(number), ibis.cases(*reached, else_=1.0) if reached else ibis.literal(1.0)))
    return ibis.cases(*cases, else_=ibis.null("float64")) if cases else ibis.null("float64")
