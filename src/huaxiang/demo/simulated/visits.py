"""Visits: when each customer comes, for what, from which device, and whether it ends in an order."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np

from huaxiang.demo.simulated.catalogue import Catalogue
from huaxiang.demo.simulated.choices import choose_items, choose_leaves, loyal_items
from huaxiang.demo.simulated.coupons import CONTROL, WINDOW_DAYS, Exposures, campaign_days, window_of
from huaxiang.demo.simulated.people import DEVICES, KINDS, People
from huaxiang.demo.simulated.world import HOURS, Bools, Floats, Ints, World, day_weights

BROWSE, HABIT, COUPON, RING, THEFT = range(5)
TAKEOVER = KINDS.index("takeover")
FADE_DAYS = 45  # who leaves comes less often before
MOST_AGAIN = 48  # times that a habit is followed, at most: two weeks' pace for the whole time


@dataclass(frozen=True)
class Visits:
    """V visits, by user and time. user: place in People; kind: BROWSE …; anchor: the item it comes to; buys: ends in an order;
    offer, campaign: the coupon used (-1: none); device: number; remembered: logged in from the start; fraud: code of KINDS."""

    user: Ints
    day: Floats
    kind: Ints
    leaf: Ints
    anchor: Ints
    buys: Bools
    offer: Ints
    campaign: Ints
    device: Ints
    remembered: Bools
    fraud: Ints

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Ints | Bools) -> Visits:
        return Visits(*(getattr(self, field.name)[rows] for field in fields(self)))


Moments: TypeAlias = (
    "tuple[Ints, Floats, Ints, Bools]"  # user, day, kind and whether it buys, of visits by user and time
)


@dataclass(frozen=True)
class Effects:
    """What the coupons did, one row an exposure: orders in its window without any coupon, and with the one of its arm."""

    without: Ints
    with_arm: Ints


@dataclass(frozen=True)
class Habits:
    """What each customer buys again and again: has (N,), of which leaf, every `pace` days."""

    has: Bools
    leaf: Ints
    pace: Floats


def draw_habits(world: World, catalogue: Catalogue, people: People, piece: int) -> Habits:
    """The habit of each customer, if they have one, is the leaf they like best of those that are used up."""
    chance = world.chance("habits", piece)
    leaf = np.argmax(people.taste * (catalogue.habit_days > 0), axis=1)
    pace = catalogue.habit_days[leaf] * np.exp(chance.normal(0.1, 0.25, len(people)))
    has = chance.random(len(people)) < 0.12 + 0.5 * people.loyal * np.minimum(1.0, people.rate / 0.12)
    return Habits(has, leaf, pace)


def draw_visits(
    world: World, catalogue: Catalogue, people: People, exposures: Exposures, habits: Habits, piece: int
) -> tuple[Visits, Effects]:
    chance = world.chance("visits", piece)
    user, day, kind = _times(world, people, habits, chance)
    odds = people.buys[user] + np.log(day_weights(world.days + world.horizon)[day.astype(np.int64)]) * 1.2
    would = (chance.random(len(user)) < 1 / (1 + np.exp(-odds))) | (kind == HABIT)
    would &= day >= people.arrival[user]
    (user, day, kind, buys), effects = _with_coupons(world, people, exposures, (user, day, kind, would), chance)
    leaf, anchor = _aims(catalogue, people, habits, (user, day, kind, buys), chance)
    campaign, arm = _arms(world, exposures, user, day)
    uses = buys & (arm >= 0) & ((kind == COUPON) | (chance.random(len(user)) < 0.35))
    uses[uses] = _firsts(user[uses] * 64 + campaign[uses])  # a coupon is used once
    which = np.minimum((chance.random(len(user)) ** 1.7 * people.devices[user]).astype(np.int64), DEVICES - 1)
    visits = Visits(
        user=user,
        day=day,
        kind=kind,
        leaf=leaf,
        anchor=anchor,
        buys=buys,
        offer=np.where(uses, arm, -1),
        campaign=np.where(uses, campaign, -1),
        device=people.device[user, which],
        remembered=(chance.random(len(user)) < np.where(which == 0, 0.72, 0.4)) & (day > people.arrival[user]),
        fraud=np.zeros(len(user), dtype=np.int64),
    )
    return _with_thefts(world, catalogue, people, visits, chance), effects


def _with_coupons(
    world: World, people: People, exposures: Exposures, visits: Moments, chance: np.random.Generator
) -> tuple[Moments, Effects]:
    """The visits as the coupons changed them: orders fewer of those they annoy, visits more of those they move."""
    user, day, kind, would = visits
    without = _count(user, day, would, exposures)
    arm = _arms(world, exposures, user, day)[1]
    lost = would & (arm >= 0) & (chance.random(len(user)) < people.annoyed[user])
    more = exposures.active & (exposures.arm >= 0)
    more &= chance.random(len(more)) < people.lift[exposures.user, np.maximum(exposures.arm, 0)]
    with_arm = without - _count(user, day, lost, exposures) + more
    moved = np.nonzero(more)[0]
    users = np.concatenate((user, exposures.user[moved]))
    days = np.concatenate((day, exposures.day[moved] + WINDOW_DAYS * chance.beta(1.0, 2.0, len(moved))))
    kinds = np.concatenate((kind, np.full(len(moved), COUPON)))
    buys = np.concatenate((would & ~lost, np.ones(len(moved), dtype=bool)))
    order = np.lexsort((days, users))
    return (users[order], days[order], kinds[order], buys[order]), Effects(without, with_arm)


def _aims(
    catalogue: Catalogue, people: People, habits: Habits, visits: Moments, chance: np.random.Generator
) -> tuple[Ints, Ints]:
    """The leaf and the item each visit comes to; of what is used up, the loyal come back to the same."""
    user, day, kind, buys = visits
    leaf = choose_leaves(catalogue, people, user, day, buys, chance)
    habit = kind == HABIT
    leaf[habit] = habits.leaf[user[habit]]
    anchor = choose_items(catalogue, people, user, leaf, day, chance)
    again = habit | ((catalogue.habit_days[leaf] > 0) & (chance.random(len(user)) < 0.7 * people.loyal[user]))
    again &= chance.random(len(user)) < 0.45 + 0.55 * people.loyal[user]
    anchor[again] = loyal_items(catalogue, people, user[again], leaf[again])
    return leaf, anchor


def _arms(world: World, exposures: Exposures, user: Ints, day: Floats) -> tuple[Ints, Ints]:
    """The campaign in whose window each visit lies (-1: none) and the arm its user was drawn for."""
    campaign = window_of(day, len(campaign_days(world)))
    return campaign, np.where(campaign >= 0, exposures.arms[user, campaign], CONTROL)


def join_visits(parts: list[Visits]) -> Visits:
    """The visits of all parts, by user and time."""
    joined = Visits(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Visits)))
    return joined.take(np.lexsort((joined.day, joined.user)))


def _times(world: World, people: People, habits: Habits, chance: np.random.Generator) -> tuple[Ints, Floats, Ints]:
    """User, time and kind of the visits that no coupon caused, in order: a Poisson process thinned by week, season, pauses and
    the fading of who will leave; visits before registration; and habits, which come back at their own pace."""
    end = float(world.days + world.horizon)
    low, high = np.maximum(people.arrival, 0.0), np.minimum(people.gone, end)
    span = np.maximum(high - low, 0.0)
    weights = day_weights(world.days + world.horizon)
    user = np.repeat(np.arange(len(people)), chance.poisson(people.rate * span * weights.max()))
    day = low[user] + chance.random(len(user)) * span[user]
    keep = chance.random(len(user)) * weights.max() < weights[day.astype(np.int64)]
    paused = people.arrival + chance.uniform(20, 400, len(people))
    length = chance.exponential(25, len(people))
    keep &= (day < paused[user]) | (day > (paused + length)[user]) | (chance.random(len(user)) < 0.1)
    keep &= chance.random(len(user)) < fading(people.gone[user], day)
    user, day = user[keep], day[keep]
    day = _at_hours(day, people.owl[user], chance)

    new = np.nonzero(people.arrival >= 0)[0]  # registers in the open: the visit of registration and some before it
    before = np.repeat(new, chance.integers(0, 4, len(new)))
    before_day = people.arrival[before] - chance.exponential(2.5, len(before))
    early = before_day >= 0
    habit_user, habit_day = _habit_times(habits, low, high, chance)
    habit_day = np.minimum(_at_hours(habit_day, people.owl[habit_user], chance), end - 1e-3)
    users = np.concatenate((user, new, before[early], habit_user))
    days = np.concatenate((day, people.arrival[new] + 1e-3, before_day[early], habit_day))
    kinds = np.full(len(users), BROWSE)
    kinds[len(kinds) - len(habit_user) :] = HABIT
    order = np.lexsort((days, users))
    return users[order], days[order], kinds[order]


def fading(gone: Floats, day: Floats) -> Floats:
    """Share of their visits that those who will leave on the day `gone` still make (above 1: all)."""
    return np.asarray(0.2 + 0.8 * (gone - day) / FADE_DAYS)


def _at_hours(day: Floats, owl: Bools, chance: np.random.Generator) -> Floats:
    """The same days at hours people shop at."""
    draw = chance.random(len(day))
    hour = np.where(owl, np.searchsorted(HOURS[1], draw), np.searchsorted(HOURS[0], draw))
    return np.asarray(np.floor(day) + (hour + chance.random(len(day))) / 24)


def _habit_times(habits: Habits, low: Floats, high: Floats, chance: np.random.Generator) -> tuple[Ints, Floats]:
    """Users and times of buying again: gaps of about their pace, a quarter more or less each time."""
    gaps = habits.pace[:, None] * chance.gamma(14.0, 1 / 14.0, (len(low), MOST_AGAIN))
    times = low[:, None] + np.cumsum(gaps, axis=1)
    user, place = np.nonzero(habits.has[:, None] & (times < high[:, None]))
    return user, times[user, place]


def _count(user: Ints, day: Floats, marked: Bools, exposures: Exposures) -> Ints:
    """Marked visits (by user and time) within each exposure's window."""
    key, sums = user * 10_000.0 + day, np.concatenate(([0], np.cumsum(marked)))
    start = exposures.user * 10_000.0 + exposures.day
    low, high = np.searchsorted(key, start), np.searchsorted(key, start + WINDOW_DAYS)
    return np.asarray(sums[high] - sums[low])


