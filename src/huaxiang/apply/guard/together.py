"""What the accounts of one group do together, beyond chance: buy the same item on a day or within a fortnight, use coupons while new, be
made at one time.

A group is a ring; or all who hang together by devices, payments and other identifiers; or all who have one address (a locker serves
strangers, so addresses never chain). Chance is what everybody outside the group does: where that lets one expect e of the group's accounts, k
are together if the chance of so many (the Chernoff bound of a Poisson tail, exp(−(k ln(k / e) − k + e))) is below ALPHA, and below ALPHA over
the number of things the group could have met by.
source: Chernoff 1952; the bound for a Poisson: Mitzenmacher & Upfal 2005, theorem 5.4
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
FORTNIGHT = 14  # days; of two that are shifted, orders a week apart at most share one
MADE_DAYS = 7  # of each other
ALPHA = 0.01


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
    """user_no, order_key, copies: how many other accounts of a group bought one of the order's items on its day or within the fortnight (no
    row: no more than chance has it). of: what `load_groups` made."""
    number = "epoch(day::TIMESTAMP)::BIGINT // 86400"
    spans = (
        f"{number} * 3",
        f"{number} // {FORTNIGHT} * 3 + 1",
        f"({number} + {FORTNIGHT // 2}) // {FORTNIGHT} * 3 + 2",
    )
    sides = " UNION ALL ".join(f"SELECT user_no, order_key, item_no, {span} AS span FROM {window.lines} WHERE item_no IS NOT NULL" for span in spans)  # fmt: skip
    return f"""
        WITH l AS (SELECT DISTINCT * FROM ({sides})),
        everybody AS (SELECT span, count(DISTINCT user_no) AS active FROM l GROUP BY ALL),
        sold AS (SELECT span, item_no, count(DISTINCT user_no) AS buyers FROM l GROUP BY ALL),
        inside AS (SELECT g.grp, l.* FROM l JOIN {of} g USING (user_no)),
        active AS (SELECT grp, span, count(DISTINCT user_no) AS active FROM inside GROUP BY ALL),
        each AS (SELECT grp, span, item_no, count(DISTINCT user_no) AS users FROM inside GROUP BY ALL),
        tests AS (SELECT grp, count(*) AS tests FROM each GROUP BY ALL),
        judged AS (
            SELECT s.grp, s.span, s.item_no, t.tests, s.users - 1 AS others, (a.active - 1) * (b.buyers - s.users + 0.5) / (e.active - a.active + 1) AS usual
            FROM each s JOIN tests t USING (grp) JOIN active a USING (grp, span) JOIN sold b USING (span, item_no) JOIN everybody e USING (span)
            WHERE s.users > 1)
        SELECT i.user_no, i.order_key, max(j.others) AS copies FROM inside i JOIN judged j USING (grp, span, item_no)
        WHERE {beyond_chance_sql("j.others", "j.usual", "j.tests")} GROUP BY ALL"""


def beyond_chance_sql(count: str, usual: str, tests: str) -> str:
    """Whether so many are more than chance has, where as much was asked `tests` times."""
    return f"({count} > {usual} AND {count} * ln({count} / ({usual})) - {count} + {usual} > ln({tests} / {ALPHA}))"


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
    """The counts that are more than chance has, 0 for the others."""
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = count * np.log(count / usual) - count + usual
    return np.where((count > usual) & (surprise > -np.log(ALPHA)), count, 0.0)


def _largest(groups: Groups, value: Floats, users: int) -> Floats:
    found = np.zeros(users)
    np.maximum.at(found, groups.user, value)
    return found
