"""What a campaign did: each arm as assigned, exposed or not (intention to treat), CUPED and always-valid intervals (sequential.py)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from huaxiang.apply.market.campaign_terms import Campaign
from huaxiang.apply.market.consent import ASSIGNED, CONTACT, known_events, known_span
from huaxiang.apply.market.samples import detectable_effect
from huaxiang.apply.market.sequential import Difference, read_difference
from huaxiang.engine import Lake
from huaxiang.errors import DefinitionError, ShopError
from huaxiang.models.metrics import Floats

METRICS = ("purchase", "spend")


@dataclass(frozen=True)
class Reading:
    """difference: in the metric's unit a customer; total: over all treated, with its interval.

    exposures: log lines of the campaign; repeated: those beyond a customer's first; exposed: customers; exposed_holdout: held-out
    customers whom a message reached all the same (they stay in the hold-out, which makes the effect look smaller, not larger);
    days: of the outcome that have passed; complete: whether all planned days have
    """

    campaign: str
    metric: str
    days: float
    complete: bool
    read_at: datetime
    difference: Difference
    total: float
    total_interval: tuple[float, float]
    exposures: int
    repeated: int
    exposed: int
    exposed_holdout: int
    exposed_others: int
    planned_holdout: float | None = None  # None: another tool drew it

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"read_at": self.read_at.isoformat(), "is_null": self.difference.is_null}


def read_campaign(
    lake: Lake, campaign: Campaign, *, at: datetime, days: int | None = None, metric: str | None = None
) -> Reading:
    """The reading of `campaign` as of `at` (UTC), or of the last event known where that is earlier; later events are not looked at.

    raises: ShopError for a campaign without hold-out, and one whose outcome has no day yet
    """
    if not campaign.treated or not campaign.has_holdout:
        raise ShopError("market.no_holdout", name=campaign.name, treated=campaign.treated, held_out=campaign.held_out)
    days, metric = days or campaign.days, metric or campaign.metric
    check_metric(metric, days)
    engine = lake.engine
    known_from, known_until = known_span(lake)
    if known_from is None or campaign.assigned_at + timedelta(days=days) <= known_from:
        raise ShopError("market.before_records", at=campaign.assigned_at.isoformat(sep=" "), first=known_from or "-")
    at = min(at, known_until or campaign.assigned_at)  # days without events yet are not days without purchases
    passed = (min(at, campaign.assigned_at + timedelta(days=days)) - campaign.assigned_at) / timedelta(days=1)
    if passed <= 0:
        times = {"at": campaign.assigned_at, "until": at, "last": known_until}
        said = {name: one.isoformat(sep=" ", timespec="minutes") for name, one in times.items() if one is not None}
        raise ShopError("market.too_early", name=campaign.name, **said)
    mine = f"SELECT * FROM ({engine.sql(lake.table(ASSIGNED))}) WHERE campaign = '{campaign.name}'"
    found = engine.arrow(outcomes_sql(lake, mine, metric, days, campaign.assigned_at, until=at))
    treated = np.asarray(found["treated"].to_numpy(), dtype=float)
    outcome, before = (np.asarray(found[name].to_numpy(), dtype=float) for name in ("outcome", "before"))
    difference = read_difference(treated, outcome, before, tau=_mixture(campaign, metric, days, before))
    low, high = difference.interval
    count = difference.treated
    return Reading(
        campaign=campaign.name,
        metric=metric,
        days=round(passed, 3),
        complete=passed >= days,
        read_at=at,
        difference=difference,
        total=difference.estimate * count,
        total_interval=(low * count, high * count),
        **_exposures(lake, campaign, mine, at),
        planned_holdout=campaign.holdout if campaign.targeted_by != "elsewhere" else None,
    )


def check_metric(metric: str, days: int) -> None:
    """Raises DefinitionError for a metric that is not known, or no day of it."""
    if days < 1 or metric not in METRICS:
        raise DefinitionError("market.metric", metric=metric, days=days, known=", ".join(METRICS))


def _mixture(campaign: Campaign, metric: str, days: int, before: Floats) -> float:
    """τ of the interval: the effect the test was planned to find; of another metric or span what the days before would have given,
    which the campaign cannot have touched. 1 where nothing was bought before."""
    if (metric, days) == (campaign.metric, campaign.days) and campaign.detectable:
        return campaign.detectable
    sd = float(before.std())
    return detectable_effect(len(before), sd, holdout=campaign.holdout) if sd else 1.0


def outcomes_sql(
    lake: Lake, assigned: str, metric: str, days: int, at: datetime, *, until: datetime | None = None
) -> str:
    """SQL of user_id, treated (0/1), outcome and before: the metric in the `days` after `at` (until `until`) and in as many before.

    assigned: SQL of user_id and arm; purchase: 1 where anything was bought; spend: paid less paid back
    """
    start, end, back = at, at + timedelta(days=days), at - timedelta(days=days)
    if until is not None:
        end = min(end, until)
    moment = {
        name: f"TIMESTAMP '{one.isoformat(sep=' ')}'" for name, one in (("start", start), ("end", end), ("back", back))
    }
    value = (
        "max(CASE WHEN e.event = 'purchase' THEN 1.0 ELSE 0.0 END)"
        if metric == "purchase"
        else "sum(CASE WHEN e.event = 'purchase' THEN coalesce(e.amount, 0) WHEN e.event = 'refund' THEN -coalesce(e.amount, 0) ELSE 0 END)"
    )
    events = known_events(lake)
    return (
        f"SELECT a.user_id, (a.arm = 'treated')::DOUBLE AS treated, "
        f"coalesce({value} FILTER (e.ts >= {moment['start']}), 0)::DOUBLE AS outcome, "
        f"coalesce({value} FILTER (e.ts < {moment['start']}), 0)::DOUBLE AS before "
        f"FROM ({assigned}) AS a LEFT JOIN (SELECT user_id, event, amount, ts FROM ({events}) "
        f"WHERE event IN ('purchase', 'refund') AND ts >= {moment['back']} AND ts < {moment['end']}) AS e ON a.user_id = e.user_id "
        f"GROUP BY a.user_id, a.arm"
    )


def _exposures(lake: Lake, campaign: Campaign, assigned: str, at: datetime) -> dict[str, int]:
    events = known_events(lake)
    row = lake.engine.rows(
        f"WITH seen AS (SELECT user_id, count(*) AS n FROM ({events}) WHERE event = '{CONTACT}' AND campaign_id = '{campaign.name}' "
        f"AND ts <= TIMESTAMP '{at.isoformat(sep=' ')}' AND user_id IS NOT NULL GROUP BY user_id) "
        f"SELECT coalesce(sum(n), 0) AS exposures, coalesce(sum(n - 1), 0) AS repeated, count(*) FILTER (arm = 'treated') AS exposed, "
        f"count(*) FILTER (arm = 'holdout') AS exposed_holdout, count(*) FILTER (arm IS NULL) AS exposed_others "
        f"FROM seen LEFT JOIN ({assigned}) AS a USING (user_id)"
    )[0]
    return {name: int(value) for name, value in row.items()}
