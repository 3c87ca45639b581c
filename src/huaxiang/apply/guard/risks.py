"""Four named risks, each a score from 0 to 1 made of reasons, and the orders that look fake.

A reason turns one signal into a degree: 0 at `floor` and below, 1 at `full` and above, straight between. A risk is the noisy-or of its reasons,
1 − Π(1 − weight × degree): each can raise it alone, none can lower it, and a shop where nothing is amiss has scores of 0.
source: Pearl 1988, ch. 4 (noisy-or). The levels are set by hand for any shop, learned from none; verdicts teach learn.py.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass

import numpy as np

from huaxiang.apply.guard.signals import Signals
from huaxiang.models.metrics import Floats

RISKS = ("fake_orders", "malicious_buyer", "takeover", "coupon_farm")
FAKE_AT = 0.5  # an order from this score on is held fake


@dataclass(frozen=True)
class Reason:
    """`code` is what a rule, a case and words/guard.toml call it. needs: (signal, least) without which the signal says too little."""

    risk: str
    code: str
    signal: str
    floor: float
    full: float
    weight: float
    needs: tuple[str, float] | None = None


REASONS: tuple[Reason, ...] = (
    Reason("fake_orders", "ring_buys_together", "copied_orders", 0, 3, 0.6),
    Reason("fake_orders", "hardly_ever_alone", "copied_share", 0.1, 0.6, 0.5, ("copied_orders", 2)),
    Reason("fake_orders", "in_a_ring", "ring_users", 2, 8, 0.55, ("ring_keys", 2)),
    Reason("fake_orders", "made_with_copiers", "made_together", 2, 8, 0.5, ("copied_orders", 1)),
    Reason("fake_orders", "made_in_numbers", "made_together", 3, 8, 0.35, ("plain_orders", 1)),
    Reason("fake_orders", "burst_buying", "burst_share", 0.3, 0.9, 0.3, ("orders", 3)),
    Reason("fake_orders", "copied_reviews", "copied_review_share", 0.3, 1.0, 0.5, ("reviews", 2)),
    Reason("fake_orders", "review_burst", "reviews_max_day", 5, 20, 0.3),
    Reason("fake_orders", "buys_unseen", "unbrowsed_share", 0.5, 1.0, 0.15, ("orders", 3)),
    Reason("fake_orders", "many_orders_a_day", "orders_max_day", 8, 30, 0.4),
    Reason("malicious_buyer", "refunds_most", "refund_excess", 0.05, 0.35, 0.75),
    Reason("malicious_buyer", "refund_loops", "refund_loops", 3, 10, 0.5, ("refund_excess", 0.05)),
    Reason("malicious_buyer", "complains", "complaints", 5, 20, 0.4),
    Reason("malicious_buyer", "rates_unlike_others", "rating_gap", 2.0, 3.5, 0.25, ("reviews", 5)),
    Reason("takeover", "orders_unlike_owner", "takeover_signs", 1, 4, 0.9),
    Reason("takeover", "unlike_again", "takeover_orders", 1, 2, 0.5),
    Reason("takeover", "login_burst", "logins_max_hour", 5, 30, 0.45),
    Reason("coupon_farm", "farm_of_accounts", "circle_coupon_users", 1, 4, 0.6),
    Reason("coupon_farm", "made_for_coupons", "made_together", 2, 8, 0.5, ("circle_coupon_users", 1)),
    Reason("coupon_farm", "coupons_while_new", "young_coupon_orders", 1, 4, 0.4),
    Reason("coupon_farm", "coupons_always", "coupon_share", 0.7, 1.0, 0.3, ("orders", 3)),
    Reason("coupon_farm", "device_of_many", "device_users", 3, 10, 0.55, ("coupon_share", 0.5)),
    Reason("coupon_farm", "payment_of_many", "payment_users", 3, 10, 0.55, ("coupon_share", 0.5)),
    Reason("coupon_farm", "address_of_many", "address_users", 5, 20, 0.35, ("coupon_share", 0.5)),
    Reason("coupon_farm", "deep_discounts", "discount_share", 0.5, 0.9, 0.2, ("orders", 3)),
)

# An order's own reasons, in SQL over the table of `copy_orders`: code -> (degree, weight).
ORDER_REASONS: dict[str, tuple[str, float]] = {
    "ring_buys_together": ("least(copies / 4.0, 1)", 0.6),
    "burst_buying": ("burst::INT", 0.25),
    "young_account": ("young::INT", 0.2),
    "buys_unseen": ("coalesce(unbrowsed, false)::INT", 0.15),
}


@dataclass(frozen=True)
class Risks:
    """scores: (U, len(RISKS)); degrees: (U, len(REASONS)), weight × degree of each reason."""

    scores: Floats
    degrees: Floats

    def reasons(self, user: int) -> list[Reason]:
        """The reasons that speak against the customer at place `user`, the strongest first."""
        order = np.argsort(-self.degrees[user], kind="stable")
        return [REASONS[at] for at in order if self.degrees[user, at] > 0]


def judge(signals: Signals) -> Risks:
    """The four risks of every customer."""
    degrees = np.column_stack([_degree(reason, signals) for reason in REASONS])
    left = np.ones((len(signals), len(RISKS)))
    for reason, degree in zip(REASONS, degrees.T, strict=True):
        left[:, RISKS.index(reason.risk)] *= 1 - degree
    return Risks(1 - left, degrees)


def _degree(reason: Reason, signals: Signals) -> Floats:
    degree = np.clip((signals.of(reason.signal) - reason.floor) / (reason.full - reason.floor), 0.0, 1.0)
    if reason.needs is not None:
        degree = np.where(signals.of(reason.needs[0]) >= reason.needs[1], degree, 0.0)
    return reason.weight * np.nan_to_num(degree)


def fake_orders_sql(orders: str) -> str:
    """order_id, order_key, user_id, ts, day, amount, score, why (codes) of the orders held fake. orders: what `copy_orders` made."""
    left = " * ".join(f"(1 - {weight} * ({degree}))" for degree, weight in ORDER_REASONS.values())
    why = ", ".join(f"CASE WHEN ({degree}) > 0 THEN '{code}' END" for code, (degree, _) in ORDER_REASONS.items())
    return f"""
        SELECT order_id, order_key, user_id, ts, day, amount, score, list_filter([{why}], lambda code: code IS NOT NULL) AS why
        FROM (SELECT *, 1 - {left} AS score FROM {orders}) WHERE score >= {FAKE_AT}"""


def definition() -> str:
    """The version of the reasons above: what a decision says it was made by."""
    text = json.dumps([list(map(astuple, REASONS)), ORDER_REASONS, FAKE_AT])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
