"""Events as they arrive → the rows a fold reads: the item's category and brand, the shop's local time, the order, the price
against its category. Whole batches at a time, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from huaxiang.engine import Engine
from huaxiang.errors import DefinitionError
from huaxiang.features.derived import event_code_sql, order_key_sql
from huaxiang.features.fakes import among_sql
from huaxiang.features.filters import EVENT_CODES
from huaxiang.features.live.fold import Fold
from huaxiang.features.live.prices import Prices
from huaxiang.features.live.slots import KNOWN
from huaxiang.features.text import day_number
from huaxiang.features.zones import local_sql
from huaxiang.tables import EVENTS, arrow_schema

_FROM_ITEMS = ("category", "category_top", "category_2", "brand")
_PURCHASE = EVENT_CODES["purchase"]
_HELD = pa.schema([("order_id", pa.string()), ("order_key", pa.int64()), ("user_id", pa.string())])


class Arrivals:
    """Makes rows for `fold`. items: SQL of ready.items (None: nothing is known of items)."""

    def __init__(self, engine: Engine, fold: Fold, prices: Prices, *, zone: str, items: str | None) -> None:
        self._held = ""
        self._engine, self._fold, self._prices, self._zone = engine, fold, prices, zone
        levels = ", ".join(_FROM_ITEMS)
        none = f"SELECT NULL::VARCHAR AS item_id, {', '.join(f'NULL::VARCHAR AS {name}' for name in _FROM_ITEMS)} WHERE FALSE"
        self._items = engine.store(f"SELECT item_id, {levels} FROM ({items})" if items else none)

    def keep_out(self, fakes: Sequence[tuple[str | None, int, str]]) -> None:
        """From now on leaves out the events of these orders. fakes: order_id, order_key, user_id of each"""
        if self._held:
            self._engine.drop(self._held)
        columns = zip(*fakes, strict=True) if fakes else ((), (), ())
        rows = [pa.array(list(column), kind) for column, kind in zip(columns, _HELD.types, strict=True)]
        self._held = self._engine.load(pa.table(rows, schema=_HELD)).get_name() if fakes else ""

    def rows(self, events: pa.Table, *, learn: bool = True) -> tuple[list[str], list[list[Any]]]:
        """The user of each event, and its row; in the order of `events`, without those of orders held fake.

        learn: whether their prices are new

        events: columns of the contract's events (what is left out is unknown); user_id, else anonymous_id, says whose it is
        raises: DefinitionError for an event without user, event, id or time
        """
        if not events.num_rows:
            return [], []
        table = self._engine.load(_filled(events))
        try:
            self._check(table.get_name())
            found = self._engine.arrow(self._sql(table.get_name()))
        finally:
            self._engine.drop(table)
        users = found.column(0).to_pylist()
        rows = list(map(list, zip(*(column.to_pylist() for column in found.columns[2:]), strict=True)))
        if "price_ratio" in self._fold.columns:
            self._add_ratios(rows, found.column(1).to_pylist(), learn=learn)
        return users, rows

    def _check(self, table: str) -> None:
        lacks = {
            "user_id": "coalesce(user_id, anonymous_id) IS NULL",
            "event": "event IS NULL",
            "event_id": "event_id IS NULL",
            "ts": "ts IS NULL",
        }
        counted = ", ".join(f"count(*) FILTER (WHERE {test}) AS {name}" for name, test in lacks.items())
        for name, count in self._engine.rows(f"SELECT {counted} FROM {table}")[0].items():
            if count:
                raise DefinitionError("features.event_lacks", count=count, column=name)

    def _sql(self, table: str) -> str:
        known = "greatest(coalesce(e.received_at, e.ts), e.ts)"
        span = self._engine.rows(f"SELECT min(e.ts) AS first, max({known}) AS last FROM {table} AS e")[0]
        local = {
            name: local_sql(column, self._zone, span["first"], span["last"])
            for name, column in {"ts": "e.ts", "known": known}.items()
        }
        made = {
            "event_no": event_code_sql(),
            "day_no": day_number("e.day"),
            "known_no": day_number(f"({local['known']})::DATE"),
            "ts": "epoch_us(e.ts)",
            "day": day_number("e.day"),
            "hour": "hour(e.local_ts)",
            "weekday": "isodow(e.day)",
            "order_key": order_key_sql("e.day"),
            "visitor": "e.user_id IS NULL",
            "price_ratio": "NULL::DOUBLE",
            **{name: f"i.{name}" for name in _FROM_ITEMS},
        }
        columns = ", ".join(f"{made.get(name, f'e.{name}')} AS {name}" for name in self._fold.columns)
        whose = "coalesce(e.user_id, e.anonymous_id)"
        real = f" WHERE NOT {among_sql(f'FROM {self._held}', whose, order_key_sql('e.day'))}" if self._held else ""
        timed = f"SELECT e.*, {local['ts']} AS local_ts, local_ts::DATE AS day FROM {table} AS e"
        return (
            f"SELECT {whose} AS whose, "
            f"CASE WHEN e.event = 'purchase' AND e.price > 0 THEN i.category END AS priced_in, {columns} "
            f"FROM ({timed}) AS e LEFT JOIN {self._items} AS i ON e.item_id = i.item_id{real} ORDER BY e.place"
        )

    def _add_ratios(self, rows: list[list[Any]], categories: list[str | None], *, learn: bool) -> None:
        """Fills price_ratio; purchases count for later days only, so the order within a batch does not matter."""
        day, price, ratio = (self._fold.columns.index(name) for name in ("day_no", "price", "price_ratio"))
        bought = [(row, category) for row, category in zip(rows, categories, strict=True) if category is not None]
        for row, category in bought if learn else ():
            self._prices.add(category, row[KNOWN], row[price])
        for row, category in bought:
            mean = self._prices.mean(category, row[day])
            row[ratio] = row[price] / mean if mean else None


def _filled(events: pa.Table) -> pa.Table:
    """`events` with every column of the contract, in its type, and `place`, their order."""
    schema = arrow_schema(EVENTS.stored)
    rows = events.num_rows
    columns = [
        events.column(field.name).cast(field.type) if field.name in events.column_names else pa.nulls(rows, field.type)
        for field in schema
    ]
    columns = [
        pc.if_else(pc.is_finite(column), column, None) if pa.types.is_floating(column.type) else column
        for column in columns
    ]  # a price that is no number is unknown, as cleaning has it
    made = pa.table(columns, schema=pa.schema([(field.name, field.type) for field in schema]))
    return made.append_column("place", pa.array(range(rows), pa.int64()))
