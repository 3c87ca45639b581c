"""What customers did with items, as arrays: read once, cut at any day.

Letters: U customers, V items, E events. Days are whole days since 1970 of the shop's own calendar.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from huaxiang.apply.recommend.known import Known, read_known
from huaxiang.engine import Lake, Step
from huaxiang.errors import ShopError
from huaxiang.features.fakes import everything_sql, is_fake_sql
from huaxiang.features.filters import EVENT_CODES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PURCHASE = EVENT_CODES["purchase"]
LAST = 400  # events of a customer that are read, the last ones
# How much an event says of what a customer likes; other types say nothing of an item.
WEIGHT = {
    "purchase": 1.0,
    "checkout": 0.7,
    "add_to_cart": 0.6,
    "wish": 0.6,
    "review": 0.5,
    "share": 0.5,
    "view": 0.25,
    "click": 0.2,
}
DECLARED = ("age_band", "gender", "city", "signup_channel")
COLUMNS = ("user", "item", "kind", "day", "known", "order", "second")  # of a Past, an event each
_WEIGHTS = np.array([0.0, *(WEIGHT.get(name, 0.0) for name in EVENT_CODES)])


@dataclass(frozen=True)
class Shelf:
    """The items. ids: (V,); category, group (the level above), brand: (V,) codes, −1 for none; price: (V,) money, NaN for unknown; listed: (V,) whether it
    can be had; title: (V,) as a person reads it; number: (V,) item_no, rising."""

    ids: tuple[str, ...]
    title: tuple[str, ...]
    category: Ints
    group: Ints
    brand: Ints
    price: Floats
    listed: NDArray[np.bool_]
    number: Ints

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Past:
    """users: (U,) ids, sorted; declared: (U, A) "attribute=value" of each of DECLARED, "" for none ((0, 0): nothing is); profile: (U, P) what the features of known.CHOSEN say of each ((0, 0): there are none), as of today, where nobody
    has put those of another day; the rest (E,), by user and time: user, item, event type, day, day it was known, order (−1: none), second since 1970."""

    users: tuple[str, ...]
    user: Ints
    item: Ints
    kind: Ints
    day: Ints
    known: Ints
    order: Ints
    second: Ints
    declared: NDArray[np.str_] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.str_))
    profile: Known = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def before(self, day: int) -> Past:
        """Only what had happened and was known before `day`."""
        kept = (self.day < day) & (self.known < day)
        return self if kept.all() else self._kept(kept)

    def within(self, first: int, last: int) -> Past:
        """Only what happened from `first` on and before `last`."""
        return self._kept((self.day >= first) & (self.day < last))

    def purchases(self) -> Past:
        return self._kept(self.kind == PURCHASE)

    def of(self, users: Ints) -> Past:
        """Only what these did, who keep their numbers."""
        return self._kept(np.isin(self.user, users))

    def without(self, user: int, items: Ints) -> Past:
        """Without what one customer did with some items."""
        return self._kept(~((self.user == user) & np.isin(self.item, items)))

    def _kept(self, rows: NDArray[np.bool_]) -> Past:
        return replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})

    @property
    def weight(self) -> Floats:
        """(E,) how much each event says of what the customer likes."""
        return _WEIGHTS[self.kind]

    @property
    def place(self) -> Ints:
        """(E,) how many events of the same customer came after."""
        ends = np.searchsorted(self.user, np.arange(len(self.users)), side="right")
        return ends[self.user] - 1 - np.arange(len(self.user))

    def matrix(self, items: int, values: Floats) -> csr_matrix:
        """(U, V) the sum of `values` (E,)."""
        found = csr_matrix((values, (self.user, self.item)), shape=(len(self.users), items))
        found.sum_duplicates()
        return found


def read_shelf(lake: Lake | Step) -> Shelf:
    """All items of the shop, those nobody met too; raises ShopError where nothing is built."""
    engine = lake.lake.engine if isinstance(lake, Step) else lake.engine
    if not lake.has("ready.items"):
        raise ShopError("recommend.not_built")
    found = engine.arrow(
        "SELECT item_no, item_id, coalesce(title, category || ' ' || item_id, item_id) AS title, coalesce(category_no, -1) AS category, coalesce(category_2_no, category_top_no, -1) AS above, "
        f"coalesce(brand_no, -1) AS brand, price, coalesce(listed, true) AS listed FROM ({engine.sql(lake.table('ready.items'))}) "
        "WHERE item_no IS NOT NULL ORDER BY item_no"
    )
    return Shelf(
        tuple(found.column("item_id").to_pylist()),
        tuple(found.column("title").to_pylist()),
        _ints(found, "category"),
        _ints(found, "above"),
        _ints(found, "brand"),
        found.column("price").cast(pa.float64()).to_numpy(zero_copy_only=False),
        found.column("listed").to_numpy(zero_copy_only=False).astype(bool),
        _ints(found, "item_no"),
    )


def read_past(
    lake: Lake | Step,
    shelf: Shelf,
    *,
    user_id: str = "",
    buckets: tuple[int, int] | None = None,
    before: int | None = None,
) -> Past:
    """The last events that have an item and say something of it: of every customer who has one; or of one customer, or of all in the
    buckets [low, high), who may have none. before: only what had happened and was known before that day (since 1970)."""
    engine = lake.lake.engine if isinstance(lake, Step) else lake.engine
    codes = ", ".join(str(code) for name, code in EVENT_CODES.items() if name in WEIGHT)
    fake = f" AND NOT {is_fake_sql(lake)}"  # what was bought for show says nothing of taste
    some = f" AND {_whose(user_id, buckets)}" if user_id or buckets else ""
    day = f"DATE '1970-01-01' + {before}"
    then = f" AND day < {day} AND known_day < {day}" if before is not None else ""
    found = engine.arrow(
        "SELECT user_id, item_no, event_no, day - DATE '1970-01-01' AS day, known_day - DATE '1970-01-01' AS known, "
        f"coalesce(order_key, -1) AS order_key, epoch(ts)::BIGINT AS second FROM ({everything_sql(lake)}) "
        f"WHERE item_no IS NOT NULL AND event_no IN ({codes}){some}{fake}{then} "
        f"QUALIFY row_number() OVER (PARTITION BY user_no ORDER BY ts DESC, event_id DESC) <= {LAST} ORDER BY user_id, ts, event_id"
    )
    coded = found.column("user_id").combine_chunks().dictionary_encode()
    met, at = coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    said = _read_declared(lake, _whose(user_id, buckets))
    users = tuple(met)
    if user_id:
        users = users or (user_id,)
    elif buckets:
        users = tuple(sorted({*met, *said.column("user_id").to_pylist()}))
        at = np.searchsorted(np.array(users), np.array(met, dtype=np.str_))[at] if met else at
    return Past(
        users,
        at,
        np.searchsorted(shelf.number, _ints(found, "item_no")),
        _ints(found, "event_no"),
        _ints(found, "day"),
        _ints(found, "known"),
        _ints(found, "order_key"),
        _ints(found, "second"),
        _declared(said, users),
        read_known(lake, users, _whose(user_id, buckets)),
    )


def with_quiet(lake: Lake, past: Past) -> Past:
    """`past` with the customers of the shop, too, who did nothing with an item: known by what they declared."""
    said = _read_declared(lake, "true")
    users = tuple(sorted({*past.users, *said.column("user_id").to_pylist()}))
    if users == past.users:
        return past
    place = np.searchsorted(np.array(users, dtype=np.str_), np.array(past.users, dtype=np.str_))
    declared, profile = _declared(said, users), read_known(lake, users)
    return replace(past, users=users, user=place[past.user], declared=declared, profile=profile)


def _whose(user_id: str, buckets: tuple[int, int] | None) -> str:
    """The condition on rows that have a user_id and a bucket."""
    from huaxiang.engine.duck import quote
    from huaxiang.features.users import bucket_of

    if user_id:
        return f"user_id = {quote(user_id)} AND bucket = {bucket_of(user_id)}"
    return f"bucket >= {buckets[0]} AND bucket < {buckets[1]}" if buckets else "true"


def _read_declared(lake: Lake | Step, whose: str) -> pa.Table:
    """user_id and what each said of themselves, no column of it where the shop has no users."""
    engine = lake.lake.engine if isinstance(lake, Step) else lake.engine
    if not lake.has("ready.users"):
        return pa.table({"user_id": pa.array([], pa.string())})
    columns = ", ".join(f"coalesce('{name}=' || {name}, '') AS {name}" for name in DECLARED)
    return engine.arrow(f"SELECT user_id, {columns} FROM ({engine.sql(lake.table('ready.users'))}) WHERE {whose}")


def _declared(found: pa.Table, users: tuple[str, ...]) -> NDArray[np.str_]:
    """(U, A) what each of `users` said of themselves, "" where nothing was."""
    if found.num_columns == 1 or not users:
        return np.zeros((0, 0), dtype=np.str_)
    place = pc.index_in(pa.array(users, pa.string()), found.column("user_id").combine_chunks())
    said = [pc.fill_null(pc.take(found.column(name).combine_chunks(), place), "") for name in DECLARED]
    return np.column_stack([one.to_numpy(zero_copy_only=False).astype(np.str_) for one in said])


def count_fakes(lake: Lake | Step) -> dict[str, int]:
    """Orders that the guard holds fake, and their events: what `read_past` leaves out."""
    engine = lake.lake.engine if isinstance(lake, Step) else lake.engine
    codes = ", ".join(str(code) for name, code in EVENT_CODES.items() if name in WEIGHT)
    found = engine.rows(
        f"SELECT count(DISTINCT (user_id, order_key)) AS orders, count(*) AS events FROM ({everything_sql(lake)}) "
        f"WHERE item_no IS NOT NULL AND event_no IN ({codes}) AND {is_fake_sql(lake)}"
    )
    return {name: int(value) for name, value in found[0].items()}


def distinct(values: Ints) -> Ints:
    """The values, ascending, each once: by sorting, which takes a third of what `numpy.unique` does."""
    found = np.sort(values)
    return found[np.concatenate([np.ones(min(len(found), 1), bool), found[1:] != found[:-1]])]


def day_of(text: str) -> int:
    """Days since 1970 of an ISO date."""
    return (date.fromisoformat(text[:10]) - date(1970, 1, 1)).days


def _ints(table: pa.Table, name: str) -> Ints:
    return table.column(name).to_numpy(zero_copy_only=False).astype(np.int64)
