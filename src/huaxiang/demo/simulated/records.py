"""What the shop records of one piece's acts, as its systems would export it: clicks in UTC, back-office tables in the shop's time.

Some rows come twice, some late, some with holes; what has not arrived by the last day is not in the export.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from huaxiang.demo.simulated.acts import EVENTS, SEARCH, Acts, Lines
from huaxiang.demo.simulated.after import Refunds, Reviews, review_texts
from huaxiang.demo.simulated.catalogue import Catalogue, shelf_words
from huaxiang.demo.simulated.coupons import Exposures
from huaxiang.demo.simulated.ids import MODELS, PLATFORMS, Cookies, addresses, payments, ship_to
from huaxiang.demo.simulated.people import DEVICES, OFFERS, People
from huaxiang.demo.simulated.shelves import STAMP, item_ids, pick
from huaxiang.demo.simulated.visits import Visits
from huaxiang.demo.simulated.world import UTC_OFFSET_DAYS, Floats, Ints, World, hash01, user_ids, utc_us

_ROOM = 1 << 26  # numbers kept for each piece's clicks, visits and orders
OFFER_CODES = ("CASH15", "PCT12", "SHIP8")


@dataclass(frozen=True)
class Piece:
    """One piece of the world, drawn."""

    number: int
    people: People
    visits: Visits
    acts: Acts
    lines: Lines
    reviews: Reviews
    refunds: Refunds
    cookies: Cookies
    exposures: Exposures

    @property
    def users(self) -> list[str]:
        return [str(number) for number in user_ids(self.people.number).tolist()]

    def sessions(self, visit: Ints) -> Ints:
        """The shop's session ids of visits."""
        return self.number * _ROOM + visit

    def orders(self, visit: Ints) -> pa.Array:
        """The order numbers of visits, as the shop writes them."""
        return pa.array(20_000_000_000 + self.number * _ROOM + visit).cast(pa.string())


def clicks_table(world: World, catalogue: Catalogue, piece: Piece) -> pa.Table:
    chance, acts, visits = world.chance("clicks dirt", piece.number), piece.acts, piece.visits
    late = np.where(chance.random(len(acts.visit)) < 0.01, chance.exponential(1.0, len(acts.visit)), 0.0)
    arrives = acts.day + chance.exponential(4.0, len(acts.visit)) / 86_400 + late
    rows = np.nonzero(arrives < world.days)[0]
    twice = rows[chance.random(len(rows)) < 0.003]
    rows = np.concatenate((rows, twice))
    visit, event = acts.visit[rows], acts.event[rows]
    words, code = _queries()
    user, device, item = visits.user[visit], visits.device[visit], acts.item[rows]
    searched = code[
        visits.leaf[visit], piece.people.chinese[user].astype(np.int64), (hash01(visit, 3) * 2).astype(np.int64)
    ]
    return pa.table(
        {
            "id": piece.number * _ROOM + rows,
            "uid": pick(piece.users, user, hole=~acts.known[rows]),
            "cookie": pick(piece.cookies.names, piece.cookies.of[visit]),
            "sid": piece.sessions(visit),
            "event": pick(list(EVENTS), event),
            "sku": pick(item_ids(catalogue), np.maximum(item, 0), hole=item < 0),
            "keyword": pick(words, searched, hole=(event != SEARCH) | (chance.random(len(rows)) < 0.04)),
            **_device_columns(device, chance.random(len(rows)) < 0.02),
            "ts": pa.array(utc_us(acts.day[rows]), STAMP),
            "received": pa.array(utc_us(arrives[rows]), STAMP),
        }
    )


def orders_table(world: World, catalogue: Catalogue, piece: Piece) -> pa.Table:
    """One row an order line, paid before the last day; a few sent twice."""
    chance, lines, visits = world.chance("orders dirt", piece.number), piece.lines, piece.visits
    rows = np.nonzero(lines.day < world.days)[0]
    rows = np.concatenate((rows, rows[chance.random(len(rows)) < 0.002]))
    visit = lines.visit[rows]
    user = visits.user[visit]
    offer = visits.offer[visit]
    return pa.table(
        {
            "order_no": piece.orders(visit),
            "uid": pick(piece.users, user, hole=~lines.known[rows]),
            "cookie": pick(piece.cookies.names, piece.cookies.of[visit]),
            "sku": pick(item_ids(catalogue), lines.item[rows]),
            "qty": lines.quantity[rows],
            "unit_price": pa.array(lines.price[rows], mask=chance.random(len(rows)) < 0.002),
            "coupon_off": lines.discount[rows],
            "paid": np.round(lines.price[rows] * lines.quantity[rows] - lines.discount[rows], 2),
            "coupon": pick(list(OFFER_CODES), np.maximum(offer, 0), hole=offer < 0),
            "ship_to": addresses(ship_to(piece.people, visits, visit)),
            "pay_by": payments(piece.people.payment[user]),
            **_device_columns(visits.device[visit], chance.random(len(rows)) < 0.02),
            "paid_at": pa.array(shop_us(lines.day[rows]), STAMP),
        }
    )


