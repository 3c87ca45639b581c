"""What the accounts of one group do together, beyond chance: buy the same item within a fortnight, use coupons while new, be made at one time.

A group is a ring; or all who hang together by devices, payments and other identifiers; or all who have one address (a locker serves
strangers, so addresses never chain). Chance is what everybody outside the group does: of A accounts a number above e + 3 √e, the mean and
three standard deviations of a Poisson, is held to be together; anything less is no sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from huaxiang.apply.guard.rings import Rings, find_circles
from huaxiang.apply.guard.ties import KINDS, Ties
from huaxiang.apply.guard.window import Window
from huaxiang.engine import Engine
from huaxiang.models.metrics import Floats

Ints = NDArray[np.int64]
WEEKS_DAYS = 14  # orders in one of two shifted fortnights: those a week apart at most share one
MADE_DAYS = 7  # of each other
SURE = 3.0  # standard deviations


@dataclass(frozen=True)
class Groups:
    """G memberships. user: (G,) places 0 … U−1; group: (G,) 0 … ; sizes: (groups,)."""

    user: Ints
    group: Ints

    @property
    def sizes(self) -> Ints:
        return np.bincount(self.group).astype(np.int64)


def find_groups(ties: Ties, rings: Rings) -> Groups:
    """Rings, circles and addresses, of two accounts or more each."""
    users, groups, made = [], [], 0
    for of in (rings.of, find_circles(ties)):
        inside = np.flatnonzero(of >= 0)
        users.append(inside)
        groups.append(made + of[inside])
        made += int(of.max(initial=-1)) + 1
    there = ties.kind[ties.key] == KINDS.index("address")
    users.append(ties.user[there])
    groups.append(made + ties.key[there])
    user, group = np.concatenate(users), np.concatenate(groups)
    return Groups(user, np.unique(group, return_inverse=True)[1].astype(np.int64))


def load_groups(engine: Engine, window: Window, groups: Groups) -> str:
    """The name of a table: user_no, grp."""
    nos = engine.arrow(f"SELECT user_no FROM {window.members} ORDER BY user_no")["user_no"]
    return engine.load(pa.table({"user_no": nos.take(pa.array(groups.user)), "grp": groups.group})).get_name()


def copies_sql(window: Window, of: str) -> str:
    """user_no, order_key, copies: how many other accounts of a group bought one of the order's items within the fortnight (0: as chance
    has it). of: what `load_groups` made."""
    sides = " UNION ALL ".join(
        f"SELECT user_no, order_key, item_no, (epoch(day::TIMESTAMP) / 86400 + {shift})::BIGINT // {WEEKS_DAYS} * 2 + {place} AS span FROM {window.lines} WHERE item_no IS NOT NULL"
        for place, shift in enumerate((0, WEEKS_DAYS // 2))
    )
    return f"""
        WITH l AS (SELECT DISTINCT * FROM ({sides})),
        everybody AS (SELECT span, count(DISTINCT user_no) AS active FROM l GROUP BY ALL),
        sold AS (SELECT span, item_no, count(DISTINCT user_no) AS buyers FROM l GROUP BY ALL),
        inside AS (SELECT g.grp, l.* FROM l JOIN {of} g USING (user_no)),
        active AS (SELECT grp, span, count(DISTINCT user_no) AS active FROM inside GROUP BY ALL),
        same AS (SELECT grp, span, item_no, count(DISTINCT user_no) AS users FROM inside GROUP BY ALL HAVING count(DISTINCT user_no) > 1),
        judged AS (
            SELECT s.grp, s.span, s.item_no, s.users - 1 AS others, (a.active - 1) * (b.buyers - s.users + 0.5) / (e.active - a.active + 1) AS usual
            FROM same s JOIN active a USING (grp, span) JOIN sold b USING (span, item_no) JOIN everybody e USING (span))
        SELECT i.user_no, i.order_key, max(j.others) AS copies FROM inside i JOIN judged j USING (grp, span, item_no)
        WHERE j.others > j.usual + {SURE} * sqrt(j.usual) GROUP BY ALL"""


def count_coupon_users(groups: Groups, used: NDArray[np.bool_]) -> Floats:
    """(U,) accounts of the customer's group that used a coupon while new, where they are more than chance has; the largest over the groups."""
    sizes = groups.sizes
    inside = np.bincount(groups.group, weights=used[groups.user], minlength=len(sizes))
    outside = (used.sum() - inside + 0.5) / (len(used) - sizes + 1)
    return _largest(groups, _sure(inside, sizes * outside)[groups.group], len(used))


def count_made_together(groups: Groups, day: Floats) -> Floats:
    """(U,) accounts of the customer's group, itself counted, that were made within MADE_DAYS of it, where they are more than chance has.
    day: (U,) on which each account was made"""
    if not len(groups.user):
        return np.zeros(len(day))
    span = 10.0 * (day.max() - day.min() + 1) + MADE_DAYS
    key = groups.group * span + (day - day.min())[groups.user]
    ordered, everybody = np.sort(key), np.sort(day)
    near = _within(ordered, key).astype(float)
    of_all = _within(everybody, day)[groups.user]
    size = groups.sizes[groups.group]
    usual = (size - 1) * (of_all - near + 0.5) / (len(day) - size + 1)
    return _largest(groups, np.where(_sure(near - 1, usual) > 0, near, 0.0), len(day))


def _within(ordered: Floats, at: Floats) -> Floats:
    return np.asarray(np.searchsorted(ordered, at + MADE_DAYS, side="right") - np.searchsorted(ordered, at - MADE_DAYS))


def _sure(count: NDArray[Any], usual: Floats) -> Floats:
    return np.where(count > usual + SURE * np.sqrt(usual), count, 0.0)


def _largest(groups: Groups, value: Floats, users: int) -> Floats:
    found = np.zeros(users)
    np.maximum.at(found, groups.user, value)
    return found
