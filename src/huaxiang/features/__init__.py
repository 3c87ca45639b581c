"""Features and outcomes: numbers about a customer, only from what was known by then.

windows · filters      durations, whole-day windows; the expression language of `where`
algebra                Feature and Aggregation: a definition is data (aggregations, keyed, scores: the aggregations)
plan · compile         many definitions → few passes
standard · mine        the standard set; the shop's own from huaxiang.toml
zones · users · ready  local time; ready.users, ready.items, ready.events
slices · build         a range of users at a time → features, training, labels
outcomes               the same algebra looking forward
evidence               the events behind a value
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huaxiang.features.algebra import Feature
    from huaxiang.features.build import BuildReport, build_features
    from huaxiang.features.mine import declared_features

__all__ = ["BuildReport", "Feature", "build_features", "declared_features"]

_HOMES = {
    "Feature": "algebra",
    "BuildReport": "build",
    "build_features": "build",
    "declared_features": "mine",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"huaxiang.features.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'huaxiang.features' has no attribute {name!r}")
