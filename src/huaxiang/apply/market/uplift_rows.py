"""What uplift on a shop learns from: a row a customer of a finished campaign, or a message, with what was known of them before."""

from __future__ import annotations

from statistics import median

import pyarrow as pa

from huaxiang.apply.market.campaign_terms import Campaign, planned, sent_times
from huaxiang.apply.market.consent import ASSIGNED, CONTACT, known_events
from huaxiang.apply.market.experiment import Coding
from huaxiang.apply.market.holdout import place_sql
from huaxiang.apply.market.offers import offers_of
from huaxiang.apply.market.redemption import NEED
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ModelError, ShopError
from huaxiang.models.zoo import Matrix

WINDOW_DAYS = 45  # in which a redemption counts
ALIKE = 1.25  # campaigns whose treated a held-out customer differ by less are taken as they are


def tried_offers(lake: Lake) -> list[str]:
    """The offers of campaigns that held some out and gave each customer one."""
    return sorted({offer for one in _finished(lake) if one.per_user == 1 for offer in one.offers})


def _finished(lake: Lake) -> list[Campaign]:
    """The campaigns that went out (exported or sent, or met in the shop's own log), held some out, and whose days have passed."""
    if not lake.has(ASSIGNED):
        return []
    events = known_events(lake)
    end = lake.engine.value(f"SELECT max(ts) FROM ({events})")
    met = lake.engine.rows(f"SELECT DISTINCT campaign_id FROM ({events}) WHERE campaign_id IS NOT NULL")
    out = {row["campaign_id"] for row in met} | set(sent_times(lake))
    found = [Campaign.from_json(note["campaign"]) for name, note in planned(lake).items() if name in out]
    return [one for one in found if (end - one.assigned_at).days >= one.days and one.treated and one.held_out]


def randomised_rows(lake: Lake, offer: str = "") -> pa.Table | None:
    """A row a customer of a finished campaign (None: there is none); with `offer` only those who got it, and whom it was compared with.

    Where campaigns held out different shares, who was treated would also say when, and a good season would pass for an effect: of the
    arm that a campaign has more of than the middle one, customers are then left out by a hash until the shares are alike.
    """
    from huaxiang.apply.market.campaign_read import outcomes_sql

    engine, parts = lake.engine, []
    used = [one for one in _finished(lake) if not offer or (offer in one.offers and one.per_user == 1)]
    middle = median([_odds(one, offer) for one in used]) if used else 1.0
    for campaign in used:
        ratio = _odds(campaign, offer) / middle
        if not 1 / ALIKE <= ratio <= ALIKE:
            arm, share = ("treated", 1 / ratio) if ratio > 1 else ("holdout", ratio)
            even = f" WHERE arm <> '{arm}' OR {place_sql(f'even.{campaign.name}', 'user_id')} < {share!r}"
        else:
            even = ""
        mine = f"SELECT * FROM ({engine.sql(lake.table(ASSIGNED))}) WHERE campaign = '{campaign.name}'"
        mine = f"SELECT * FROM ({mine}){even}"
        if offer:
            given = f"SELECT user_id FROM ({offers_of(lake, campaign.name)}) WHERE offer = {quote(offer)}"
            mine = f"SELECT * FROM ({mine}) SEMI JOIN ({given}) USING (user_id)"
        outcomes = outcomes_sql(lake, mine, campaign.metric, campaign.days, campaign.assigned_at)
        parts.append(
            f"SELECT user_id, '{campaign.name}' AS campaign, DATE '{campaign.assigned_at.date()}' AS started, treated, outcome FROM ({outcomes})"
        )
    if not parts:
        return None
    rows = _known_rows(lake, " UNION ALL ".join(parts))
    return rows if rows.num_rows else None


def _odds(campaign: Campaign, offer: str) -> float:
    """Treated customers (with the offer) a held-out one; of a try-out every held-out customer stands for each offer."""
    tried = offer and not campaign.policies
    return (campaign.offers[offer] if tried else campaign.treated) / campaign.held_out


def _known_rows(lake: Lake, cases: str) -> pa.Table:
    """`cases` (SQL with user_id and started) with the features of the last as-of date not after `started`; cases without are left out."""
    engine = lake.engine
    if not lake.has("training"):
        declared = bool(lake.note("build").get("outcomes"))
        raise ShopError("market.no_labels" if declared else "market.no_outcome")
    known = engine.sql(lake.table("training"))
    return engine.arrow(
        f"SELECT c.*, t.* EXCLUDE (user_id) FROM ({cases}) AS c ASOF JOIN ({known}) AS t "
        f"ON c.user_id = t.user_id AND c.started >= t.as_of ORDER BY c.started, c.user_id, c.campaign"
    )


def redemption_rows(lake: Lake) -> pa.Table:
    """A row a message whose time to redeem has passed: user_id, campaign, started, redeemed (0/1), and features as known then."""
    events = known_events(lake)
    asked = (
        f"SELECT user_id, campaign_id AS campaign, min(ts) AS ts FROM ({events}) WHERE event = '{CONTACT}' AND campaign_id IS NOT NULL "
        f"AND user_id IS NOT NULL GROUP BY ALL"
    )
    used = f"SELECT user_id, campaign_id AS campaign, min(ts) AS used_at FROM ({events}) WHERE event = 'coupon_redeem' GROUP BY ALL"
    end = f"(SELECT max(ts) FROM ({events}))"
    cases = (
        f"SELECT a.user_id, a.campaign, a.ts::DATE AS started, "
        f"(u.used_at IS NOT NULL AND u.used_at < a.ts + INTERVAL {WINDOW_DAYS} DAY)::DOUBLE AS redeemed "
        f"FROM ({asked}) AS a LEFT JOIN ({used}) AS u ON a.user_id = u.user_id AND a.campaign = u.campaign AND u.used_at >= a.ts "
        f"WHERE a.ts + INTERVAL {WINDOW_DAYS} DAY <= {end}"
    )
    rows = _known_rows(lake, cases)
    if not rows.num_rows:
        raise ShopError("market.few_redemptions", messages=0, redemptions=0, need=NEED + NEED // 2)
    return rows


NOT_FEATURES = ("user_id", "campaign", "started", "redeemed", "treated", "outcome", "as_of", "before")


def make_features(rows: pa.Table, everyone: pa.Table) -> tuple[Coding, Matrix]:
    """How the columns of numbers and texts of both become numbers, and those of `rows`; lists and times are left out."""
    columns = [
        field.name
        for field in rows.schema
        if field.name not in NOT_FEATURES
        and field.name in everyone.column_names
        and not (pa.types.is_nested(field.type) or pa.types.is_temporal(field.type))
    ]
    given = {name: rows[name] for name in columns}
    coding = Coding.fit(given, {})
    if not coding.columns:
        raise ModelError("market.no_columns", column="training")
    return coding, coding.apply(given)


def code_features(coding: Coding, users: pa.Table) -> Matrix:
    """The features of `users` as a learner of other rows knows them; one that the shop has no more is missing."""
    gone = pa.nulls(users.num_rows, pa.float64())
    return coding.apply({n: users[n] if n in users.column_names else gone for n in coding.columns})
