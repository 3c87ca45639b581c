"""What customers did up to now, from the lake and from events that are not in it yet: what models that read events foresee from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from huaxiang.engine import Lake, Step
from huaxiang.engine.duck import quote
from huaxiang.features.derived import event_code_sql
from huaxiang.features.zones import local_sql
from huaxiang.models.foresight import Foresight, load_foresight
from huaxiang.models.histories import COLUMNS, cut_rows
from huaxiang.models.live import SEEN
from huaxiang.models.next_item.item_content import ItemContent
from huaxiang.models.next_item.lake import LAST, ShopItems
from huaxiang.models.next_item.sequences import Items, Sequences
from huaxiang.models.past import item_events
from huaxiang.models.zoo.history import LENGTH
from huaxiang.settings import Settings

Events = dict[str, NDArray[Any]]


class LiveForesight:
    """The behaviour model of the last training, and the one whose vectors predictors read. folder: of the models

    raises: ModelError where the shop has none, or PyTorch is not installed
    """

    def __init__(self, lake: Lake, settings: Settings, folder: Path) -> None:
        about = lake.note("train")["behaviour"]
        self._step = Step(lake, "train")  # read only
        self._engine, self._zone = lake.engine, settings.shop.timezone
        self._count = settings.behaviour.next_items
        self._found: Foresight = load_foresight(folder, str(about.get("version", "")))
        past = about.get("past", {}).get("version")
        self._past: Foresight | None = load_foresight(folder, past) if past else None
        codes = pa.table({"item_id": pa.array(self._found.ids, pa.string()), "code": np.arange(len(self._found.ids))})
        self._codes = self._engine.load(codes).get_name()

    def look(self, users: Sequence[str], tail: pa.Table, as_of: date) -> dict[str, dict[str, Any]]:
        """embedding and next_items of each user with an event of an item before a local midnight, and what predictors read (live.py).

        tail: events of the contract that the lake does not hold, user_id canonical
        """
        events = self._read(users, tail)
        day, every = np.full(len(users), (as_of - date(1970, 1, 1)).days), np.arange(len(users))
        found: dict[str, dict[str, Any]] = {}
        for part in cut_rows(_of_items(events), every, day, 2 * LAST):
            history = self._coded(part, self._found)
            some = np.flatnonzero(history.lengths)
            count = np.minimum(history.lengths[some], LAST)
            history = history.pick(history.starts[some + 1] - count, count)
            vectors = self._found.model.user_vectors(history)
            listed, share = self._found.lists(history, self._count)
            for at, row in enumerate(part.rows[some].tolist()):
                items = [
                    {"item_id": self._found.ids[item], "share": float(one)}
                    for item, one in zip(listed[at].tolist(), share[at].tolist(), strict=True)
                ]
                found[users[row]] = {"embedding": [float(one) for one in vectors[at]], "next_items": items}
        if self._past is not None:
            for user, seen in self._seen(users, events, day, self._past).items():
                found.setdefault(user, {})[SEEN] = seen
        return found

    def _seen(self, users: Sequence[str], events: Events, day: NDArray[Any], past: Foresight) -> dict[str, Any]:
        """What predictors with a head on the vector read: it, and how many events there are."""
        every = np.arange(len(users))
        found: dict[str, list[Any]] = {}
        for part in cut_rows(events, every, day, LENGTH):
            found |= {
                users[row]: [int(n), None] for row, n in zip(part.rows.tolist(), part.count.tolist(), strict=True)
            }
        for part in cut_rows(_of_items(events), every, day, 2 * past.model.config.length):
            vectors = past.model.user_vectors(self._coded(part, past))
            for row, vector in zip(part.rows.tolist(), vectors, strict=True):
                found[users[row]][1] = [float(one) for one in vector]
        return found

    def _coded(self, part: Any, found: Foresight) -> Sequences:
        """The events of a part as a behaviour model takes them."""
        starts = np.concatenate([[0], np.cumsum(part.count)]).astype(np.int64)
        code, ts, kind, price = (part.events[name] for name in ("code", "ts", "kind", "price"))
        met = ShopItems(np.arange(len(found.ids)), Items(found.ids), ItemContent())
        return item_events(Sequences(starts, code + 1, ts, kind, price.astype(float)), met)

    def _read(self, users: Sequence[str], tail: pa.Table) -> Events:
        """The columns of histories.COLUMNS, `user` the place in `users`, and `code`: of the behaviour model's items, −1: none of them."""
        engine, table = self._engine, self._step.table
        people = engine.load(pa.table({"place": np.arange(len(users)), "user_id": pa.array(users, pa.string())}))
        fresh = engine.load(tail)
        try:
            listed = ", ".join(map(quote, users))
            buckets = f"SELECT bucket FROM ({engine.sql(table('ready.users'))}) WHERE user_id IN ({listed})"
            made = {**COLUMNS, "user": "p.place"}
            old = ", ".join(
                f"({sql})::{'DOUBLE' if name == 'price' else 'BIGINT'} AS {name}" for name, sql in made.items()
            )
            span = _span(tail)
            local = local_sql("e.ts", self._zone, *span)
            known = local_sql("greatest(e.ts, e.received_at)", self._zone, *span)
            made |= {
                "day": f"({local})::DATE - DATE '1970-01-01'",
                "known": f"({known})::DATE - DATE '1970-01-01'",
                "kind": event_code_sql(),
                "item": "coalesce(i.item_no + 1, 0)",
                "category": "coalesce(i.category_top_no, -1)",
                "clock": f"(isodow({local}) - 1)::INTEGER * 24 + hour({local})",
            }
            new = ", ".join(
                f"({sql})::{'DOUBLE' if name == 'price' else 'BIGINT'} AS {name}" for name, sql in made.items()
            )
            mine = f"JOIN {people.get_name()} AS p USING (user_id)"
            found = engine.arrow(
                f"SELECT a.*, coalesce(c.code, -1)::BIGINT AS code FROM ("
                f"SELECT {old}, e.item_id, e.event_id, e.ts AS at FROM ({engine.sql(table('ready.events'))}) AS e {mine} WHERE e.bucket IN ({buckets}) "
                f"UNION ALL SELECT {new}, e.item_id, e.event_id, e.ts AS at FROM {fresh.get_name()} AS e {mine} "
                f"LEFT JOIN ({engine.sql(table('ready.items'))}) AS i ON e.item_id = i.item_id) AS a "
                f"LEFT JOIN {self._codes} AS c USING (item_id) ORDER BY a.user, a.at, a.event_id"
            )
        finally:
            engine.drop(fresh)
            engine.drop(people)
        return {
            name: found.column(name).to_numpy(zero_copy_only=False).astype(float if name == "price" else np.int64)
            for name in (*COLUMNS, "code")
        }


def _span(tail: pa.Table) -> tuple[datetime, datetime]:
    """Between when and when the events of the tail happened and were known."""
    times = [pc.min_max(tail.column(name)).as_py() for name in ("ts", "received_at")]
    low, high = [one["min"] for one in times if one["min"]], [one["max"] for one in times if one["max"]]
    return min(low, default=datetime(2020, 1, 1)), max(high, default=datetime(2020, 1, 1))


def _of_items(events: Events) -> Events:
    """Those of an item that the behaviour model knows."""
    of_items = events["code"] >= 0
    return {name: values[of_items] for name, values in events.items()}
