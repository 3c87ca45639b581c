"""One look at a shop at a moment: signals, ties, rings, anomalies and risks of every customer of the window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

import numpy as np

from huaxiang.apply.guard.anomaly import ecod, isolation, share_below
from huaxiang.apply.guard.neighbours import aggregate
from huaxiang.apply.guard.rings import Rings, find_rings
from huaxiang.apply.guard.risks import RISKS, Risks, judge
from huaxiang.apply.guard.signals import SIGNALS, Signals, copy_orders, read_signals
from huaxiang.apply.guard.ties import Ties, read_ties
from huaxiang.apply.guard.together import find_groups
from huaxiang.apply.guard.window import WINDOW_DAYS, Sources, Window, open_window
from huaxiang.engine import Engine
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix

ANOMALIES = ("anomaly", "isolation")
KNOWN = (*SIGNALS, *RISKS, *ANOMALIES)  # what rules may name


@dataclass(frozen=True)
class Assessment:
    """U customers by user_no. anomaly, isolation: (U,) share of customers who are less unlike the others; orders: a table of the engine."""

    window: Window
    signals: Signals
    ties: Ties
    rings: Rings
    risks: Risks
    anomaly: Floats
    isolation: Floats
    orders: str

    def __len__(self) -> int:
        return len(self.signals)

    def known(self) -> Matrix:
        """(U, len(KNOWN)): the columns that rules may name."""
        values = np.column_stack([self.signals.values, self.risks.scores, self.anomaly, self.isolation])
        return Matrix(KNOWN, values)

    def features(self) -> Matrix:
        """What a model learns from: `known`, and the neighbours' signals and risks."""
        known = self.known()
        near = aggregate(self.ties, np.hstack([self.signals.values, self.risks.scores]), (*SIGNALS, *RISKS))
        return Matrix((*known.columns, *near.columns), np.hstack([known.values, near.values]))


@contextmanager
def assess(
    engine: Engine, sources: Sources, as_of: date, *, seed: int, days: int = WINDOW_DAYS
) -> Iterator[Assessment]:
    """The shop as known before the local midnight of `as_of`; the table of orders is dropped at the end."""
    with open_window(engine, sources, as_of, days=days) as window:
        ties = read_ties(engine, sources, window)
        rings = find_rings(ties)
        groups = find_groups(ties, rings)
        orders = copy_orders(engine, window, rings, groups)
        try:
            signals = read_signals(engine, window, ties, rings, groups, orders)
            values = signals.values
            few = len(values) < 2  # nobody to be unlike
            unlike = np.zeros(len(values)) if few else share_below(ecod(values))
            apart = np.zeros(len(values)) if few else share_below(isolation(values, seed=seed))
            yield Assessment(window, signals, ties, rings, judge(signals), unlike, apart, orders)
        finally:
            engine.drop(orders)
