"""RFM scores: where a customer stands among the shop's buyers. They need every user at once, so they come last.

A score is 1 + the fifth of the buyers that a user is above: 5 best. Equal values have equal scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from huaxiang.features.algebra import Aggregation, Feature, FeatureType

# score -> the feature it ranks, and the order that puts the best last
RANKED = {"r_score": ("recency_days", "DESC"), "f_score": ("orders_365d", "ASC"), "m_score": ("spend_365d", "ASC")}
SCORES = (*RANKED, "rfm")


@dataclass(frozen=True)
class Quintile(Aggregation):
    """1–5 by the user's rank among those who ever bought; of: the feature ranked, order: the one that puts the best last."""

    of: str = ""
    order: str = ""
    live: ClassVar[bool] = False


@dataclass(frozen=True)
class Rfm(Aggregation):
    """The three scores as one text such as 543."""

    of: tuple[tuple[str, str], ...] = tuple(RANKED.values())
    live: ClassVar[bool] = False
    type: ClassVar[FeatureType] = "text"


def unscored(features: list[Feature], standard: list[Feature]) -> list[Feature]:
    """The features that are computed before the scores: all others, and what the scores rank even where it is skipped."""
    found = [feature for feature in features if feature.name not in SCORES]
    if len(found) < len(features):
        ranked, names = {column for column, _ in RANKED.values()}, {feature.name for feature in found}
        found += [feature for feature in standard if feature.name in ranked - names]
    return found


def scored_sql(rows: str, features: list[Feature]) -> str:
    """`rows` (features of all users, one or more as-of dates) with the scores among `features` added."""
    wanted = [feature.name for feature in features if feature.name in SCORES]
    made_for = {feature.name for feature in features}
    unasked = "".join(f", {column}" for column, _ in RANKED.values() if column not in made_for)
    if not wanted:
        return f"SELECT * EXCLUDE (user_no) FROM {rows}"
    ranks = ", ".join(
        f"1 + floor(5.0 * (rank() OVER (PARTITION BY as_of ORDER BY {column} {order}) - 1) / count(*) OVER (PARTITION BY as_of))"
        f" AS {score}"
        for score, (column, order) in RANKED.items()
    )
    made = {score: f"s.{score}::DOUBLE" for score in RANKED}
    made["rfm"] = " || ".join(f"s.{score}::INT::VARCHAR" for score in RANKED)
    columns = ", ".join(f"{made[name]} AS {name}" for name in wanted)
    return (
        f"SELECT r.* EXCLUDE (user_no{unasked}), {columns} FROM {rows} AS r LEFT JOIN "
        f"(SELECT user_no, as_of, {ranks} FROM {rows} WHERE recency_days IS NOT NULL) AS s USING (user_no, as_of)"
    )
