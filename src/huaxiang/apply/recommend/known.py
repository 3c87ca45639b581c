"""What the features of the profile say of each customer: today's by the shop's table, those of past days computed as of them.

A small set that says how a customer buys, whatever the shop sells; those that it lacks are unknown (NaN) to the ranker.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from huaxiang.engine import Lake, Step
from huaxiang.features.users import BUCKETS
from huaxiang.settings import Settings

CHOSEN = (
    "recency_days", "idle_days", "tenure_days", "orders_30d", "orders_total", "spend_90d", "spend_trend_30d", "gap_days_mean", "overdue_ratio",
    "basket_items_mean_90d", "basket_value_mean_90d", "price_mean_90d", "price_level_90d", "discount_share_90d", "category_count_90d",
    "item_count_90d", "category_concentration_90d", "new_item_share_90d",
)  # fmt: skip
PROFILE = "profile"  # what the columns of the ranker's table begin with that read these
Known = NDArray[np.float32]


def read_known(lake: Lake | Step, users: Sequence[str], whose: str = "true") -> Known:
    """(U, P) of CHOSEN what the table `features` says of each of `users`, unknown where it says nothing ((0, 0): there is no such table).

    whose: a condition on `ready.users` that all of them fulfil
    """
    if not lake.has("features") or not users:
        return np.zeros((0, 0), np.float32)
    engine = lake.lake.engine if isinstance(lake, Step) else lake.engine
    held = lake.table("features")
    columns = ", ".join(name if name in held.columns else f"NULL::DOUBLE AS {name}" for name in CHOSEN)
    some = f"SEMI JOIN (SELECT user_id FROM ({engine.sql(lake.table('ready.users'))}) WHERE {whose}) USING (user_id)"
    found = engine.arrow(f"SELECT user_id, {columns} FROM ({engine.sql(held)}) {some if whose != 'true' else ''}")
    return _laid(found, users)


def known_at(
    lake: Lake,
    settings: Settings,
    users: Sequence[str],
    days: Sequence[int],
    among: tuple[int, int] = (0, BUCKETS),
    *,
    everyone: bool = False,
) -> list[Known]:
    """The same as of each of `days` (since 1970), from what was known before it. among: the buckets that hold all of `users`; everyone: told of those, too, of
    whom nothing was known before the day, as the table `features` does"""
    if not lake.has("features") or not users:
        return [np.zeros((0, 0), np.float32) for _ in days]
    from huaxiang.features.at import features_at

    dates = [date(1970, 1, 1) + timedelta(days=day) for day in days]
    found = features_at(lake, settings, CHOSEN, dates, among=among, everyone=everyone)
    as_of = found.column("as_of").cast(pa.date32())
    return [_laid(found.filter(pc.equal(as_of, pa.scalar(day, pa.date32()))), users) for day in dates]


def _laid(found: pa.Table, users: Sequence[str]) -> Known:
    """The rows of `found` in the order of `users`."""
    place = pc.index_in(pa.array(users, pa.string()), found.column("user_id").combine_chunks())
    made = np.full((len(users), len(CHOSEN)), np.nan, np.float32)
    for at, name in enumerate(CHOSEN):
        if name in found.column_names:
            column = found.column(name).cast(pa.float32()).combine_chunks()
            made[:, at] = pc.take(column, place).to_numpy(zero_copy_only=False)
    return made
