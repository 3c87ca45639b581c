"""When a customer buys next: BG/NBD's distribution, its levels put right by what came after the day it was last asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from huaxiang.apply.predict.buys import Buys
from huaxiang.apply.predict.heads import Asked
from huaxiang.models.metrics import Floats

LEVELS = (0.1, 0.5, 0.9)  # by this day the next buy has come for one in ten, for half, for nine in ten such customers
GRID = 1000  # steps on which the map of levels is kept


@dataclass(frozen=True)
class NextBuy:
    """`said` → `came` (G,): the chance BG/NBD said, and the share of customers who had bought by then, both rising.

    measured: level -> share who had bought by the day named for it, of customers the map was not learned from; those whose day lies
    beyond the days seen are left out (NaN: all are)
    """

    said: Floats
    came: Floats
    measured: dict[float, float]

    def days(self, asked: Asked, level: float) -> Floats:
        """(N,) whole days until the next buy has come with chance `level`; infinite where it may never come."""
        return np.ceil(asked.model.next_after(asked.known, np.full(len(asked.known), self._told(level))))

    def chance(self, asked: Asked, days: float) -> Floats:
        """(N,) chance that the next buy comes within `days`."""
        return np.interp(asked.model.bought_by(asked.known, days), self.said, self.came)

    def _told(self, level: float) -> float:
        """The chance BG/NBD says where `level` is true; 1 where the days seen never showed so many."""
        at = int(np.searchsorted(self.came, level))
        return 1.0 if at >= len(self.came) else float(self.said[at])


def learn_next(buys: Buys, asked: Asked, *, seed: int) -> NextBuy:
    """The map of levels from the `asked.days` after the day that `asked` stands at; buys after those days are not read.

    source: Kaplan & Meier 1958 on the model's own probabilities: who had not bought when the days ended counts as censored there
    """
    wait = first_after(buys, asked)
    half = np.random.default_rng(seed).permutation(len(wait)) % 2 == 0
    said, came = _levels(asked, wait, half)
    tried = NextBuy(said, came, {})
    measured = {}
    for level in LEVELS:
        day = tried.days(asked, level)
        judged = ~half & (day <= asked.days)
        measured[level] = float(np.mean(wait[judged] <= day[judged])) if judged.any() else float("nan")
    return NextBuy(*_levels(asked, wait, np.ones(len(wait), dtype=bool)), measured)


def first_after(buys: Buys, asked: Asked) -> Floats:
    """(N,) days from `asked.end` to each customer's next buy; infinite where none came within `asked.days`."""
    inside = (buys.day > asked.end) & (buys.day <= asked.end + asked.days)
    wait = np.full(len(buys), np.inf)
    np.minimum.at(wait, buys.user[inside], (buys.day[inside] - asked.end).astype(float))
    return wait[np.unique(buys.user[buys.day <= asked.end])]


def _levels(asked: Asked, wait: Floats, rows: np.ndarray) -> tuple[Floats, Floats]:
    """The map on a grid of said chances, from the customers `rows` (N,) marks."""
    said = asked.model.bought_by(asked.known, np.minimum(wait, asked.days))[rows]
    bought = np.isfinite(wait)[rows]
    order = np.lexsort((~bought, said))
    left = len(order) - np.arange(len(order))
    still = np.cumprod(1 - bought[order] / left)
    grid = np.linspace(0, 1, GRID + 1)
    place = np.searchsorted(said[order], grid, side="right") - 1
    return grid, np.where(place >= 0, 1 - still[np.maximum(place, 0)], 0.0)
