"""One customer's own events, held column by column: what the evidence, the timeline and the rhythm of a profile are read from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote

Row = dict[str, Any]
SHOWN = 5
TIMELINE = 20
LEAST_FOR_RHYTHM = 12
LISTED = 1_000  # more items than this are joined, not listed
_WANTED = ("event_id", "user_id", "ts", "event", "item_id", "category", "amount", "quantity", "hour", "weekday")


@dataclass(frozen=True)
class Behind:
    """The events behind a trait: their number and the latest of them, newest first."""

    count: int
    latest: list[Row]


@dataclass(frozen=True)
class Past:
    """The events of one customer before as-of, oldest first."""

    table: pa.Table
    as_of: datetime
    titles: Mapping[str, str]
    zone: ZoneInfo
    _read: dict[int, Row] = field(default_factory=dict, repr=False, compare=False)
    _found: dict[tuple[tuple[str, ...], int, bool], Behind] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _ts(self) -> np.ndarray:
        return self.table.column("ts").cast(pa.int64()).to_numpy()

    @cached_property
    def _kinds(self) -> tuple[np.ndarray, dict[str, int]]:
        coded = self.table.column("event").combine_chunks().dictionary_encode()
        if isinstance(coded, pa.ChunkedArray):
            coded = coded.combine_chunks()
        return coded.indices.to_numpy(zero_copy_only=False), {
            name: number for number, name in enumerate(coded.dictionary.to_pylist())
        }

    def find(self, kinds: Collection[str], days: int) -> np.ndarray:
        """Where the events of `kinds` (empty: all) in the last `days` (0: all history) lie, oldest first."""
        keep = np.ones(self.table.num_rows, dtype=bool)
        if kinds:
            codes, names = self._kinds
            keep = np.logical_or.reduce([codes == names.get(kind, -1) for kind in kinds])
        if days:
            keep &= self._ts >= _microseconds(_days_before(self.as_of, days, self.zone))
        return np.flatnonzero(keep)

    def behind(self, kinds: Collection[str], days: int, *, else_any: bool = False) -> Behind:
        """The events of `kinds` in the last `days` as evidence; all kinds where there are none of them and `else_any`."""
        key = (tuple(kinds), days, else_any)
        if key not in self._found:
            places = self.find(kinds, days)
            if else_any and not len(places):
                places = self.find((), days)
            self._found[key] = Behind(len(places), self.latest(places))
        return self._found[key]

    def latest(self, places: np.ndarray, limit: int = SHOWN) -> list[Row]:
        """The latest `limit` of the events at `places`, newest first, as a profile shows them."""
        return [self._shown(row) for row in self._rows(places[::-1][:limit])]

    def _rows(self, places: np.ndarray) -> list[Row]:
        """The events at `places` as dicts, each read once."""
        wanted = [int(place) for place in places]
        lacking = [place for place in wanted if place not in self._read]
        if lacking:
            self._read.update(zip(lacking, self.table.take(pa.array(lacking)).to_pylist(), strict=True))
        return [self._read[place] for place in wanted]

    def timeline(self) -> list[Row]:
        """The latest events of any kind, newest first."""
        rows = self._rows(np.arange(self.table.num_rows)[::-1][:TIMELINE])
        keys = ("ts", "event", "item_id", "title", "category", "amount")
        return [{key: (self._shown(row) | {"category": row.get("category")})[key] for key in keys} for row in rows]

    def spending(self, months: int = 13) -> list[Row]:
        """What was paid in each of the last `months` months (UTC) since the first purchase: [{"month", "spend"}]."""
        if "amount" not in self.table.column_names:
            return []
        places = self.find(("purchase",), 0)
        amounts = np.nan_to_num(
            pc.fill_null(self.table.column("amount").take(pa.array(places)), 0.0).to_numpy().astype(float)
        )
        if not amounts.any():
            return []
        month = self._ts[places].astype("datetime64[us]").astype("datetime64[M]").astype(int)
        end = int(np.datetime64(self.as_of, "us").astype("datetime64[M]").astype(int)) - (
            1 if self.as_of.day == 1 else 0
        )
        first = max(int(month.min()), end - months + 1)
        sums = np.bincount(np.clip(month - first, -1, None) + 1, weights=amounts, minlength=end - first + 2)[1:]
        return [
            {"month": str(np.datetime64(first + place, "M")), "spend": round(float(sums[place]), 2)}
            for place in range(end - first + 1)
        ]

    def rhythm(self) -> tuple[list[list[float]], int] | None:
        """Shares by weekday (Monday first) and hour of the shop, of purchases or, without them, of all; and their number."""
        if not {"hour", "weekday"} <= set(self.table.column_names):
            return None
        places = self.find(("purchase",), 0)
        places = places if len(places) else self.find((), 0)
        if len(places) < LEAST_FOR_RHYTHM:
            return None
        hour, day = (
            self.table.column(name).take(pa.array(places)).to_numpy().astype(int) for name in ("hour", "weekday")
        )
        grid = np.bincount((day - 1) * 24 + hour, minlength=168).reshape(7, 24) / len(places)
        return [[round(float(share), 4) for share in row] for row in grid], len(places)

    def _shown(self, row: Row) -> Row:
        item = row.get("item_id")
        return {
            "event_id": row.get("event_id"),
            "ts": write_time(row["ts"]),
            "event": row["event"],
            "item_id": item,
            "title": self.titles.get(item) if item is not None else None,
            "amount": finite(row.get("amount")),
        }


def read_pasts(
    lake: Lake, user_ids: Sequence[str], numbers: Mapping[str, int], as_of: datetime, zone: str
) -> Iterator[tuple[str, Past]]:
    """The past of each user in `user_ids`, in that order (empty where the lake has no ready.events).

    numbers: user_id -> user_no, by which the events are sorted ({}: unknown)
    """
    events, shop = _events(lake, user_ids, numbers, as_of), ZoneInfo(zone)
    titles = _titles(lake, events)
    owners = events.column("user_id").combine_chunks()
    names = owners.to_pylist() if len(user_ids) > 1 else []
    bounds: dict[str, tuple[int, int]] = {}
    for place, name in enumerate(names):
        first, _ = bounds.get(name, (place, 0))
        bounds[name] = (first, place + 1)
    for user_id in user_ids:
        if len(user_ids) == 1:
            yield user_id, Past(events, as_of, titles, shop)
        else:
            first, end = bounds.get(user_id, (0, 0))
            yield user_id, Past(events.slice(first, end - first), as_of, titles, shop)


def _events(lake: Lake, user_ids: Sequence[str], numbers: Mapping[str, int], as_of: datetime) -> pa.Table:
    """The events of some users before as-of, sorted by user and time."""
    if not lake.has("ready.events"):
        empty = {"user_id": pa.string(), "event_id": pa.string(), "ts": pa.timestamp("us"), "event": pa.string()}
        return pa.table({name: pa.array([], type) for name, type in empty.items()})
    table = lake.table("ready.events")
    columns = [name for name in _WANTED if name in table.columns]
    keys = pick_users(user_ids, numbers if "user_no" in table.columns else {})
    known = f" AND known_at < TIMESTAMP '{as_of.isoformat(sep=' ')}'" if "known_at" in table.columns else ""
    found: pa.Table = lake.engine.arrow(
        f"SELECT {', '.join(columns)} FROM ({lake.engine.sql(table)}) "
        f"WHERE {keys} AND ts < TIMESTAMP '{as_of.isoformat(sep=' ')}'{known} ORDER BY user_id, ts, event_id"
    )
    return found


def pick_users(user_ids: Sequence[str], numbers: Mapping[str, int]) -> str:
    """The condition that picks users from a table: by the number it is sorted by where there is one, so that few rows are read."""
    if not numbers:
        return f"user_id IN ({', '.join(map(quote, user_ids))})"
    wanted = sorted(numbers[user_id] for user_id in user_ids if user_id in numbers)
    if not wanted:
        return "false"
    # The range prunes row groups; a long IN alone does not.
    return f"user_no BETWEEN {wanted[0]} AND {wanted[-1]} AND user_no IN ({', '.join(map(str, wanted))})"


def _titles(lake: Lake, events: pa.Table) -> dict[str, str]:
    """item_id -> title of the items in `events`."""
    name = next((name for name in ("ready.items", "clean.items") if lake.has(name)), None)
    if name is None or "item_id" not in events.column_names or not events.num_rows:
        return {}
    items = lake.table(name)
    if "title" not in items.columns:
        return {}
    wanted = pc.unique(events.column("item_id")).drop_null()
    loaded = lake.engine.load(pa.table({"item_id": wanted})) if len(wanted) > LISTED else None
    listed = (
        f"SELECT item_id FROM {loaded.get_name()}"
        if loaded is not None
        else ", ".join(map(quote, wanted.to_pylist())) or "''"
    )
    rows = lake.engine.arrow(
        f"SELECT item_id, any_value(title) AS title FROM ({lake.engine.sql(items)}) "
        f"WHERE title IS NOT NULL AND item_id IN ({listed}) GROUP BY item_id"
    )
    if loaded is not None:
        lake.engine.drop(loaded)
    return dict(zip(rows.column("item_id").to_pylist(), rows.column("title").to_pylist(), strict=True))


def write_time(moment: datetime | None) -> str | None:
    """A naive UTC time as ISO 8601 with its Z."""
    return None if moment is None else f"{moment.isoformat(timespec='seconds')}Z"


def finite(value: Any) -> Any:
    """`value`, or None where it is NaN or infinite, which JSON does not know; a list with a hole is not known either."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, list):
        parts = [finite(part) for part in value]
        return None if any(part is None for part in parts) else parts
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    return value


@cache
def _days_before(as_of: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The local midnight `days` local days before as-of, in UTC: a window is whole days of the shop."""
    local = as_of.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None) - timedelta(days=days)
    return local.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None)


def _microseconds(moment: datetime) -> int:
    return int(np.datetime64(moment, "us").astype(np.int64))
