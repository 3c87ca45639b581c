"""Rows of bench/decisions.py: whom an offer moves, coupons under a budget, and the intent of a running session."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC

import numpy as np
import pyarrow as pa

from huaxiang.apply.market.allocate import Bools, allocate
from huaxiang.apply.market.campaign_target import Spend, Weighed, weigh_offers
from huaxiang.apply.market.offers import Offer
from huaxiang.apply.market.policies import plain_policies
from huaxiang.apply.predict.intent import ASKED, acts_sql, read_before
from huaxiang.demo.applications import learn_uplift
from huaxiang.demo.simulated.truth import Truth, join_truth
from huaxiang.models.metrics import Floats
from huaxiang.shop import Shop
from truth_rows import Row, auc, numbers, rank

OFFERS = (
    Offer("cash", 10.0),
    Offer("percent", 6.0),
    Offer("shipping", 4.0),
)  # what each costs where a customer with it buys
MESSAGE, MARGIN, BUDGET = (
    0.1,
    0.3,
    0.1,
)  # money a message; profit's share of an order; budget's share of what sending to all costs
DAYS = 14  # a coupon's, and of the tests
SESSIONS, LAST = 600, 0.15  # sessions replayed, drawn from the last ones, which intent was not learned from


def score_messages(shop: Shop, truth: Truth) -> list[Row]:
    """How the shop ranks customers for each offer against the orders it would add to them: learned from the shop's log of whom chance drew.
    A shop without such a log ranks by redemption, which is no effect: the row says what that costs. Baseline: spend of 90 days."""
    found = learn_uplift(shop)
    said = (
        f"SELECT u.user_id, u.offer AS asked, u.score, coalesce(f.spend_90d, 0) AS before FROM ({shop.engine.sql(shop.lake.table('market.uplift'))}) u "
        f"JOIN ({shop.engine.sql(shop.lake.table('features'))}) f USING (user_id)"
    )
    joined = shop.engine.load(join_truth(shop, truth, "effects", said)).get_name()
    offers = [
        row["asked"]
        for row in shop.engine.rows(f"SELECT DISTINCT asked FROM {joined} WHERE asked <> '' ORDER BY asked")
    ]
    made = []
    for offer in offers or [""]:
        which = f"asked = '{offer}'" + (f" AND offer = '{offer}'" if offer else "")
        rows = shop.engine.arrow(
            f"SELECT max(effect) AS effect, any_value(score) AS score, any_value(before) AS before FROM {joined} WHERE {which} GROUP BY user_id"
        )
        effect, score, before = (numbers(rows, name) for name in ("effect", "score", "before"))
        name = f"message: {offer}" if offer else f"message ({found['basis']})"
        made.append(Row(name, "spearman", rank(effect, score), rank(effect, before), 1.0, len(effect)))
    return made


def score_coupons(shop: Shop, truth: Truth) -> list[Row]:
    """Coupons under a budget: what the shop expects them to earn, and what they truly earn and cost by each customer's known effect.
    Baseline: the same budget at random; oracle: the best allocation by the true effects."""
    found, real = weigh_coupons(shop, truth)
    true = real.profit(real.orders)
    profit, cost, likely = found.profit, found.cost, found.likely
    budget = BUDGET * float(cost.max(axis=1).sum())
    plans: dict[str, Bools] = {"optimal": allocate(profit, cost, budget=budget).given}
    plans |= plain_policies(profit, cost, likely, budget=budget, seed=1)
    best = float(true[allocate(true, real.cost, budget=budget).given].sum())
    expected, earned = ({name: float(of[given].sum()) for name, given in plans.items()} for of in (profit, true))
    n = len(true)
    return [
        Row("coupons", "expected profit", expected["optimal"], expected["random"], math.nan, n),
        Row("coupons", "true profit", earned["optimal"], earned["random"], best, n),
        Row("likeliest first", "true profit", earned["propensity"], earned["random"], best, n),
        Row("sent to all", "true profit", earned["everyone"], earned["random"], math.nan, n),  # over the budget
    ]


@dataclass(frozen=True)
class Real:
    """(N, M) what each of OFFERS truly does to each customer: orders it adds, what it adds to the chance to buy at all (which is what the
    shop's tests count), and what it costs; margin: money an outcome."""

    orders: Floats
    buyers: Floats
    cost: Floats
    margin: float

    def profit(self, outcomes: Floats) -> Floats:
        return outcomes * self.margin - self.cost


def weigh_coupons(shop: Shop, truth: Truth) -> tuple[Weighed, Real]:
    """What the shop expects of OFFERS to each customer whom the truth knows, and what is so."""
    learn_uplift(shop)
    ranked = f"SELECT DISTINCT user_id FROM ({shop.engine.sql(shop.lake.table('market.uplift'))})"
    order = f"SELECT avg(paid) FROM (SELECT sum(amount) AS paid FROM ({shop.engine.sql(shop.lake.table('clean.events'))}) WHERE event = 'purchase' GROUP BY order_id)"
    margin = MARGIN * float(shop.engine.value(order))
    null = list(shop.lake.note("uplift").get("null", []))
    spend = Spend(0.0, MESSAGE, margin)
    found = weigh_offers(shop.lake, shop.engine.store(ranked), spend, OFFERS, null)
    effect, buyers, chance = true_effects(shop, truth, found.users.to_pylist())
    known = ~np.isnan(effect).any(axis=1)  # ids that are no account have no effect
    told = (found.score, found.likely, found.cost, found.profit)
    kept = Weighed(found.users.filter(pa.array(known)), *(one[known] for one in told), found.worth, margin)
    cost = MESSAGE + chance * np.array([offer.worth for offer in OFFERS])
    return kept, Real(effect[known], buyers[known], cost[known], margin)


def true_effects(shop: Shop, truth: Truth, users: list[str]) -> tuple[Floats, Floats, Floats]:
    """(N, M) the orders that each of OFFERS would add to each of `users` (NaN: nobody the truth knows), and the chance it adds to buying at
    all: an order more (or less) matters only where there are no others, as many as are expected, by Poisson's law; and the chance to buy with it."""
    place = {user: at for at, user in enumerate(users)}
    everyone = f"SELECT user_id FROM ({shop.engine.sql(shop.lake.table('features'))})"
    rows, next_ = (join_truth(shop, truth, name, everyone) for name in ("effects", "futures"))
    orders, made = np.zeros((len(users), 1)), np.full((len(users), len(OFFERS)), np.nan)
    orders[[place[user] for user in next_.column("user_id").to_pylist()], 0] = (
        DAYS / 30 * numbers(next_, "expected_orders_30d")
    )
    for at, offer in enumerate(OFFERS):
        mine = np.array([one == offer.name for one in rows.column("offer").to_pylist()])
        who = [place[user] for user, own in zip(rows.column("user_id").to_pylist(), mine, strict=True) if own]
        made[who, at] = numbers(rows, "effect")[mine]
    none = np.exp(-orders)
    buyers = np.where(made > 0, made * none, none - np.exp(-orders - made))
    return made, buyers, 1 - none + buyers


def score_intent(shop: Shop, truth: Truth) -> list[Row]:
    """The chance told while a session runs, asked after its 1st, 2nd, 3rd, 5th … event, against whether the visit was to end in an order.
    Sessions of the last days, event by event as they would come in. Baseline: things put into the cart so far."""
    shop.predict.learn_intent()
    intent, engine = shop.predict.intent(), shop.engine
    visits = engine.load(truth.table("visits").select(["session_id", "buys"])).get_name()
    acts = engine.store(acts_sql(f"SELECT * FROM ({engine.sql(shop.lake.table('ready.events'))})"))
    begun = f"SELECT session_id, min(ts) AS first FROM {acts} WHERE session_id IS NOT NULL GROUP BY 1"
    last = f"SELECT session_id FROM ({begun}) QUALIFY percent_rank() OVER (ORDER BY first) > {1 - LAST}"
    drawn = f"SELECT session_id FROM ({last}) ORDER BY hash(session_id), session_id LIMIT {SESSIONS}"
    rows = engine.rows(
        f"SELECT session_id, buys, any_value(user_id) AS user_id, min(ts) AS first, list({{'event': event, 'ts': ts, 'item_id': item_id, 'price': price}} "
        f"ORDER BY ts, event_id) AS acts FROM {acts} JOIN {visits} USING (session_id) WHERE session_id IN ({drawn}) GROUP BY 1, 2 ORDER BY 1"
    )
    told: list[
        tuple[bool, float, int, int]
    ] = []  # whether it was to end in an order, chance, cart, and the event it was asked after
    for row in rows:
        session = intent.begin(read_before(shop.lake, row["user_id"], row["first"]))
        for nth, event in enumerate(row["acts"], 1):
            if event["event"] == "purchase":
                break
            chance = session.add({**event, "ts": event["ts"].replace(tzinfo=UTC)})
            if nth in ASKED:
                told.append((row["buys"], chance, session.state.counts.get("add_to_cart", 0), nth))
    real, said, cart, after = (np.array(one) for one in zip(*told, strict=True))
    first = after == 1
    return [
        Row("session's intent", "auc", auc(real, said), auc(real, cart), math.nan, len(real)),
        Row(
            "after one event",
            "auc",
            auc(real[first], said[first]),
            auc(real[first], cart[first]),
            math.nan,
            int(first.sum()),
        ),
    ]
