"""Features and outcomes: numbers about a customer, only from what was known by then.

windows · filters · nodes  whole-day windows; the language of `where`; the tree it is read into (in_ibis, in_python: what runs it)
algebra                    Feature and Aggregation: a definition is data (aggregations, keyed, scores: the aggregations)
plan                       many definitions → few measures, and folds of measures
passes · compile · written measures as Ibis expressions, for DuckDB and Spark (text: as DuckDB text, remembered)
live/                      measures folded event by event into a small state a customer
standard · mine            the standard set; the shop's own from huaxiang.toml
zones · users · items · ready   local time; ready.users, ready.items, ready.events
changes · renew · training what new and changed events touch: the incremental build
slices · build             a range of users at a time → features, training, labels
outcomes                   the same algebra looking forward
fakes                      which events belong to an order held fake
evidence · explain · show  the events behind a value, and its arithmetic
spark_*                    the same tables and folds on a cluster
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
