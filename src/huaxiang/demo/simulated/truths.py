"""The truth of one piece: what no export holds and no step of the journey reads."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from huaxiang.demo.simulated.acts import VIEW
from huaxiang.demo.simulated.catalogue import Catalogue
from huaxiang.demo.simulated.coupons import CONTROL, WINDOW_DAYS
from huaxiang.demo.simulated.people import KINDS, OFFERS, People
from huaxiang.demo.simulated.records import Piece, campaign_names
from huaxiang.demo.simulated.shelves import STAMP, item_ids, pick
from huaxiang.demo.simulated.visits import Effects, Habits, fading
from huaxiang.demo.simulated.world import Floats, World, day_weights, user_ids, utc_us

SPANS = (7, 30, 90)
FIRST_ACTS = 10


def true_items(catalogue: Catalogue) -> pa.Table:
    """One row an item: its leaf (a place in truth/leaves), its quality and the day it was launched."""
    days = np.maximum(catalogue.launch, 0.0)
    return pa.table(
        {
            "item_id": item_ids(catalogue),
            "leaf": catalogue.leaf,
            "quality": catalogue.quality,
            "launched_at": pa.array(utc_us(days), STAMP),
        }
    )


def true_users(world: World, people: People, ring: np.ndarray | None = None) -> pa.Table:
    """One row a customer: what they are. ring: the fraud ring (-1: none)."""
    return pa.table(
        {
            "user_id": _ids(people),
            "person": people.person,
            "fraud": pick(list(KINDS), people.kind),
            "ring": np.full(len(people), -1) if ring is None else ring,
            "gone_at": pa.array(utc_us(people.gone), STAMP),
            "active": people.gone > world.days,
            "visits_per_day": people.rate,
            "price_sensitivity": people.sensitive,
            "satisfaction": people.content,
            "loyalty": people.loyal,
            "female": people.female,
            "birth_year": people.birth_year,
            "taste": pa.FixedSizeListArray.from_arrays(pa.array(people.taste.ravel(), pa.float32()), people.taste.shape[1]),
        }
    )  # fmt: skip


def true_futures(world: World, people: People, habits: Habits | None, piece: Piece) -> pa.Table:
    """One row a customer: what they do in the days after the last one recorded, and what to expect of one who knows everything
    about them but chance (expected_*): the best that any model could say."""
    lines, visits, n = piece.lines, piece.visits, len(people)
    columns: dict[str, pa.Array | Floats] = {"user_id": _ids(people)}
    amount = lines.price * lines.quantity - lines.discount
    user = visits.user[lines.visit]
    first = np.zeros(len(user), dtype=bool)
    first[np.unique(lines.visit, return_index=True)[1]] = True
    basket = np.bincount(user, weights=amount, minlength=n) / np.maximum(1, np.bincount(user[first], minlength=n))
    basket = np.where(basket > 0, basket, amount.sum() / max(1, first.sum()))
    for days in SPANS:
        within = (lines.day >= world.days) & (lines.day < world.days + days)
        columns[f"orders_{days}d"] = np.bincount(user[within & first], minlength=n)
        columns[f"spend_{days}d"] = np.round(
            np.bincount(user[within], weights=amount[within], minlength=n).astype(np.float64), 2
        )
        expected = _expected_orders(world, people, habits, days)
        columns[f"expected_orders_{days}d"] = expected
        columns[f"expected_spend_{days}d"] = np.round(expected * basket, 2)
    return pa.table(columns)


def next_acts(world: World, catalogue: Catalogue, piece: Piece) -> pa.Table:
    """The first ten items each customer views after the last day: user_id, rank (from 0), item_id, at."""
    acts, visits = piece.acts, piece.visits
    rows = np.nonzero((acts.day >= world.days) & (acts.event == VIEW))[0]
    user = visits.user[acts.visit[rows]]
    order = np.lexsort((acts.day[rows], user))
    rows, user = rows[order], user[order]
    start = np.searchsorted(user, user)
    rank = np.arange(len(user)) - start
    kept = rank < FIRST_ACTS
    rows = rows[kept]
    return pa.table(
        {
            "user_id": pick(piece.users, user[kept]),
            "rank": rank[kept],
            "item_id": pick(item_ids(catalogue), acts.item[rows]),
            "at": pa.array(utc_us(acts.day[rows]), STAMP),
        }
    )


def true_exposures(piece: Piece, effects: Effects) -> pa.Table:
    """One row an exposure: orders in its window without a coupon and with the one of its arm, and what each offer was expected to
    change (effect_*, in orders)."""
    seen, people = piece.exposures, piece.people
    columns: dict[str, pa.Array | Floats] = {
        "user_id": pick(piece.users, seen.user),
        "campaign": pick(campaign_names(64), seen.campaign),
        "arm": pick(["control", *OFFERS], seen.arm - CONTROL),
        "propensity": seen.propensity,
        "orders_without": effects.without,
        "orders_with_arm": effects.with_arm,
    }
    for number, offer in enumerate(OFFERS):
        moved = np.where(seen.active, people.lift[seen.user, number], 0.0)
        columns[f"effect_{offer}"] = moved - people.annoyed[seen.user] * effects.without
    return pa.table(columns)


def true_effects(world: World, people: People, habits: Habits | None) -> pa.Table:
    """One row a customer and offer: the extra orders expected in 14 days of a coupon sent on the last day."""
    active = people.gone >= world.days + WINDOW_DAYS
    lost = people.annoyed * _expected_orders(world, people, habits, WINDOW_DAYS)
    effect = np.where(active[:, None], people.lift, 0.0) - lost[:, None]
    return pa.table(
        {
            "user_id": _ids(people).take(pa.array(np.repeat(np.arange(len(people)), len(OFFERS)))),
            "offer": pick(list(OFFERS), np.tile(np.arange(len(OFFERS)), len(people))),
            "effect": effect.ravel(),
        }
    )


def true_orders(world: World, piece: Piece, content: Floats) -> pa.Table:
    """One row a recorded order: its fraud ('' where genuine) and how satisfied it left the customer."""
    lines, visits = piece.lines, piece.visits
    abused = np.zeros(len(lines.visit), dtype=bool)
    abused[piece.refunds.line[piece.refunds.abused]] = True
    visit, first = np.unique(lines.visit, return_index=True)
    of_visit = np.bincount(lines.visit, weights=abused, minlength=len(visits)) > 0
    fraud = np.where(of_visit[visit], KINDS.index("refund_abuse"), visits.fraud[visit])
    recorded = lines.day[first] < world.days
    visit, first, fraud = visit[recorded], first[recorded], fraud[recorded]
    return pa.table(
        {
            "order_id": piece.orders(visit),
            "user_id": pick(piece.users, visits.user[visit]),
            "fraud": pick(list(KINDS), fraud),
            "satisfaction": content[first],
        }
    )


def true_visits(world: World, piece: Piece) -> pa.Table:
    """One row a recorded visit: session_id, whose it was, whether it was to end in an order, and the leaf it was about."""
    visits = piece.visits
    rows = np.nonzero(visits.day < world.days)[0]
    return pa.table(
        {
            "session_id": pa.array(piece.sessions(rows)).cast(pa.string()),
            "user_id": pick(piece.users, visits.user[rows]),
            "buys": visits.buys[rows],
            "leaf": visits.leaf[rows],
        }
    )


def _ids(people: People) -> pa.Array:
    return pa.array(user_ids(people.number)).cast(pa.string())


def _expected_orders(world: World, people: People, habits: Habits | None, days: int) -> Floats:
    """Orders expected in the days after the last one, of one who knows rates, habits and the day of leaving."""
    if habits is None:
        return np.zeros(len(people))
    day = np.arange(world.days, world.days + days, dtype=np.float64)
    weights = day_weights(world.days + world.horizon)[world.days : world.days + days]
    buys = 1 / (1 + np.exp(-(people.buys[:, None] + 1.2 * np.log(weights))))
    here = np.clip(people.gone[:, None] - day, 0.0, 1.0)
    visits = people.rate[:, None] * weights * np.clip(fading(people.gone[:, None], day + 0.5), 0, 1)
    again = np.where(habits.has, 1 / habits.pace, 0.0)
    return np.asarray(((visits * buys + again[:, None]) * here).sum(axis=1))
