"""The sequences and items of a built shop, from ready.events and ready.items: whole, or piece by piece."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from huaxiang.engine import Engine, Lake, Step
from huaxiang.errors import ModelError
from huaxiang.features.filters import EVENT_CODES
from huaxiang.features.users import BUCKETS
from huaxiang.models.next_item.item_content import From, ItemContent, read_content
from huaxiang.models.next_item.sequences import Ints, Items, Sequences, joined

LAST = 200  # events of a customer that count, the last ones
PIECE = 4_000_000  # events read at once, about
TAGGED = ("category_top", "category_2", "category", "brand")
BANDS = 8  # price bands, of equally many items
# Of several events in a row on one item the type that tells most stands for all: who looked at it, and then bought it, bought it.
TELLING = (
    "purchase",
    "refund",
    "cancel",
    "checkout",
    "add_to_cart",
    "wish",
    "review",
    "share",
    "remove_from_cart",
    "unwish",
    "view",
)
TOLD = np.array(
    [0, *(len(TELLING) - TELLING.index(name) if name in TELLING else 0 for name in EVENT_CODES)]
)  # by event_no
CODES = len(TOLD)


def runs_sql(events: str) -> str:
    """SQL of the first event of each run on one item, `event_no` the type in the run that tells most; events: SQL with user_no, ts,
    event_id, event_no and item_no, all with an item."""
    of_user = "OVER (PARTITION BY user_no ORDER BY ts, event_id)"
    marked = f"SELECT *, item_no IS DISTINCT FROM lag(item_no) {of_user} AS new FROM ({events})"
    numbered = f"SELECT *, sum(new::INTEGER) {of_user} AS run FROM ({marked})"
    telling = f"{(TOLD * CODES + np.arange(CODES)).tolist()}[event_no + 1]"
    most = f"(max({telling}) OVER (PARTITION BY user_no, run) % {CODES})"
    return f"SELECT * EXCLUDE (new, run) REPLACE ({most} AS event_no) FROM ({numbered}) QUALIFY new"


def most_telling(kind: Ints, new: np.ndarray) -> Ints:
    """Of each run the event type that tells most; kind: event_no of each event; new: whether a run begins with it."""
    if not len(kind):
        return kind
    return np.asarray(np.maximum.reduceat(TOLD[kind] * CODES + kind, np.flatnonzero(new)) % CODES)


@dataclass(frozen=True)
class ShopItems:
    """The items met in events. number: (V,) item_no, rising: the code of an item is its place; items: what is known of them; content:
    where their content vectors are from."""

    number: Ints
    items: Items
    content: ItemContent = field(default_factory=ItemContent)


def read_items(lake: Lake | Step, content: From = "auto") -> ShopItems:
    """content: whose content vectors: auto: those the shop brings; title: made of titles; off: none

    raises: ModelError where no event has an item, or titles are asked for and the encoder is not installed
    """
    engine = _engine(lake)
    events, items = engine.sql(lake.table("ready.events")), engine.sql(lake.table("ready.items"))
    met = engine.arrow(f"SELECT DISTINCT item_no FROM ({events}) WHERE item_no IS NOT NULL ORDER BY item_no")
    if not met.num_rows:
        raise ModelError("models.next.no_items")
    number = met.column("item_no").to_numpy().astype(np.int64)
    known = engine.arrow(
        f"SELECT item_no, item_id, {', '.join(TAGGED)}, price FROM ({items}) WHERE item_no IS NOT NULL ORDER BY item_no"
    )
    known = known.filter(pa.array(np.isin(known.column("item_no").to_numpy(), number)))
    ids = tuple(known.column("item_id").to_pylist())
    assert len(ids) == len(number), "an event's item is in ready.items"
    like = read_content(lake, ids, content)
    return ShopItems(number, Items(ids, *_tags(known), like.vectors), like)


def read_pieces(
    lake: Lake | Step, met: ShopItems, *, pieces: int = 1, before: date | None = None, last: int = LAST
) -> Iterator[tuple[Sequences, tuple[str, ...]]]:
    """Each customer's last events with an item, in the order of time, and the customers' ids; customers by the hash of their id.

    Several events in a row on one item count once, with the time and price of the first and the type that tells most: what is
    foreseen is the next item, not the next click on this one.
    before: only events that had happened and were known before that local day; last: events of a customer, the last ones
    """
    engine = _engine(lake)
    events = engine.sql(lake.table("ready.events"))
    known = f" AND day < DATE '{before}' AND known_day < DATE '{before}'" if before else ""
    edges = np.linspace(0, BUCKETS, pieces + 1).astype(int)
    for low, high in itertools.pairwise(edges):
        mine = f" AND bucket >= {low} AND bucket < {high}" if pieces > 1 else ""
        changed = runs_sql(
            f"SELECT user_id, user_no, ts, event_id, event_no, item_no, price FROM ({events}) WHERE item_no IS NOT NULL{mine}{known}"
        )
        found = engine.arrow(
            f"SELECT user_id, item_no, event_no::BIGINT AS kind, epoch(ts)::BIGINT AS s, price FROM ({changed}) "
            f"QUALIFY row_number() OVER (PARTITION BY user_no ORDER BY ts DESC, event_id DESC) <= {last} "
            "ORDER BY user_no, ts, event_id"
        )
        if found.num_rows:
            yield _sequences(found, met.number)


def pieces_of(lake: Lake | Step) -> int:
    """In how many pieces a shop's events are read."""
    return min(-(-max(lake.rows("ready.events"), 1) // PIECE), BUCKETS)


def count_users(lake: Lake | Step) -> int:
    """Customers with an event of an item."""
    engine = _engine(lake)
    events = engine.sql(lake.table("ready.events"))
    return int(engine.value(f"SELECT count(DISTINCT user_no) FROM ({events}) WHERE item_no IS NOT NULL"))


def read_shop(
    lake: Lake | Step, content: From = "auto", *, most: int | None = None
) -> tuple[Sequences, Items, tuple[str, ...]]:
    """All sequences, the items met, and the customers' ids, read piece by piece.

    most: about so many events; where there are more, only a random part of the customers
    raises: ModelError where no event has an item
    """
    met = read_items(lake, content)
    parts: list[Sequences] = []
    users: list[str] = []
    for some, who in read_pieces(lake, met, pieces=pieces_of(lake)):
        parts.append(some)
        users += who
        if most is not None and sum(len(one.item) for one in parts) >= most:
            break
    return joined(parts), met.items, tuple(users)


def _sequences(found: pa.Table, number: Ints) -> tuple[Sequences, tuple[str, ...]]:
    users = found.column("user_id").combine_chunks().dictionary_encode()
    begins = np.flatnonzero(np.diff(users.indices.to_numpy(), prepend=-1))
    names = users.dictionary.to_pylist()
    sequences = Sequences(
        np.append(begins, found.num_rows).astype(np.int64),
        np.searchsorted(number, found.column("item_no").to_numpy()),
        found.column("s").to_numpy(),
        found.column("kind").to_numpy(),
        found.column("price").cast(pa.float64()).to_numpy(zero_copy_only=False),
    )
    return sequences, tuple(names[place] for place in users.indices.to_numpy()[begins])


def _tags(known: pa.Table) -> tuple[csr_matrix | None, dict[str, Ints]]:
    """(V, tags) 0/1: categories, brand and price band of each item (None where nothing is known of any); and the groups that can
    be foreseen: top category and price band, from 1 on."""
    rows, columns, size = [], [], 0
    groups: dict[str, Ints] = {}
    for name in TAGGED:
        codes = known.column(name).combine_chunks().dictionary_encode()
        has = np.flatnonzero(codes.is_valid().to_numpy(zero_copy_only=False))
        code = codes.indices.fill_null(0).to_numpy()
        rows.append(has)
        columns.append(code[has] + size)
        size += len(codes.dictionary)
        if name == TAGGED[0] and len(has):
            groups["category"] = np.zeros(known.num_rows, np.int64)
            groups["category"][has] = code[has] + 1
    price = known.column("price").cast(pa.float64()).to_numpy(zero_copy_only=False)
    priced = np.flatnonzero(np.isfinite(price) & (price > 0))
    if len(priced):
        edges = np.unique(np.quantile(price[priced], np.arange(1, BANDS) / BANDS))
        band = np.searchsorted(edges, price[priced], side="right")
        rows.append(priced)
        columns.append(band + size)
        size += len(edges) + 1
        groups["price_band"] = np.zeros(known.num_rows, np.int64)
        groups["price_band"][priced] = band + 1
    at = (np.concatenate(rows), np.concatenate(columns))
    tags = csr_matrix((np.ones(len(at[0])), at), shape=(known.num_rows, size)) if len(at[0]) else None
    return tags, groups


def _engine(lake: Lake | Step) -> Engine:
    return lake.lake.engine if isinstance(lake, Step) else lake.engine
