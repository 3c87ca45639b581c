"""What must change with a changed feature, by the definitions: who bought nothing for 60 days has no orders in 30.

Two things are known of a value alone: a recency of r days leaves every shorter window of such events empty, and an empty window
(a count or a sum of nothing) leaves the shorter ones empty, and the last event before it. An empty window's value is what a fold of nothing
gives. What merely used to move along stays: how much more one would spend who comes twice as often, no definition says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from huaxiang.features.aggregations import Count, FeatureRatio, Gap, Recency, Sessions, Sum, Tenure, Trend
from huaxiang.features.algebra import Feature
from huaxiang.features.keyed import ActiveDays, Orders
from huaxiang.features.live import Fold, live_features
from huaxiang.features.windows import Window

BEYOND = (Recency, Tenure, Gap, Trend, FeatureRatio)  # their value says more than whether their own window is empty
COUNTED = (Count, Orders, ActiveDays, Sessions, Sum)  # 0: there was nothing (a sum: nothing that counts)


@dataclass(frozen=True)
class Ties:
    """The definitions of a shop's features, and the value each has over an empty window."""

    features: Mapping[str, Feature]
    empty: Mapping[str, float | None]

    @classmethod
    def of(cls, features: Sequence[Feature], names: Iterable[str]) -> Ties:
        """names: of the features that a model may read; others are left out"""
        wanted = set(names)
        kept = [feature for feature in live_features(features) if feature.name in wanted]
        fold = Fold(kept)
        values = fold.finish(fold.empty(), date(2000, 1, 1))
        empty = {one.name: values[one.name] for one in kept if not isinstance(one.agg, BEYOND)}
        return cls({one.name: one for one in kept}, empty)

    def follow(self, changes: Mapping[str, float | None], now: Mapping[str, float | None]) -> dict[str, float | None]:
        """feature -> the value it must have where `changes` hold; what already has it, or is changed itself, is left out. now: the values as they are"""
        found: dict[str, float | None] = {}
        for name, value in changes.items():
            feature = self.features.get(name)
            if feature is None:
                continue
            quiet = _quiet_days(feature, value)
            if isinstance(feature.agg, Recency) and not feature.agg.first and value is not None:
                found |= self._beside(feature, value, now, found)
            if quiet is not None:
                found |= self._emptied(feature, quiet, now)
        return {name: value for name, value in found.items() if name not in changes and value != now.get(name)}

    def _emptied(self, cause: Feature, quiet: int, now: Mapping[str, float | None]) -> dict[str, float | None]:
        """Where the last `quiet` days (0: all history) hold no event that `cause` counts."""
        found: dict[str, float | None] = {}
        for name, other in self.features.items():
            if not _within(other.where, cause.where):
                continue
            days = Window.parse(other.window, name=name).days
            if name in self.empty and (not quiet or 0 < days <= quiet):
                found[name] = self.empty[name]
            elif isinstance(other.agg, Recency) and not other.agg.first and (last := now.get(name)) is not None:
                if not quiet:
                    found[name] = None
                elif last <= quiet:
                    found[name] = float(quiet + 1)
        return found

    def _beside(
        self, cause: Feature, value: float, now: Mapping[str, float | None], found: Mapping[str, float | None]
    ) -> dict[str, float | None]:
        """Days since the last event of any kind are no more than since the last of one kind."""
        moved: dict[str, float | None] = {}
        for name, other in self.features.items():
            last = found.get(name, now.get(name))
            of_last = isinstance(other.agg, Recency) and not other.agg.first and other is not cause
            if of_last and last is not None and last > value and _within(cause.where, other.where):
                moved[name] = value
        return moved


def _quiet_days(feature: Feature, value: float | None) -> int | None:
    """For how many days before now there was no event that `feature` counts (0: there never was one; None: it does not say)."""
    if isinstance(feature.agg, Recency) and not feature.agg.first:
        return 0 if value is None else int(value) - 1 if value > 1 else None
    whole = isinstance(feature.agg, COUNTED) and (not isinstance(feature.agg, Sessions) or feature.agg.how == "count")
    return Window.parse(feature.window, name=feature.name).days if whole and value == 0 else None


def _within(where: str, other: str) -> bool:
    """Whether every event that `where` keeps is one that `other` keeps, as far as their texts show it."""
    return not other or where == other or (where.startswith(f"{other} and ") and " or " not in where)
