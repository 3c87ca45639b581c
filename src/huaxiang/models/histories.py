"""What customers did before a date, read from ready.events: only what happened, and was known, before that day.

The rule is that of the features: an event counts at a date if the local days on which it happened and on which it became known both
lie before it. Events are read once for a chunk of customers, sorted; the rows of each date are then cut out of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from huaxiang.engine import Step
from huaxiang.features.zones import utc_midnight
from huaxiang.models.next_item.sequences import Floats, Ints, Sequences
from huaxiang.models.zoo.history import LENGTH, Histories, no_history
from huaxiang.settings import Settings

CHUNK = 2_000_000  # events held at a time while rows are cut out of them: about 0.2 GB
COLUMNS = {
    "user": "e.user_no",
    "day": "e.day - DATE '1970-01-01'",
    "known": "e.known_day - DATE '1970-01-01'",
    "ts": "epoch(e.ts)",
    "kind": "e.event_no",
    "item": "coalesce(e.item_no + 1, 0)",
    "price": "e.price",
    "category": "coalesce(e.category_top_no, -1)",
    "clock": "(e.weekday - 1)::INTEGER * 24 + e.hour",
}


@dataclass(frozen=True)
class HistoryReader:
    """Reads histories from one lake. zone: of the shop; names: category number -> its name; embed: the vectors of the events of items
    (`item` as in Histories), of which it reads no more than `embedded`, the last ones; vectors_only: where only they are
    wanted, not the events; recent: the vectors of the last reading, since
    the outcomes of a shop ask about the same customers at the same dates."""

    step: Step
    zone: str
    names: tuple[str, ...]
    embed: Callable[[Sequences], Floats] | None = None
    embedded: int = 0
    vectors_only: bool = False
    recent: Recent = field(init=False, default_factory=lambda: Recent())

    @classmethod
    def of(cls, step: Step, settings: Settings) -> HistoryReader | None:
        """None where the lake holds no ready.events (the build ran elsewhere)."""
        if not all(step.has(name) for name in ("ready.events", "ready.users", "ready.items")):
            return None
        engine = step.lake.engine
        found = engine.rows(
            f"SELECT DISTINCT category_top_no AS no, category_top AS name FROM ({engine.sql(step.table('ready.items'))}) "
            "WHERE category_top_no IS NOT NULL"
        )
        named = {int(row["no"]): str(row["name"]) for row in found}
        names = tuple(named.get(no, "") for no in range(max(named, default=-1) + 1))
        return cls(step, settings.shop.timezone, names)

    def read(self, users: pa.Array | pa.ChunkedArray, dates: NDArray[Any], length: int = LENGTH) -> Histories:
        """The last `length` events of each row: customer users[n] before the local day dates[n] (YYYY-MM-DD)."""
        if not len(users):
            return no_history(0)
        coded = (users.combine_chunks() if isinstance(users, pa.ChunkedArray) else users).dictionary_encode()
        day = dates.astype("datetime64[D]").astype(np.int64)
        at = self.recent.places(users, day)
        if self.vectors_only and (at >= 0).all():
            return replace(no_history(len(users)), vectors=self.recent.vectors[at])
        engine = self.step.lake.engine
        names = pa.table({"place": np.arange(len(coded.dictionary)), "user_id": coded.dictionary})
        asked = engine.load(names)
        people = engine.keep(
            f"SELECT a.place, u.user_no, u.bucket FROM {asked.get_name()} AS a "
            f"JOIN ({engine.sql(self.step.table('ready.users'))}) AS u USING (user_id)"
        )
        try:
            numbers = np.full(len(coded.dictionary), -1, dtype=np.int64)
            known = engine.arrow(f"SELECT place, user_no FROM {people.get_name()}")
            numbers[_ints(known, "place")] = _ints(known, "user_no")
            user = numbers[np.asarray(coded.indices, dtype=np.int64)]
            parts: list[Part] = []
            seen: list[tuple[Ints, Floats]] = []
            unseen = np.where(at < 0, user, -1)
            for events in self._chunks(people.get_name()):
                parts += [] if self.vectors_only else cut_rows(events, user, day, length)
                seen += self._vectors(events, unseen, day)
        finally:
            engine.drop(people)
            engine.drop(asked)
        found = self.joined(parts, day)
        if self.embed is None:
            return found
        if (at >= 0).any():
            seen.append((np.flatnonzero(at >= 0), self.recent.vectors[at[at >= 0]]))
        placed = self._placed(seen, found)
        self.recent.keep(users, day, placed[found.row])
        return replace(found, vectors=placed)

    def _vectors(self, events: dict[str, NDArray[Any]], user: Ints, day: Ints) -> Iterator[tuple[Ints, Floats]]:
        """Rows, and the vectors of what they took: events without an item say nothing to the behaviour model, and take no place."""
        if self.embed is None:
            return
        of_items = events["item"] > 0
        taken = {name: values[of_items] for name, values in events.items()}
        for part in cut_rows(taken, user, day, self.embedded):
            starts = np.concatenate([[0], np.cumsum(part.count)]).astype(np.int64)
            ts, kind, price = (part.events[name] for name in ("ts", "kind", "price"))
            yield part.rows, self.embed(Sequences(starts, part.events["item"], ts, kind, price.astype(float)))

    def _placed(self, seen: list[tuple[Ints, Floats]], found: Histories) -> Floats:
        """(M, W) the vectors in the order of the rows that were read; zeros for a row without an event of an item."""
        assert self.embed is not None
        width = self.embed(no_history(1).events).shape[1]
        vectors = np.zeros((len(found.events), width), np.float32)
        for rows, values in seen:
            vectors[found.row[rows]] = values
        return vectors

    def _chunks(self, people: str) -> Iterator[dict[str, NDArray[Any]]]:
        """The columns of the events of `people`, by customer and time; customers of neighbouring buckets (a slice of the files)
        together."""
        engine = self.step.lake.engine
        mine = f"({engine.sql(self.step.table('ready.events'))}) AS e JOIN {people} AS p USING (user_no)"
        counted = engine.arrow(f"SELECT e.bucket, count(*) AS n FROM {mine} GROUP BY ALL ORDER BY 1")
        bucket, chunk = _ints(counted, "bucket"), np.cumsum(_ints(counted, "n")) // CHUNK
        made = ", ".join(
            f"({sql})::{'DOUBLE' if name == 'price' else 'BIGINT'} AS {name}" for name, sql in COLUMNS.items()
        )
        for one in np.unique(chunk):
            within = bucket[chunk == one]
            found = engine.arrow(
                f"SELECT {made} FROM {mine} WHERE e.bucket BETWEEN {within[0]} AND {within[-1]} ORDER BY e.user_no, e.ts, e.event_id"
            )
            price = found.column("price").to_numpy(zero_copy_only=False).astype(float)
            yield {name: price if name == "price" else _ints(found, name) for name in COLUMNS}

    def joined(self, parts: list[Part], day: Ints) -> Histories:
        """All parts as one; rows that none of them holds have no events."""
        none = np.zeros(0, dtype=np.int64)
        order = np.concatenate([none, *(part.rows for part in parts)])
        order = np.concatenate([order, np.setdiff1d(np.arange(len(day)), order)])
        count = np.concatenate([none, *(part.count for part in parts)])
        starts = np.concatenate([[0], np.cumsum(count), np.full(len(day) - len(count), count.sum())]).astype(np.int64)
        row = np.empty(len(day), dtype=np.int64)
        row[order] = np.arange(len(day))
        flat = {name: np.concatenate([none, *(part.events[name] for part in parts)]) for name in COLUMNS}
        events = Sequences(starts, flat["item"], flat["ts"], flat["kind"], flat["price"].astype(float))
        days, place = np.unique(day[order], return_inverse=True)
        until = np.array([self._begin(int(one)) for one in days], dtype=np.int64)[place]
        return Histories(events, flat["category"], flat["clock"], until, self.names, row)

    def _begin(self, day: int) -> int:
        """The second (UTC) at which a local day begins."""
        midnight = utc_midnight(date(1970, 1, 1) + timedelta(days=day), self.zone)
        return int(midnight.replace(tzinfo=UTC).timestamp())


class Recent:
    """The vectors of one reading, found again by customer and day."""

    def __init__(self) -> None:
        self._keys = pa.array([], pa.string())
        self.vectors: Floats = np.zeros((0, 0), np.float32)

    def places(self, users: pa.Array | pa.ChunkedArray, day: Ints) -> Ints:
        """(N,) the row of `vectors` of each, -1 where it is not among them."""
        if not len(self._keys):
            return np.full(len(day), -1, dtype=np.int64)
        found = pa.compute.index_in(_keys(users, day), self._keys)
        return pa.compute.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)

    def keep(self, users: pa.Array | pa.ChunkedArray, day: Ints, vectors: Floats) -> None:
        self._keys, self.vectors = _keys(users, day), vectors


def _keys(users: pa.Array | pa.ChunkedArray, day: Ints) -> pa.Array:
    flat = users.combine_chunks() if isinstance(users, pa.ChunkedArray) else users
    return pa.compute.binary_join_element_wise(flat.cast(pa.string()), pa.array(day).cast(pa.string()), " ")


@dataclass(frozen=True)
class Part:
    """Rows (places among those asked for), how many events each has, and the columns of these, one row after another."""

    rows: Ints
    count: Ints
    events: dict[str, NDArray[Any]]


def cut_rows(events: dict[str, NDArray[Any]], user: Ints, day: Ints, length: int) -> Iterator[Part]:
    """The rows of `user` (N,) before `day` (N,) that have events among these, a date at a time."""
    for one in np.unique(day):
        seen = np.flatnonzero((events["day"] < one) & (events["known"] < one))
        rows = np.flatnonzero(day == one)
        first = np.searchsorted(events["user"][seen], user[rows], side="left")
        last = np.searchsorted(events["user"][seen], user[rows], side="right")
        count = np.minimum(last - first, length)
        rows, last, count = rows[count > 0], last[count > 0], count[count > 0]
        at = seen[np.arange(count.sum()) + np.repeat(last - np.cumsum(count), count)]
        yield Part(rows, count, {name: values[at] for name, values in events.items()})


def _ints(table: pa.Table, name: str) -> Ints:
    return table.column(name).to_numpy().astype(np.int64)
