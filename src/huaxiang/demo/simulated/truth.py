"""Reading the truth of a simulated shop, and joining it to what the shop knows under its own pseudonyms.

    truth = read_truth(folder)
    truth.table("users")                                              # raw ids, as the shop's systems write them
    beside = join_truth(shop, truth, "futures", "SELECT user_id, value FROM …")   # rows of the shop, their truth beside them

Only benchmarks and tests read it. The tables:

    users       what each customer is: person, fraud and ring, day of leaving, price sensitivity, satisfaction, taste (L shares of leaves)
    futures     orders and spend of the days after the last one, and what to expect of one who knows everything but chance
    next_views  the first ten items each views after the last day
    exposures   orders in each coupon's window without and with it, and what each offer was expected to change
    effects     extra orders expected of each offer sent on the last day
    orders      fraud of each order ('' where genuine) and the satisfaction it left
    visits      whether each session was to end in an order, and the leaf it was about
    identities  the person behind each user id and cookie
    items, leaves   the leaf of each item; the leaves' paths
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from huaxiang.errors import ShopError
from huaxiang.shop import Shop
from huaxiang.trust import Pseudonyms

TABLES = (
    "users",
    "futures",
    "next_views",
    "exposures",
    "effects",
    "orders",
    "visits",
    "identities",
    "items",
    "leaves",
)


@dataclass(frozen=True)
class Truth:
    """The truth in `folder`/truth."""

    folder: Path

    def table(self, name: str) -> pa.Table:
        """One of TABLES, its texts plain."""
        table = pq.read_table(self.folder / "truth" / f"{name}.parquet")
        fields = [
            field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in table.schema
        ]
        return table.cast(pa.schema(fields))


def read_truth(folder: Path) -> Truth:
    """The truth that lies beside a simulated shop's data; raises ShopError where there is none."""
    if any(not (folder / "truth" / f"{name}.parquet").exists() for name in TABLES):
        raise ShopError("shop.no_truth", folder=folder)
    return Truth(folder)


def with_pseudonyms(table: pa.Table, pseudonyms: Pseudonyms, column: str = "user_id") -> pa.Table:
    """The table with the raw ids of `column` as the shop's pseudonyms."""
    place = table.schema.get_field_index(column)
    return table.set_column(place, column, pseudonyms.of_array(table.column(column).combine_chunks()))


def join_truth(shop: Shop, truth: Truth, name: str, query: str) -> pa.Table:
    """The rows of `query` (SQL of the shop's engine, with `user_id`) that have a row in the truth's table `name`, its columns beside.

    Rows of visitors never linked to a user have none.
    """
    known = shop.engine.load(with_pseudonyms(truth.table(name), shop.pseudonyms()))
    try:
        return shop.engine.arrow(f"SELECT * FROM ({query}) JOIN {known.get_name()} USING (user_id) ORDER BY user_id")
    finally:
        shop.engine.drop(known)
