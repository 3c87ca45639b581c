"""Features of the shop's own, from [features.mine] in huaxiang.toml.

[features.mine.spend_weekend]
agg = "sum"
column = "amount"
where = "event == 'purchase' and weekday >= 6"
window = "90d"
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from huaxiang.errors import DefinitionError
from huaxiang.features.aggregations import (
    AnyEvent,
    Count,
    DecayedSum,
    FeatureRatio,
    First,
    Gap,
    Last,
    Max,
    Mean,
    Min,
    Recency,
    Sessions,
    Share,
    Streak,
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
    PriceBands,
    Quantile,
    TopShare,
    Weekdays,
)
from huaxiang.features.keyed import Sequence as LastEvents
from huaxiang.features.scores import SCORES
from huaxiang.features.standard import standard_features
from huaxiang.settings import FeatureSettings, FeaturesSection

DEFAULT_BANDS: tuple[float, ...] = PriceBands().edges
AGGREGATIONS: dict[str, Callable[[FeatureSettings], Aggregation]] = {
    "count": lambda of: Count(),
    "any": lambda of: AnyEvent(),
    "days": lambda of: ActiveDays(),
    "sum": lambda of: Sum(of.column),
    "mean": lambda of: Mean(of.column),
    "min": lambda of: Min(of.column),
    "max": lambda of: Max(of.column),
    "first": lambda of: First(of.column),
    "last": lambda of: Last(of.column),
    "decayed_sum": lambda of: DecayedSum(of.column or "1", of.half_life or "30d"),
    "recency": lambda of: Recency(),
    "gap": lambda of: Gap("mean"),
    "gap_std": lambda of: Gap("std"),
    "streak": lambda of: Streak(),
    "streak_current": lambda of: Streak("current"),
    "share": lambda of: Share(of.column),  # column: the condition whose share is taken
    "trend": lambda of: Trend(Sum(of.column) if of.column else Count()),
    "sessions": lambda of: Sessions(),
    "session_minutes": lambda of: Sessions("minutes"),
    "session_events": lambda of: Sessions("events"),
    "orders": lambda of: Orders(),
    "basket": lambda of: Basket(of.column or "amount"),
    "basket_max": lambda of: Basket(of.column or "amount", "max"),
    "distinct": lambda of: Distinct(of.column),
    "new_share": lambda of: NewShare(of.column),
    "top": lambda of: DecayedTop(of.column, of.half_life or "30d", 5 if of.k is None else of.k),
    "top_share": lambda of: TopShare(of.column),
    "mode": lambda of: Mode(of.column),
    "hours": lambda of: Hours(),
    "weekdays": lambda of: Weekdays(),
    "price_bands": lambda of: PriceBands(column=of.column or "price", edges=of.bands or DEFAULT_BANDS),
    "median": lambda of: Quantile(of.column, 0.5),
    "quantile": lambda of: Quantile(of.column, 0.5 if of.q is None else of.q),
    "sequence": lambda of: LastEvents(of.column or "item_id", 20 if of.k is None else of.k),
}
RATIO = "ratio"  # of two features by name: the only one that needs to see the others
_USED = {
    "half_life": ("decayed_sum", "top"),
    "k": ("top", "sequence"),
    "q": ("quantile",),
    "bands": ("price_bands",),
    "top": (RATIO,),
    "bottom": (RATIO,),
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
    "quantile",
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
    return kept + own_features(section.mine, standard_features(categories, sells=sells))


def own_features(mine: Mapping[str, FeatureSettings], standard: Sequence[Feature] = ()) -> list[Feature]:
    """The features that [features.mine] declares, in its order; ratios may name each other, or one of `standard`.

    raises: DefinitionError for an unknown aggregation, a setting it does not use, or ratios that go round in a circle
    """
    known = {feature.name: feature for feature in standard}
    made: dict[str, Feature] = {}

    def resolve(name: str, path: tuple[str, ...]) -> Feature:
        if name in path:
            raise DefinitionError("features.ratio_cycle", path=" → ".join((*path[path.index(name) :], name)))
        if name not in mine:
            if name not in known or name in SCORES or known[name].agg.type != "number":
                near = difflib.get_close_matches(name, (*mine, *known), n=1) or ["-"]
                raise DefinitionError("features.ratio_of", name=path[-1], part=name, near=near[0])
            return known[name]
        if name not in made:
            declared = mine[name]
            if declared.agg == RATIO:
                if not (declared.top and declared.bottom):
                    raise DefinitionError("features.ratio_needs", name=name)
                parts = [resolve(part, (*path, name)) for part in (declared.top, declared.bottom)]
                made[name] = _declared(name, declared, FeatureRatio(*parts), f"{declared.top} / {declared.bottom}")
            else:
                made[name] = own_feature(name, declared)
        if path and made[name].agg.type != "number":
            raise DefinitionError("features.ratio_type", name=path[-1], part=name)
        return made[name]

    for name in mine:
        if name.lower() in SCORES:
            raise DefinitionError("features.twice", name=name)
    return [resolve(name, ()) for name in mine]


def own_feature(name: str, declared: FeatureSettings) -> Feature:
    """The feature that one entry of [features.mine] declares; raises DefinitionError for an unknown aggregation."""
    if declared.agg not in AGGREGATIONS:
        near = difflib.get_close_matches(declared.agg, (*AGGREGATIONS, RATIO), n=1)
        raise DefinitionError(
            "features.unknown_agg", name=name, agg=declared.agg, near=near[0] if near else ", ".join(AGGREGATIONS)
        )
    if declared.agg in _COLUMN_NEEDED and not declared.column:
        raise DefinitionError("features.no_column", name=name)
    return _declared(name, declared, AGGREGATIONS[declared.agg](declared), f"{declared.agg} {declared.column}".strip())


def _declared(name: str, declared: FeatureSettings, agg: Aggregation, described: str) -> Feature:
    for part, users in _USED.items():
        if getattr(declared, part) not in ("", None, ()) and declared.agg not in users:
            raise DefinitionError("features.unused", name=name, agg=declared.agg, part=part)
    meaning = declared.meaning or described
    return Feature(
        name, agg, declared.where, declared.window, declared.unit, meaning, meaning, group="mine", owner=declared.owner
    )