def _firsts(keys: Ints) -> Bools:
    """Whether each key is the first of its kind."""
    found = np.zeros(len(keys), dtype=bool)
    found[np.unique(keys, return_index=True)[1]] = True
    return found


def _with_thefts(
    world: World, catalogue: Catalogue, people: People, visits: Visits, chance: np.random.Generator
) -> Visits:
    """The visits, and those of thieves: at night, from a device never seen, two or three dear orders within the hour."""
    victim = np.nonzero(people.kind == TAKEOVER)[0]
    if not len(victim):
        return visits
    known = np.maximum(people.arrival[victim] + 14, 30.0)  # an account that exists is stolen
    night = np.floor(chance.uniform(known, world.days - 3)) + chance.uniform(1.5, 4.5, len(victim)) / 24
    user = np.repeat(victim, chance.integers(2, 4, len(victim)))
    day = np.repeat(night, np.bincount(user, minlength=len(people))[victim])
    day = day + chance.uniform(0, 0.8, len(user)) / 24
    dear = np.argsort(-catalogue.price, kind="stable")[: max(20, len(catalogue.price) // 25)]
    dear = dear[catalogue.launch[dear] < 0]
    anchor = dear[chance.integers(0, len(dear), len(user))]
    none = np.full(len(user), -1)
    foreign = (world.users * 2 + people.number[user]) * DEVICES
    stolen = Visits(
        user=user,
        day=day,
        kind=np.full(len(user), THEFT),
        leaf=catalogue.leaf[anchor],
        anchor=anchor,
        buys=np.ones(len(user), dtype=bool),
        offer=none,
        campaign=none,
        device=foreign,
        remembered=np.zeros(len(user), dtype=bool),
        fraud=np.full(len(user), TAKEOVER),
    )
    return join_visits([visits, stolen])
