"""Features of the shop's own, from [features.mine] in huaxiang.toml.

[features.mine.spend_weekend]
agg = "sum"
column = "amount"
where = "event == 'purchase' and weekday >= 6"
window = "90d"
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from huaxiang.errors import DefinitionError
from huaxiang.features.aggregations import (
    AnyEvent,
    Count,
    DecayedSum,
    First,
    Gap,
    Last,
    Max,
    Mean,
    Min,
    Recency,
    Sessions,
    Share,
    Sum,
    Trend,
)  # fmt: skip
from huaxiang.features.algebra import Aggregation, Feature
from huaxiang.features.keyed import (
    ActiveDays,
    Basket,
    DecayedTop,
    Distinct,
    Hours,
    Mode,
    NewShare,
    Orders,
    Quantile,
    TopShare,
    Weekdays,
)
from huaxiang.features.keyed import Sequence as LastEvents
from huaxiang.features.standard import standard_features
from huaxiang.settings import FeatureSettings, FeaturesSection

AGGREGATIONS: dict[str, Callable[[str], Aggregation]] = {
    "count": lambda column: Count(),
    "any": lambda column: AnyEvent(),
    "days": lambda column: ActiveDays(),
    "sum": Sum,
    "mean": Mean,
    "min": Min,
    "max": Max,
    "first": First,
    "last": Last,
    "decayed_sum": lambda column: DecayedSum(column or "1"),
    "recency": lambda column: Recency(),
    "gap": lambda column: Gap("mean"),
    "gap_std": lambda column: Gap("std"),
    "share": Share,  # column: the condition whose share is taken
    "trend": lambda column: Trend(Sum(column) if column else Count()),
    "sessions": lambda column: Sessions(),
    "orders": lambda column: Orders(),
    "basket": lambda column: Basket(column or "amount"),
    "distinct": Distinct,
    "new_share": NewShare,
    "top": DecayedTop,
    "top_share": TopShare,
    "mode": Mode,
    "hours": lambda column: Hours(),
    "weekdays": lambda column: Weekdays(),
    "median": lambda column: Quantile(column, 0.5),
    "sequence": lambda column: LastEvents(column or "item_id"),
}
_COLUMN_NEEDED = (
    "sum",
    "mean",
    "min",
    "max",
    "first",
    "last",
    "share",
    "distinct",
    "new_share",
    "top",
    "top_share",
    "mode",
    "median",
)


def declared_features(section: FeaturesSection, categories: Sequence[str] = (), *, sells: bool = True) -> list[Feature]:
    """Every feature the settings ask for: the standard set less `skip`, then the shop's own.

    raises: DefinitionError for an unknown aggregation, or a name to skip that does not exist
    """
    found = standard_features(categories, sells=sells) if section.standard else []
    known = {feature.name for feature in found}
    for name in section.skip:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise DefinitionError("features.unknown_skip", name=name, near=near[0] if near else "-")
    kept = [feature for feature in found if feature.name not in section.skip]
    return kept + [own_feature(name, declared) for name, declared in section.mine.items()]


def own_feature(name: str, declared: FeatureSettings) -> Feature:
    """The feature that one entry of [features.mine] declares; raises DefinitionError for an unknown aggregation."""
    if declared.agg not in AGGREGATIONS:
        near = difflib.get_close_matches(declared.agg, AGGREGATIONS, n=1)
        raise DefinitionError(
            "features.unknown_agg", name=name, agg=declared.agg, near=near[0] if near else ", ".join(AGGREGATIONS)
        )
    if declared.agg in _COLUMN_NEEDED and not declared.column:
        raise DefinitionError("features.no_column", name=name)
    agg = AGGREGATIONS[declared.agg](declared.column)
    meaning = declared.meaning or f"{declared.agg} {declared.column}".strip()
    return Feature(
        name, agg, declared.where, declared.window, declared.unit, meaning, meaning, group="mine", owner=declared.owner
    )
