"""Some of a shop's features as of any day of its past: what each customer's row would have said on that day.

The definitions are those of the build, and so is the code that computes them: only what had happened and was known before the day counts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from datetime import date

import pyarrow as pa

from huaxiang.engine import Lake, Step
from huaxiang.features.build import Gathered, compile_texts, count_slices, name_keys, split_buckets
from huaxiang.features.mine import declared_features
from huaxiang.features.scores import SCORES
from huaxiang.features.slices import open_slice
from huaxiang.features.users import BUCKETS
from huaxiang.settings import Settings


def features_at(
    lake: Lake,
    settings: Settings,
    names: Collection[str],
    days: Sequence[date],
    *,
    among: tuple[int, int] = (0, BUCKETS),
    everyone: bool = False,
) -> pa.Table:
    """user_id, as_of and those of `names` that the shop has (scores among all customers left out), of every customer with an event known
    before each of `days`, in the buckets [low, high) of `among`; `everyone`: of those there without one, too."""
    engine, note = lake.engine, lake.note("build")
    declared = declared_features(settings.features, note["categories"], sells=note["sells"])
    features = [feature for feature in declared if feature.name in names and feature.name not in SCORES]
    step = Step(lake, "features")  # read only
    last = engine.value(f"SELECT max(day) FROM ({engine.sql(lake.table('ready.events'))})")
    with ExitStack() as stack:
        named = name_keys(step)
        for table in named.values():
            stack.callback(engine.drop, table)
        texts = compile_texts(lake, features, named)
        rows = Gathered(engine)
        stack.callback(rows.drop)

        def one(buckets: tuple[int, int]) -> None:
            with open_slice(step, texts, buckets, settings, last) as found:
                rows.add(found.at(days, everyone=everyone))

        low, high = among
        events = lake.rows("ready.events") * (high - low) // BUCKETS
        parts = count_slices(events * len(days), engine.threads)
        for _ in engine.each(one, split_buckets(low, high, parts)):
            pass
        columns = ", ".join(f'"{feature.name}"' for feature in features)
        return engine.arrow(f"SELECT user_id, as_of, {columns} FROM {rows.sql()}")
