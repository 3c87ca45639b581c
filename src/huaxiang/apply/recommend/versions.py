"""The items as they were known on a past day: category, brand, price, and whether the shop listed them yet.

The shop keeps the newest version of an item (clean.items); the older ones lie in quarantine as superseded. Of each source the newest version that
was collected before the day stands. An item of which none was yet takes its first version: the shop may have sold it long before its list was
collected. Where the list had been collected before and the item was not on it, it was not listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from huaxiang.apply.recommend.past import Ints, Shelf
from huaxiang.clean.values import tidy_sql
from huaxiang.collect.raw import raw_sql
from huaxiang.engine import Lake, Step
from huaxiang.engine.duck import quote

LEVELS = {"category": "category", "group": "category_2", "brand": "brand"}  # of a shelf -> of ready.items


def shelves_at(lake: Lake, shelf: Shelf, days: Sequence[int], *, zone: str) -> list[Shelf]:
    """`shelf` as it was known before each of `days` (since 1970, of the shop's own calendar in `zone`)."""
    if not lake.rows("clean.items") or not lake.has("quarantine") or not lake.has("raw.items"):
        return [shelf] * len(days)
    engine = lake.engine
    versions = engine.store(_versions_sql(lake, zone))
    try:
        many = engine.value(
            f"SELECT count(DISTINCT day) > 1 OR count(DISTINCT (item_id, source)) < count(*) FROM {versions}"
        )
        if not many:
            return [shelf] * len(days)
        names = {level: engine.arrow(_names_sql(lake, column)) for level, column in LEVELS.items()}
        return [_shelf_at(lake, shelf, versions, date(1970, 1, 1) + timedelta(days=day), names) for day in days]
    finally:
        engine.drop(versions)


def _versions_sql(lake: Lake, zone: str) -> str:
    """item_id, source, third_party, category, brand, price, collected_at, row_id and the local day it was collected, of every version that
    passed the rules."""
    engine = lake.engine
    columns = "item_id, source, third_party, category, brand, price, collected_at, row_id"
    gone = f"SELECT row_id FROM ({engine.sql(lake.table('quarantine'))}) WHERE \"table\" = 'items' AND reason = 'superseded'"
    tidy = tidy_sql(engine, "items", raw_sql(Step(lake, "items"), "items"))
    local = f"timezone({quote(zone)}, timezone('UTC', collected_at))::DATE"
    return (
        f"SELECT *, {local} AS day FROM (SELECT {columns} FROM ({engine.sql(lake.table('clean.items'))}) UNION ALL "
        f"SELECT {columns} FROM ({tidy}) SEMI JOIN ({gone}) USING (row_id)) WHERE item_id IS NOT NULL"
    )


def _names_sql(lake: Lake, column: str) -> str:
    items = lake.engine.sql(lake.table("ready.items"))
    return f"SELECT DISTINCT {column} AS name, {column}_no AS no FROM ({items}) WHERE {column} IS NOT NULL ORDER BY no"


def _shelf_at(lake: Lake, shelf: Shelf, versions: str, day: date, names: dict[str, pa.Table]) -> Shelf:
    engine = lake.engine
    path = "string_split(category, ' > ')"
    best = ", ".join(
        f"arg_min({name}, rank) FILTER ({name} IS NOT NULL) AS {name}" for name in ("category", "brand", "price")
    )
    found = engine.arrow(
        f"""WITH known AS (
              SELECT *, day < DATE '{day}' AS before, min(day) OVER () < DATE '{day}' AS had_list, bool_or(day < DATE '{day}') OVER (PARTITION BY item_id) AS met
              FROM {versions}),
            standing AS (
              SELECT *, row_number() OVER (PARTITION BY item_id, source ORDER BY
                  CASE WHEN met THEN collected_at END DESC, CASE WHEN NOT met THEN collected_at END, row_id) AS turn
              FROM known WHERE before OR NOT met),
            ranked AS (
              SELECT *, row_number() OVER (PARTITION BY item_id ORDER BY coalesce(third_party, FALSE), collected_at DESC, row_id) AS rank
              FROM standing WHERE turn = 1),
            items AS (SELECT item_id, bool_or(met) OR NOT bool_or(had_list) AS listed, {best} FROM ranked GROUP BY item_id)
        SELECT i.item_no, listed, category, nullif(array_to_string({path}[1:2], ' > '), '') AS "group", brand, price
        FROM items JOIN (SELECT item_no, item_id FROM ({engine.sql(lake.table("ready.items"))})) AS i USING (item_id) ORDER BY item_no"""
    )
    at = np.searchsorted(shelf.number, found.column("item_no").to_numpy())
    then: dict[str, Any] = {
        level: _recoded(getattr(shelf, level), at, found.column(level), names[level]) for level in LEVELS
    }
    price, listed = shelf.price.copy(), shelf.listed.copy()
    price[at] = found.column("price").cast(pa.float64()).to_numpy(zero_copy_only=False)
    listed[at] &= found.column("listed").to_numpy(zero_copy_only=False).astype(bool)
    return replace(shelf, price=price, listed=listed, **then)


def _recoded(codes: Ints, at: Ints, found: pa.ChunkedArray, names: pa.Table) -> Ints:
    """The codes with those of `at` by name; a name that no item has any more takes a number after the last."""
    coded = found.combine_chunks().dictionary_encode()
    place = pc.index_in(coded.dictionary, names.column("name").combine_chunks()).to_numpy(zero_copy_only=False)
    numbers = names.column("no").to_numpy().astype(np.int64)
    first = int(numbers.max(initial=-1)) + 1
    of = np.array(
        [numbers[int(one)] if one == one else first + extra for extra, one in enumerate(place)], dtype=np.int64
    )
    made = codes.copy()
    index = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    made[at] = np.where(index >= 0, of[index] if len(of) else -1, -1)
    return made
