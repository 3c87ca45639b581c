"""The sequences and items of a built shop, from ready.events and ready.items."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from huaxiang.engine import Lake
from huaxiang.errors import ModelError
from huaxiang.models.next_item.sequences import Items, Sequences

LAST = 200  # events of a customer that count, the last ones
TAGGED = ("category_top", "category_2", "category", "brand")
BANDS = 8  # price bands, of equally many items


def read_shop(lake: Lake) -> tuple[Sequences, Items, tuple[str, ...]]:
    """Each customer's last events with an item, in the order of time; the items met; the customers' ids.

    Several events in a row on one item count once: what is foreseen is the next item, not the next click on this one.
    raises: ModelError where no event has an item
    """
    engine = lake.engine
    events, items = engine.sql(lake.table("ready.events")), engine.sql(lake.table("ready.items"))
    changed = (
        f"SELECT user_id, user_no, ts, event_id, event_no, item_no FROM ({events}) WHERE item_no IS NOT NULL "
        "QUALIFY item_no IS DISTINCT FROM lag(item_no) OVER (PARTITION BY user_no ORDER BY ts, event_id)"
    )
    found = engine.arrow(
        f"SELECT user_id, item_no, event_no::BIGINT AS kind, epoch(ts)::BIGINT AS s FROM ({changed}) "
        f"QUALIFY row_number() OVER (PARTITION BY user_no ORDER BY ts DESC, event_id DESC) <= {LAST} ORDER BY user_no, ts, event_id"
    )
    if not found.num_rows:
        raise ModelError("models.next.no_items")
    users = found.column("user_id").combine_chunks().dictionary_encode()
    begins = np.flatnonzero(np.diff(users.indices.to_numpy(), prepend=-1))
    numbers, item = np.unique(found.column("item_no").to_numpy(), return_inverse=True)
    sequences = Sequences(
        np.append(begins, found.num_rows).astype(np.int64),
        item.astype(np.int64),
        found.column("s").to_numpy(),
        found.column("kind").to_numpy(),
    )
    known = engine.arrow(
        f"SELECT item_no, item_id, {', '.join(TAGGED)}, price FROM ({items}) WHERE item_no IS NOT NULL ORDER BY item_no"
    )
    known = known.filter(pa.array(np.isin(known.column("item_no").to_numpy(), numbers)))
    ids = tuple(known.column("item_id").to_pylist())
    assert len(ids) == len(numbers), "an event's item is in ready.items"
    names = users.dictionary.to_pylist()
    return sequences, Items(ids, _tags(known)), tuple(names[place] for place in users.indices.to_numpy()[begins])


def _tags(known: pa.Table) -> csr_matrix | None:
    """(V, tags) 0/1: categories, brand and price band of each item; None where nothing is known of any."""
    rows, columns, size = [], [], 0
    for name in TAGGED:
        codes = known.column(name).combine_chunks().dictionary_encode()
        has = np.flatnonzero(codes.is_valid().to_numpy(zero_copy_only=False))
        rows.append(has)
        columns.append(codes.indices.fill_null(0).to_numpy()[has] + size)
        size += len(codes.dictionary)
    price = known.column("price").cast(pa.float64()).to_numpy(zero_copy_only=False)
    priced = np.flatnonzero(np.isfinite(price) & (price > 0))
    if len(priced):
        edges = np.unique(np.quantile(price[priced], np.arange(1, BANDS) / BANDS))
        rows.append(priced)
        columns.append(np.searchsorted(edges, price[priced], side="right") + size)
        size += len(edges) + 1
    at = (np.concatenate(rows), np.concatenate(columns))
    return csr_matrix((np.ones(len(at[0])), at), shape=(known.num_rows, size)) if len(at[0]) else None
