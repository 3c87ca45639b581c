"""Campaigns: who was drawn to get which coupon, with what chance, and what it does to each customer.

Every 30 days each registered customer takes part with chance ELIGIBLE; of those, a share that depends on the member level (and is
logged) gets one of three coupons, evenly. The effect is known: an order more with chance `People.lift` within 14 days, or, of the
annoyed, a share of their orders less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from huaxiang.demo.simulated.people import OFFERS, People
from huaxiang.demo.simulated.world import Bools, Floats, Ints, World

FIRST_DAY, EVERY_DAYS, WINDOW_DAYS = 25, 30, 14
ELIGIBLE = 0.7
TREATED = np.array([0.45, 0.55, 0.65])  # by member level
NOBODY, CONTROL = -2, -1  # arms that are no offer: takes no part; takes part and gets nothing


@dataclass(frozen=True)
class Exposures:
    """One row a customer drawn for a campaign. arm: CONTROL or the offer's number; propensity: the logged chance of that arm;
    active: still a customer for the whole window, so that the coupon has its effect; arms: (N, campaigns) the same as a matrix."""

    user: Ints
    campaign: Ints
    day: Floats
    arm: Ints
    propensity: Floats
    active: Bools
    arms: Ints


def campaign_days(world: World) -> Floats:
    return np.arange(FIRST_DAY, world.days - WINDOW_DAYS, EVERY_DAYS, dtype=np.float64)


def draw_exposures(world: World, people: People, piece: int) -> Exposures:
    chance, days = world.chance("coupons", piece), campaign_days(world) + 10 / 24
    n, k = len(people), len(days)
    treated = TREATED[people.level]
    takes_part = (people.arrival[:, None] < days) & (chance.random((n, k)) < ELIGIBLE)
    gets = chance.random((n, k)) < treated[:, None]
    arms = np.where(gets, chance.integers(0, len(OFFERS), (n, k)), CONTROL)
    arms = np.where(takes_part, arms, NOBODY)
    user, campaign = np.nonzero(arms != NOBODY)
    arm, day = arms[user, campaign], days[campaign]
    return Exposures(
        user=user,
        campaign=campaign,
        day=day,
        arm=arm,
        propensity=np.where(arm >= 0, treated[user] / len(OFFERS), 1 - treated[user]),
        active=people.gone[user] >= day + WINDOW_DAYS,
        arms=arms,
    )


def window_of(day: Floats, campaigns: int) -> Ints:
    """The campaign in whose window each time lies (-1: none)."""
    since = day - (FIRST_DAY + 10 / 24)
    found = np.floor(since / EVERY_DAYS).astype(np.int64)
    inside = (since >= 0) & (since - found * EVERY_DAYS < WINDOW_DAYS) & (found < campaigns)
    return np.where(inside, found, -1)