def coupon_uses_table(world: World, piece: Piece) -> pa.Table:
    visits = piece.visits
    first = np.unique(piece.lines.visit, return_index=True)[1]
    visit, day = piece.lines.visit[first], piece.lines.day[first]
    used = (visits.offer[visit] >= 0) & (day < world.days)
    visit, day = visit[used], day[used]
    return pa.table(
        {
            "uid": pick(piece.users, visits.user[visit], hole=~piece.lines.known[first][used]),
            "cookie": pick(piece.cookies.names, piece.cookies.of[visit]),
            "order_no": piece.orders(visit),
            "coupon": pick(list(OFFER_CODES), visits.offer[visit]),
            "campaign": pick(campaign_names(64), visits.campaign[visit]),
            "used_at": pa.array(shop_us(day), STAMP),
        }
    )


def reviews_table(world: World, catalogue: Catalogue, piece: Piece) -> pa.Table:
    reviews, lines = piece.reviews, piece.lines
    rows = np.nonzero((reviews.day < world.days) & lines.known[reviews.line])[0]
    line = reviews.line[rows]
    visit = lines.visit[line]
    return pa.table(
        {
            "uid": pick(piece.users, piece.visits.user[visit]),
            "order_no": piece.orders(visit),
            "sku": pick(item_ids(catalogue), lines.item[line]),
            "stars": reviews.stars[rows],
            "words": pick(review_texts()[0], reviews.text[rows], hole=hash01(line, 9) < 0.15),
            "at": pa.array(shop_us(reviews.day[rows]), STAMP),
        }
    )


def refunds_table(world: World, catalogue: Catalogue, piece: Piece) -> pa.Table:
    refunds, lines = piece.refunds, piece.lines
    rows = np.nonzero(refunds.day < world.days)[0]
    line = refunds.line[rows]
    visit = lines.visit[line]
    return pa.table(
        {
            "uid": pick(piece.users, piece.visits.user[visit]),
            "order_no": piece.orders(visit),
            "sku": pick(item_ids(catalogue), lines.item[line]),
            "qty": lines.quantity[line],
            "paid_back": np.round(lines.price[line] * lines.quantity[line] - lines.discount[line], 2),
            "at": pa.array(shop_us(refunds.day[rows]), STAMP),
        }
    )


def exposures_table(piece: Piece) -> pa.Table:
    """The log of who was drawn for which coupon (arm control: drawn to get none), with the chance of it."""
    seen = piece.exposures
    return pa.table(
        {
            "uid": pick(piece.users, seen.user),
            "campaign": pick(campaign_names(64), seen.campaign),
            "arm": pick(["control", *OFFERS], seen.arm + 1),
            "coupon": pick(list(OFFER_CODES), np.maximum(seen.arm, 0), hole=seen.arm < 0),
            "propensity": seen.propensity,
            "sent_at": pa.array(shop_us(seen.day), STAMP),
        }
    )


def robot_table(world: World, catalogue: Catalogue, schema: pa.Schema) -> pa.Table:
    """A crawler: a view every tenth of a second for a minute."""
    count = 600
    rows = np.arange(count)
    day = world.days - 20 + rows / 864_000
    table = pa.table(
        {
            "id": (1 << 50) + rows,
            "uid": pa.nulls(count, pa.string()),
            "cookie": ["ckbot"] * count,
            "sid": np.full(count, 1 << 50),
            "event": ["view_item"] * count,
            "sku": pa.array(item_ids(catalogue)).take(pa.array(rows % len(catalogue.leaf))),
            "keyword": pa.nulls(count, pa.string()),
            "platform": ["web"] * count,
            "model": ["pc"] * count,
            "ts": pa.array(utc_us(day), STAMP),
            "received": pa.array(utc_us(day), STAMP),
        }
    )
    return table.cast(schema)


def shop_us(day: Floats) -> Ints:
    """Microseconds of times on the shop's own clock, as its back office writes them, to the second."""
    return utc_us(np.floor((day + UTC_OFFSET_DAYS) * 86_400 + 1e-6) / 86_400)


def campaign_names(count: int) -> list[str]:
    return [f"C{number + 1:02d}" for number in range(count)]


def _device_columns(device: Ints, hole: np.ndarray) -> dict[str, pa.Array]:
    place, phone = device % DEVICES, (hash01(device, 2) * 2).astype(np.int64)
    model = np.where(place == 0, phone, place + 1)
    platform = np.where(place == 0, np.where(hash01(device, 4) < 0.35, 2, 0), 1)
    return {"platform": pick(list(PLATFORMS), platform), "model": pick(list(MODELS), model, hole=hole)}


def _queries() -> tuple[list[str], Ints]:
    """Words people search with, and (L, language, 2) their places: the noun, the leaf's name."""
    leaves = shelf_words()["leaves"]
    words = [text for one in leaves for row in (1, 0) for text in (one["noun"][row], one["leaf"][row])]
    return words, np.arange(len(words)).reshape(len(leaves), 2, 2)
