"""Exact ranks and quantiles on Spark without sorting all values on one executor.

Values are counted first, equal ones together; the counts are added up band by band (a band: the values between two approximate
quantiles), each band on an executor of its own. What comes to the driver is one number a band.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import ibis

from huaxiang.engine.spark import SparkEngine

BAND = 2_000_000  # distinct values that one executor adds up; beyond it they are shared out


@dataclass(frozen=True)
class Ranks:
    """table: key, value, n (how often the key has it), below (rows of the key with a lesser value); totals: key -> its rows."""

    table: ibis.Table
    totals: Mapping[str, int]


def rank_values(engine: SparkEngine, rows: ibis.Table) -> Ranks:
    """The ranks of `value` within each `key` (few keys; NULL values are left out)."""
    rows = rows.filter(rows.value.notnull())
    counted = rows.group_by("key", "value").aggregate(n=lambda t: t.count())
    counted = engine.keep(counted)
    edges = _edges(engine, counted)
    band: ibis.Value = ibis.literal(0)
    if edges:
        band = ibis.cases(*((counted.value < edge, at) for at, edge in enumerate(edges)), else_=len(edges))
    counted = counted.mutate(band=band)
    sizes: dict[str, dict[int, int]] = defaultdict(dict)
    for row in engine.rows(counted.group_by("key", "band").aggregate(n=lambda t: t.n.sum())):
        sizes[row["key"]][row["band"]] = row["n"]
    inside = ibis.window(group_by=["key", "band"], order_by="value", preceding=(None, 1))
    table = counted.mutate(below=counted.n.sum().over(inside).coalesce(0))
    offsets = [
        ((table.key == key) & (table.band == at), sum(n for one, n in bands.items() if one < at))
        for key, bands in sizes.items()
        for at in bands
        if at > 0
    ]
    if offsets:
        table = table.mutate(below=table.below + ibis.cases(*offsets, else_=0))
    return Ranks(table.drop("band"), {key: sum(bands.values()) for key, bands in sizes.items()})


def quantiles(engine: SparkEngine, ranks: Ranks, asked: Mapping[str, tuple[str, float]]) -> dict[str, float]:
    """Name -> the interpolated quantile of a key's values, for each (key, share) asked; a key without values is left out."""
    table, wanted = ranks.table, {}
    for name, (key, share) in asked.items():
        if key in ranks.totals:
            place = share * (ranks.totals[key] - 1)
            for end, at in (("low", math.floor(place)), ("high", math.ceil(place))):
                here = (table.key == key) & (table.below <= at) & (table.below + table.n > at)
                wanted[f"{name} {end}"] = table.value.min(where=here)
    if not wanted:
        return {}
    found = engine.rows(table.aggregate(**wanted))[0]
    made = {}
    for name, (key, share) in asked.items():
        if key in ranks.totals:
            place = share * (ranks.totals[key] - 1)
            low, high = float(found[f"{name} low"]), float(found[f"{name} high"])
            made[name] = low + (high - low) * (place - math.floor(place))
    return made


def _edges(engine: SparkEngine, counted: ibis.Table) -> list[float]:
    bands = -(-int(engine.value(counted.count().as_table())) // BAND)
    if bands < 2:
        return []
    cuts = {f"q{at}": counted.value.approx_quantile(at / bands) for at in range(1, bands)}
    return sorted({float(edge) for edge in engine.rows(counted.aggregate(**cuts))[0].values()})
