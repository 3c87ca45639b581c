"""What the lake holds of some customers: the events before the tail, and whose a visitor was."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.features.live.ledger import Fact
from huaxiang.features.live.tail import SCHEMA


class LakePast:
    """Reads the clean events and the links of the last build."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        events = self._events()
        found = self._lake.engine.value(f"SELECT max(epoch_us(ts)) FROM ({events})") if events else None
        self._until = -1 if found is None else int(found)

    @property
    def until(self) -> int:
        return self._until

    def read(self, owners: Sequence[str]) -> tuple[pa.Table, list[Fact]]:
        events = self._events()
        if not events or not owners:
            return SCHEMA.empty_table(), []
        engine, listed = self._lake.engine, ", ".join(map(quote, owners))
        known = set(engine.schema(events).names)
        columns = ", ".join(name if name in known else f"NULL AS {name}" for name in SCHEMA.names)
        mine = engine.arrow(
            f"SELECT {columns} FROM ({events}) WHERE user_id IN ({listed}) OR (user_id IS NULL AND anonymous_id IN ({listed}))"
        )
        seen = engine.rows(
            f"SELECT anonymous_id, user_id, epoch_us(ts) AS since, epoch_us(received_at) AS known_at, 'login' AS rule FROM ({events}) "
            f"WHERE user_id IS NOT NULL AND anonymous_id IN ({listed})"
        )
        facts = [Fact(**row) for row in seen]
        return mine, facts + [one for one in read_links(self._lake, listed) if one.rule != "login"]

    def _events(self) -> str:
        lake = self._lake
        return lake.engine.sql(lake.table("clean.events")) if lake.has("clean.events") else ""


def read_links(lake: Lake, listed: str = "") -> list[Fact]:
    """The ledger of the last build. listed: SQL of the visitors meant ("": all)"""
    if not lake.rows("identity.links"):
        return []
    only = f" WHERE anonymous_id IN ({listed})" if listed else ""
    sql = (
        "SELECT anonymous_id, user_id, epoch_us(since) AS since, epoch_us(known_at) AS known_at, rule "
        f"FROM ({lake.engine.sql(lake.table('identity.links'))}){only}"
    )
    return [Fact(**row) for row in lake.engine.rows(sql)]
