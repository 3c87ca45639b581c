"""The last build's profiles with those that changed since in their places, as a table that conditions are asked of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import ibis
import msgspec
import pyarrow as pa

from huaxiang.engine import Engine
from huaxiang.shop import Shop
from huaxiang.store import Database

AT_ONCE = 20_000  # rows of one reading
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Overlay:
    """Takes in at each question what changed since the last. database: of the live profiles"""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine: Engine | None = None
        self._name, self._left, self._build, self._at, self._key = "", "", "", 0, -1

    def profiles(self, shop: Shop) -> ibis.Table:
        """As the lake's table `profiles`; that table itself where nothing lives yet or it is of another build."""
        table = shop.lake.table("profiles")
        made = dict[str, str](self._database.rows("SELECT name, value FROM made"))
        if "build" not in made or made.get("profiles") != str(shop.lake.manifest().tables["profiles"].version):
            return table
        engine, lake = shop.engine, shop.engine.sql(table)
        if (self._engine, self._build) != (engine, made["build"]):
            self._name = engine.store(f"SELECT * FROM ({lake}) LIMIT 0")
            self._left = engine.store("SELECT ''::VARCHAR AS user_id LIMIT 0")
            self._engine, self._build, self._at, self._key = engine, made["build"], int(made["at"]), -1
        schema = engine.schema(table)
        for rows in self._news():
            loaded = engine.load(pa.Table.from_pylist([_typed(row, schema) for row in rows], schema))
            engine.run(f"DELETE FROM {self._name} WHERE user_id IN (SELECT user_id FROM {loaded.get_name()})")
            engine.run(f"INSERT INTO {self._name} SELECT * FROM {loaded.get_name()}")
            engine.drop(loaded)
        kept = f"SELECT * FROM ({lake}) ANTI JOIN {self._name} USING (user_id)"
        both = f"{kept} UNION ALL SELECT * FROM {self._name}"
        engine.run(f"DELETE FROM {self._left}")
        if gone := self._gone(int(made["at"])):
            loaded = engine.load(pa.table({"user_id": gone}))
            engine.run(f"INSERT INTO {self._left} SELECT user_id FROM {loaded.get_name()}")
            engine.drop(loaded)
        return engine.view(f"SELECT * FROM ({both}) ANTI JOIN {self._left} USING (user_id)")

    def _news(self) -> Iterator[Sequence[dict[str, Any]]]:
        while True:
            found = self._database.rows(
                "SELECT at, key, content FROM profile WHERE at > ? OR (at = ? AND key > ?) ORDER BY at, key LIMIT ?",
                (self._at, self._at, self._key if self._key >= 0 else 1 << 62, AT_ONCE),
            )
            if not found:
                return
            self._at, self._key = found[-1][0], found[-1][1]
            yield [_decode(content) for _, _, content in found]

    def _gone(self, since: int) -> list[str]:
        """Who is no customer of their own any more: visitors that became users, and the erased."""
        rows = self._database.rows
        joined = {name for (name,) in rows("SELECT DISTINCT anonymous_id FROM link WHERE known_at > ?", (since,))}
        erased = {name for (name,) in rows("SELECT user_id FROM erased")}
        return sorted(joined | erased)


def _typed(row: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """Times as such."""
    made = {name: row.get(name) for name in schema.names}
    for field in schema:
        value = made[field.name]
        if isinstance(value, str) and (pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)):
            made[field.name] = datetime.fromisoformat(value).replace(tzinfo=None)
    return made
