"""Buys: what every customer paid on which day, and the few numbers of it that purchase models read.

Letters: N customers, B buys (a customer's purchases of one day are one buy). Days are whole numbers from the first day of the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from huaxiang.models.metrics import Floats

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Buys:
    """One row a buy, sorted by customer and day.

    users: (N,) ids; user: (B,) places in `users`; day: (B,) days; paid: (B,) money, never negative; pieces: (B,) how many were bought
    """

    users: NDArray[np.object_]
    user: Index
    day: Index
    paid: Floats
    pieces: Floats

    def __len__(self) -> int:
        return len(self.users)

    def until(self, day: int) -> Buys:
        """The buys up to and including `day`, of those who had bought by then."""
        inside = self.day <= day
        known, user = np.unique(self.user[inside], return_inverse=True)
        user = user.astype(np.int64)
        return Buys(self.users[known], user, self.day[inside], self.paid[inside], self.pieces[inside])

    def after(self, day: int, days: int, known: Buys) -> tuple[Floats, Floats]:
        """What `known` (these buys until `day`) bought in the `days` after it: (N,) buys and (N,) money, N customers of `known`."""
        inside = (self.day > day) & (self.day <= day + days)
        place = np.full(len(self), -1)
        place[np.unique(self.user[self.day <= day])] = np.arange(len(known))
        at = place[self.user[inside]]
        met = at >= 0
        return (
            np.bincount(at[met], minlength=len(known)).astype(float),
            np.bincount(at[met], weights=self.paid[inside][met], minlength=len(known)).astype(float),
        )


def gather_buys(
    users: NDArray[np.object_], user: Index, day: Index, paid: Floats, pieces: Floats | None = None
) -> Buys:
    """Buys from lines in any order: those of one customer and day are added up.

    Lines whose day or amount is not a number are left out, and so are negative ones (refunds are no purchases); customers left without a
    buy are left out too.
    """
    pieces = np.ones(len(day)) if pieces is None else np.nan_to_num(pieces, nan=1.0)
    good = np.isfinite(paid) & (paid >= 0) & np.isfinite(day)
    user, day, paid, pieces = user[good], day[good].astype(np.int64), paid[good], pieces[good]
    known, user = np.unique(user, return_inverse=True)
    first = int(day.min()) if len(day) else 0
    key, inverse = np.unique(
        user * (int(day.max()) - first + 1 if len(day) else 1) + (day - first), return_inverse=True
    )
    span = int(day.max()) - first + 1 if len(day) else 1
    return Buys(
        users[known],
        (key // span).astype(np.int64),
        (key % span + first).astype(np.int64),
        np.bincount(inverse, weights=paid, minlength=len(key)).astype(float),
        np.bincount(inverse, weights=pieces, minlength=len(key)).astype(float),
    )


@dataclass(frozen=True)
class Summary:
    """What the purchase models know of a customer at the end of day `end`, each (N,); times in days.

    frequency: repeat buys (days with a purchase after the first); recency: from the first buy to the last; age: from the first buy to
    `end`; spend: money a buy, the mean over all of them
    """

    frequency: Floats
    recency: Floats
    age: Floats
    spend: Floats

    def __len__(self) -> int:
        return len(self.frequency)


def summarise(buys: Buys, end: int) -> Summary:
    """The summary of every customer of `buys`, none of which lies after `end`."""
    start, count = first_places(buys)
    first, last = buys.day[start], buys.day[start + count - 1]
    spend = np.bincount(buys.user, weights=buys.paid, minlength=len(buys)) / count
    return Summary((count - 1).astype(float), (last - first).astype(float), (end - first).astype(float), spend)


def first_places(buys: Buys) -> tuple[Index, Index]:
    """(N,) where each customer's buys begin, and (N,) how many there are."""
    count = np.bincount(buys.user, minlength=len(buys))
    return np.concatenate([[0], np.cumsum(count)[:-1]]).astype(np.int64), count
