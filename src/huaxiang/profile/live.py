"""The rows of `profiles` while the shop lives: what the last build knew of a customer, with the live features in their places, finished by
the same SQL as in batch.

What is compared across the shop (tiers, the quantiles of the tags, thresholds) stands as the last build found it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from huaxiang.engine import Lake, Step
from huaxiang.models.live import KEEP, LivePredictions
from huaxiang.profile.build import as_of_moment, base_sql, find_parts, finish_sql
from huaxiang.profile.lifecycle import Basis
from huaxiang.profile.predicted import thresholds
from huaxiang.settings import Settings

Row = dict[str, Any]
TOLD = ("sources", "filled")  # of ready.users: attribute → who says so, as JSON; attributes that were guessed


class LiveRows:
    """Rows of one build. live: the features that are kept live; models: the folder of the models (None: predictions stay as the last
    training made them). raises: ShopError before the first profiles"""

    def __init__(self, lake: Lake, settings: Settings, live: Sequence[str], *, models: Path | None = None) -> None:
        self._engine, self._zone = lake.engine, settings.shop.timezone
        step = Step(lake, "profile")  # read only
        note = lake.note("profile")
        parts = replace(find_parts(step, settings), numbered=False)
        known = step.table("features").columns
        buys = bool(note["buys"])
        silence, age = ("recency_days", "first_purchase_days") if buys else ("idle_days", "tenure_days")
        basis = Basis(
            silence if silence in known else None, age if age in known else None, buys, note["worth"], note["tiers"]
        )
        self._base = base_sql(step, parts, settings, buys=buys)
        schema = self._engine.schema(self._base)
        told = step.has("ready.users") and {*TOLD} <= set(step.table("ready.users").columns)
        self._people = self._engine.sql(step.table("ready.users")) if told else ""
        own = tuple(name for name in schema.names if name not in {"user_id", "as_of", *live})
        self.kept = own + (TOLD if told else ())
        self.live = tuple(name for name in schema.names if name in set(live))
        self.declared = tuple(parts.declared)
        self._schema = schema
        self._empty = dict.fromkeys(schema.names)
        lines = thresholds(lake, parts.predictions) if parts.outcomes else {}
        self._place = self._engine.load(schema.empty_table()).get_name()
        self._sql = finish_sql(
            self._engine, f"SELECT * FROM {self._place}", known, parts, basis, note["levels"], lines, settings
        )
        self._columns = {outcome.name: outcome.column for outcome in parts.outcomes}
        self._predictions = LivePredictions(lake, settings, models) if models else None

    def kept_rows(self) -> Iterator[tuple[list[str], list[list[Any]]]]:
        """user_id and `kept` of every customer of the build, some thousands at a time."""
        columns = ", ".join(f'"{name}"' for name in self.kept)
        people = f"SELECT user_id, {', '.join(TOLD)} FROM ({self._people})" if self._people else ""
        base = f"({self._base}) LEFT JOIN ({people}) USING (user_id)" if people else f"({self._base})"
        for batch in self._engine.batches(f"SELECT user_id, {columns} FROM {base}"):
            users, *rest = (column.to_pylist() for column in batch.columns)
            yield users, list(map(list, zip(*rest, strict=True))) if rest else [[] for _ in users]

    def finish(self, rows: Sequence[Mapping[str, Any]], as_of: date) -> list[Row]:
        """The rows of `profiles` of some customers, with who says what of them (TOLD). rows: user_id, the kept columns and the live ones of
        each; as_of: a local midnight"""
        moment = as_of_moment(as_of, self._zone)
        filled = [{**self._empty, **row, "as_of": moment} for row in rows]
        self._predict(filled)
        columns = [
            _column([row[name] for row in filled], one.type)
            for name, one in zip(self._schema.names, self._schema, strict=True)
        ]
        table = pa.table(columns, schema=self._schema)
        loaded = self._engine.load(table)
        try:
            made = self._engine.rows(self._sql.replace(self._place, loaded.get_name()))
        finally:
            self._engine.drop(loaded)
        told = {row["user_id"]: {name: row[name] for name in TOLD if row.get(name)} for row in rows}
        return [row | told[row["user_id"]] for row in made]

    def _predict(self, rows: list[Row]) -> None:
        """Puts what is predicted now in the place of what was when the models were trained."""
        found = self._predictions.predict(rows) if self._predictions else {}
        for outcome, values in found.items():
            column = self._columns.get(outcome)
            if column is None:
                continue
            for row, value in zip(rows, values, strict=True):
                if value is not KEEP:
                    row[column], row[f"{column}_confidence"] = value or (None, None)


def _column(values: list[Any], dtype: pa.DataType) -> pa.Array:
    """Times may be µs since 1970."""
    if pa.types.is_timestamp(dtype) and any(isinstance(value, int) for value in values):
        return pa.array(values, pa.int64()).cast(dtype)
    return pa.array(values, dtype)
