"""The shape of the states of one set of features: which slots there are, which columns they read, how far back they reach."""

from __future__ import annotations

from huaxiang.features.filters import Expression
from huaxiang.features.live.slots import FIXED, FOREVER, make_slots
from huaxiang.features.nodes import column
from huaxiang.features.plan import KeyPlan, Measure, Plan, Since

SESSION_COLUMNS = {"session_start", "session_gap_s"}


class Layout:
    """totals, keys, days, latest: what of the plan is kept; slots, key_slots: the slots of the totals and of each key;
    columns, place: of an event row; gap: microseconds that end a session; horizon, day_horizons, key_horizons, session_days:
    the days that tiles, days, values of a key and sessions are kept."""

    def __init__(self, plan: Plan, session_gap_min: int) -> None:
        self.plan = plan
        self.gap = session_gap_min * 60_000_000
        self.totals = {total: alias for total, alias in plan.totals.items() if not is_session(total.measure)}
        self.keys = list(plan.keys.values())
        self.days = list(dict.fromkeys(fold.where for fold in plan.days))
        self.latest = list(plan.exacts)
        self.slots = make_slots(self.totals)
        self.key_slots = [make_slots(made.measures) for made in self.keys]
        self.columns = self._read_columns()
        self.place = {name: place for place, name in enumerate(self.columns)}
        sessions = [total.window for total in plan.totals if is_session(total.measure)]
        self.session_days = max((window.days + window.shift or FOREVER for window in sessions), default=0)
        self.horizon = max((slot.horizon for slot in self.slots.values()), default=0)
        self.day_horizons = [_day_horizon(where, plan) for where in self.days]
        self.key_horizons = [_key_horizon(made) for made in self.keys]

    def _read_columns(self) -> tuple[str, ...]:
        found = set[str]()
        for slots in (self.slots, *self.key_slots):
            for one in slots:
                found |= one.columns()
        for made in self.keys:
            found |= made.key.columns()
        for where in (*self.days, *(exact.where for exact in self.latest)):
            found |= where.columns
        for exact in self.latest:
            found |= exact.value.columns()
        return (*FIXED, *sorted(found - {*FIXED, "as_of_no", *SESSION_COLUMNS}))


def is_session(measure: Measure) -> bool:
    """Whether a measure is one of the two that sessions.py answers: sessions begun, and seconds in them."""
    if measure.event is not None or measure.half_life:
        return False
    begun = measure.how == "count" and measure.value is None and measure.rest == column("session_start")
    return begun or (measure.how == "sum" and measure.rest is None and measure.value == column("session_gap_s"))


def _day_horizon(where: Expression, plan: Plan) -> int:
    """The days after which a day can be forgotten: a gap's other end may lie anywhere before its window."""
    folds = [fold for fold in plan.days if fold.where == where]
    if any(fold.how in ("mean", "std") for fold in folds):
        return FOREVER
    return max(fold.window.days + fold.window.shift or FOREVER for fold in folds)


def _key_horizon(made: KeyPlan) -> int:
    """The days after which a value of the key that was not met again can be forgotten."""
    days = 0
    for fold in made.folds:
        if isinstance(fold, Since) and fold.days and fold.day.measure.how == "max":
            days = max(days, fold.days)
        else:
            days = max(days, *(total.window.days + total.window.shift or FOREVER for total in fold.totals))
    return days
