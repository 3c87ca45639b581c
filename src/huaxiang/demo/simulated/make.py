"""The simulated shop, written piece by piece: data/*.parquet as the shop would export it, truth/*.parquet beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from huaxiang.demo.simulated import records, truths
from huaxiang.demo.simulated.acts import draw_acts
from huaxiang.demo.simulated.after import draw_after
from huaxiang.demo.simulated.catalogue import Catalogue, make_catalogue
from huaxiang.demo.simulated.coupons import Exposures, draw_exposures
from huaxiang.demo.simulated.ids import draw_cookies, identifiers_table, ties_table, true_identities
from huaxiang.demo.simulated.people import People, draw_people
from huaxiang.demo.simulated.records import Piece
from huaxiang.demo.simulated.rings import draw_rings
from huaxiang.demo.simulated.shelves import category_paths, items_table, test_accounts, users_table
from huaxiang.demo.simulated.visits import Effects, Habits, Visits, draw_habits, draw_visits
from huaxiang.demo.simulated.world import World
from huaxiang.progress import SILENT, Progress

Named = Iterator[tuple[str, pa.Table]]


def make_shop(folder: Path, world: World, *, progress: Progress = SILENT) -> dict[str, int]:
    """Write data/ and truth/ into `folder`; gives the rows of each file by its name ("data/clicks", …).

    The same world gives the same bytes. Memory holds one piece at a time.
    """
    for name in ("data", "truth"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    catalogue = make_catalogue(world)
    with (
        Files(folder, moved_us=world.moved_us) as files,
        progress.task("demo", f"{world.users} customers", world.pieces + 1) as advance,
    ):
        files.write("data/items", items_table(world, catalogue))
        files.write("truth/items", truths.true_items(catalogue))
        files.write("truth/leaves", pa.table({"path_zh": category_paths(0), "path_en": category_paths(1)}))
        for number in range(world.pieces):
            files.write_all(_ordinary(world, catalogue, number))
            advance(1)
        files.write_all(_rings(world, catalogue))
        files.write("data/users", test_accounts(files.schema("data/users")))
        files.write("data/clicks", records.robot_table(world, catalogue, files.schema("data/clicks")))
        advance(1)
        return files.rows


class Files:
    """Parquet files that grow by tables of one schema each. moved_us: added to every time"""

    def __init__(self, folder: Path, *, moved_us: int = 0) -> None:
        self.folder, self.moved_us = folder, moved_us
        self.rows: dict[str, int] = {}
        self._stack = ExitStack()
        self._open: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def write(self, name: str, table: pa.Table) -> None:
        if name not in self._open:
            path = self.folder / f"{name}.parquet"
            self._open[name] = self._stack.enter_context(pq.ParquetWriter(path, table.schema, compression="snappy"))
        self._open[name].write_table(move_times(table, self.moved_us) if self.moved_us else table)
        self.rows[name] = self.rows.get(name, 0) + table.num_rows

    def write_all(self, tables: Named) -> None:
        for name, table in tables:
            self.write(name, table)

    def schema(self, name: str) -> pa.Schema:
        return self._open[name].schema


def move_times(table: pa.Table, by_us: int) -> pa.Table:
    """The table with every time `by_us` later."""
    by = pa.scalar(by_us, pa.duration("us"))
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(place, field, pc.add(table.column(place), by).cast(field.type))
    return table


def _ordinary(world: World, catalogue: Catalogue, number: int) -> Named:
    people = draw_people(world, catalogue, number)
    exposures = draw_exposures(world, people, number)
    habits = draw_habits(world, catalogue, people, number)
    visits, effects = draw_visits(world, catalogue, people, exposures, habits, number)
    yield from _tables(world, catalogue, number, people, exposures, visits, effects, habits)
    yield "truth/users", truths.true_users(world, people)


def _rings(world: World, catalogue: Catalogue) -> Named:
    rings = draw_rings(world, catalogue)
    yield from _tables(world, catalogue, world.pieces, rings.people, rings.exposures, rings.visits, rings.effects, None)
    yield "truth/users", truths.true_users(world, rings.people, rings.ring)


def _tables(
    world: World,
    catalogue: Catalogue,
    number: int,
    people: People,
    exposures: Exposures,
    visits: Visits,
    effects: Effects,
    habits: Habits | None,
) -> Named:
    acts, lines = draw_acts(world, catalogue, people, visits, number)
    reviews, refunds, content = draw_after(world, catalogue, people, visits, lines, number)
    cookies = draw_cookies(people, visits)
    piece = Piece(number, people, visits, acts, lines, reviews, refunds, cookies, exposures)
    yield "data/users", users_table(world, people, number)
    yield "data/clicks", records.clicks_table(world, catalogue, piece)
    yield "data/orders", records.orders_table(world, catalogue, piece)
    yield "data/coupon_uses", records.coupon_uses_table(world, piece)
    yield "data/reviews", records.reviews_table(world, catalogue, piece)
    yield "data/refunds", records.refunds_table(world, catalogue, piece)
    yield "data/exposures", records.exposures_table(piece)
    yield "data/identifiers", identifiers_table(people, visits, acts, lines, cookies, float(world.days))
    yield "data/ties", ties_table(world, people, number)
    yield "truth/futures", truths.true_futures(world, people, habits, piece)
    yield "truth/next_views", truths.next_acts(world, catalogue, piece)
    yield "truth/exposures", truths.true_exposures(piece, effects)
    yield "truth/effects", truths.true_effects(world, people, habits)
    yield "truth/orders", truths.true_orders(world, piece, content)
    yield "truth/visits", truths.true_visits(world, piece)
    yield "truth/identities", true_identities(people, visits, cookies, float(world.days))
