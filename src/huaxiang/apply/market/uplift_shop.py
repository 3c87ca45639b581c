"""Uplift on a shop: from its own campaigns, with what was known of each customer before.

Where campaigns were planned with a hold-out (`huaxiang campaign plan`), treated and held-out customers tell whom a message moves: the
learners are measured on them, and the best scores every customer. Where the shop has only logs of messages and redemptions
(coupon_receive, coupon_redeem), nobody was held out by chance, and an effect cannot be told from a habit: what is then measured is
redemption, targeted against random, on later campaigns than were learned from; and it is said that this is no uplift.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from huaxiang.apply.market.campaign_terms import Campaign
from huaxiang.apply.market.consent import ASSIGNED, CONTACT, known_events
from huaxiang.apply.market.experiment import make_matrix
from huaxiang.apply.market.holdout import place_sql
from huaxiang.apply.market.offers import offers_of
from huaxiang.apply.market.uplift import HeldOut, Tell, fit_uplift, is_binary, measure_uplift
from huaxiang.apply.market.uplift_learners import LearnerConfig, Score, doubly_robust, learner_grid
from huaxiang.apply.market.worth import TESTED, tested_rows
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ModelError, ShopError
from huaxiang.models.metrics import Floats, roc_auc
from huaxiang.models.zoo import Matrix, make_model
from huaxiang.models.zoo.baseline import BaselineConfig
from huaxiang.models.zoo.boosting import BoostingConfig
from huaxiang.models.zoo.linear import LinearConfig
from huaxiang.words import LANGS

SCORES = "market.uplift"
WINDOW_DAYS = 45  # in which a redemption counts
TOP = 0.2  # share of customers reached, in the comparison
NEED = 40  # redemptions to learn from, and to measure on half as many
RESAMPLES = 1000
ALIKE = 1.25  # campaigns whose treated a held-out customer differ by less are taken as they are


@dataclass(frozen=True)
class Redemption:
    """Targeted against random, on campaigns later than those learned from. Rates are redemptions a message; intervals 95 %."""

    campaigns: list[str]
    learned_from: int
    measured_on: int
    redemptions: int
    model: str
    roc_auc: float
    top_share: float
    targeted: float
    targeted_interval: tuple[float, float]
    by_spend: float  # the plain rule: who spent most in 90 days
    random: float
    captured: float  # share of all redemptions among the targeted
    gain: list[tuple[float, float]]  # share reached, share of redemptions captured

    @property
    def is_null(self) -> bool:
        return self.targeted_interval[0] <= self.random


def find_uplift(
    lake: Lake,
    *,
    seed: int,
    repeats: int = 2,
    learners: Sequence[str] = (),
    grid: Sequence[LearnerConfig] | None = None,
    tell: Tell = lambda line: None,
) -> dict[str, Any]:
    """Measure, then score every customer into `market.uplift`; gives what was found as JSON.

    user_id, offer ("": any message), score (effect, outcomes a customer, by a learner that has not seen what they did in a test), likely
    (chance that a treated one responds at all), basis, as_of; beside it `market.tested` (worth.py)

    grid: the learners to choose among (default: learner_grid, those named by `learners`)
    raises: ShopError where there is neither a campaign with hold-out nor enough redemptions
    """
    lake.table("features")  # raises: nothing is built yet
    rows = randomised_rows(lake)
    if rows is not None:
        if learners:
            known = learner_grid(binary=is_binary(np.asarray(rows["outcome"].to_numpy())), rows=rows.num_rows)
            grid = [one for one in known if one.name in learners]
        found, score, tested = _from_holdouts(lake, rows, seed, repeats, grid, tell)
    else:
        found, score = _from_redemptions(lake, seed)
        tested = tested_rows(pa.chunked_array([], pa.string()), "", np.zeros(0), np.zeros(0))
    as_of = str(lake.note("build").get("as_of", ""))
    found |= {"as_of": as_of, "seed": seed}
    text = json.dumps([found, lake.note("build").get("mark", "")], sort_keys=True, default=str)
    found["version"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    with lake.step("uplift") as step:
        loaded = lake.engine.load(score)
        step.replace(SCORES, f"SELECT *, '{found['basis']}' AS basis, '{as_of}' AS as_of FROM {loaded.get_name()}")
        step.replace(TESTED, tested)
        step.note |= {"basis": found["basis"], "version": found["version"], "as_of": as_of}
        step.note["null"] = _null_offers(found)
        lake.engine.drop(loaded)
    return found


def _from_holdouts(
    lake: Lake, rows: pa.Table, seed: int, repeats: int, grid: Sequence[LearnerConfig] | None, tell: Tell
) -> tuple[dict[str, Any], pa.Table, pa.Table]:
    """Of any message, and of each offer that was tried by chance on enough customers, with the learner chosen for messages."""
    everyone = _everyone(lake)
    found, scores, tested, chosen = _learn_effect(rows, everyone, "", seed, repeats, grid, tell)
    offers: dict[str, Any] = {}
    tables, tests = [scores], [tested]
    for offer in tried_offers(lake):
        own = randomised_rows(lake, offer)
        try:
            if own is None:
                raise ModelError("market.one_arm", need=1, treated=0, control=0)
            offers[offer], scores, tested, _ = _learn_effect(own, everyone, offer, seed, 1, (chosen,), tell)
            tables.append(scores)
            tests.append(tested)
        except ModelError as error:  # too few of it: the other offers stand without it
            offers[offer] = {"why": {lang: error.what(lang) for lang in LANGS}}
    return {"basis": "effect", **found, "offers": offers}, pa.concat_tables(tables), pa.concat_tables(tests)


def _learn_effect(
    rows: pa.Table,
    everyone: pa.Table,
    offer: str,
    seed: int,
    repeats: int,
    grid: Sequence[LearnerConfig] | None,
    tell: Tell,
) -> tuple[dict[str, Any], pa.Table, pa.Table, LearnerConfig]:
    """What was found, rows of `market.uplift` and of `market.tested`, and the learner."""
    x, all_x = _features(rows, everyone)
    treated, y = (np.asarray(rows[name].to_numpy(), dtype=float) for name in ("treated", "outcome"))
    who = np.unique(rows["user_id"].to_numpy(), return_inverse=True)[1]
    report = measure_uplift(x, treated, y, seed=seed, repeats=repeats, grid=grid, customer=who, tell=tell)
    fitted = fit_uplift(x, treated, y, seed=seed, grid=grid, customer=who)
    assert report.held is not None
    score = _score_unseen(report.held, fitted.score, rows["user_id"], everyone["user_id"], all_x)
    effect = doubly_robust(LinearConfig("binary" if is_binary(y) else "number", l2=0.01), x, treated, y, seed=seed)
    tested = tested_rows(rows["user_id"], offer, report.held.score, effect)
    reached = treated == 1
    responds = make_model(LinearConfig("binary", l2=0.003)).fit(
        x.rows(reached), (y[reached] > 0).astype(float), seed=seed
    )
    campaigns = sorted(set(rows["campaign"].to_pylist()))
    found = {"campaigns": campaigns, "learner": fitted.learner, "uplift": report.to_json()}
    return found, _scores(everyone, offer, score, responds.score(all_x)), tested, fitted.config


def _score_unseen(
    held: HeldOut, fitted: Score, tested: pa.ChunkedArray, users: pa.ChunkedArray, all_x: Matrix
) -> Floats:
    """(N,) effects of all customers: of those in the test by the learner of their fold, which has not seen what they did in it."""
    at = pc.index_in(users, value_set=tested.combine_chunks())  # all of a customer's rows are in one fold
    row = at.fill_null(-1).to_numpy()
    fold = np.where(row >= 0, held.fold[row], -1)
    score = np.zeros(len(fold))
    for one, learner in ((-1, fitted), *enumerate(held.learners)):
        mine = np.flatnonzero(fold == one)
        if len(mine):
            score[mine] = learner(all_x.rows(mine))
    return score


def _scores(everyone: pa.Table, offer: str, score: Floats, likely: Floats) -> pa.Table:
    count = everyone.num_rows
    columns = {
        "user_id": everyone["user_id"],
        "offer": pa.array([offer] * count, pa.string()),
        "score": score,
        "likely": likely,
    }
    return pa.table(columns)


def _from_redemptions(lake: Lake, seed: int) -> tuple[dict[str, Any], pa.Table]:
    rows = _redemption_rows(lake)
    y = np.asarray(rows["redeemed"].to_numpy(), dtype=float)
    starts = np.array(rows["started"].to_pylist(), dtype="datetime64[D]")
    cut = _cut(starts, y)
    learn, held = starts < cut, starts >= cut
    if y[learn].sum() < NEED or y[held].sum() < NEED / 2:
        raise ShopError("market.few_redemptions", messages=len(y), redemptions=int(y.sum()), need=NEED + NEED // 2)
    everyone = _everyone(lake)
    x, all_x = _features(rows, everyone)
    name, model = _choose_model(x.rows(learn), y[learn], starts[learn], seed)
    likely = model(x.rows(held))
    spend = np.nan_to_num(np.asarray(rows["spend_90d"].to_numpy(zero_copy_only=False), dtype=float))[held]
    campaigns = [c for c, own in zip(rows["campaign"].to_pylist(), held, strict=True) if own]
    found = _measure_redemption(likely, spend, y[held], name, sorted(set(campaigns)), int(learn.sum()), seed)
    refitted = make_model(_MODELS[name]).fit(x, y, seed=seed)
    said = {"basis": "redemption", "redemption": asdict(found) | {"is_null": found.is_null}}
    likely_now = refitted.score(all_x)
    return said, _scores(everyone, "", likely_now, likely_now)


def _everyone(lake: Lake) -> pa.Table:
    """Every customer of the last build."""
    return lake.engine.arrow(f"SELECT * FROM ({lake.engine.sql(lake.table('features'))}) ORDER BY user_id")


_MODELS: dict[str, Any] = {
    "logistic": LinearConfig("binary", l2=0.03, log=True),
    "lightgbm": BoostingConfig("binary", trees=120, leaves=7, threads=1),
    "prior": BaselineConfig("binary"),
}


def _choose_model(x: Matrix, y: Floats, starts: Any, seed: int) -> tuple[str, Any]:
    """The model with the best ROC-AUC on the last campaigns of those learned from, then fitted on all of them."""
    cut = _cut(starts, y)
    early, late = starts < cut, starts >= cut
    scores = {"prior": 0.5}
    if y[early].sum() >= NEED / 2 and y[late].sum() >= NEED / 4:
        for name in ("logistic", "lightgbm"):
            fitted = make_model(_MODELS[name]).fit(x.rows(early), y[early], seed=seed)
            scores[name] = roc_auc(y[late], fitted.score(x.rows(late)))
    best = max(scores, key=lambda name: scores[name])
    return best, make_model(_MODELS[best]).fit(x, y, seed=seed).score


def _measure_redemption(
    likely: Floats, spend: Floats, y: Floats, model: str, campaigns: list[str], learned: int, seed: int
) -> Redemption:
    count = max(1, round(TOP * len(y)))
    order = np.argsort(-likely, kind="stable")
    generator = np.random.default_rng(seed)
    rates = []
    for _ in range(RESAMPLES):
        drawn = np.sort(generator.integers(len(y), size=len(y)))  # places of the ranking, resampled
        rates.append(y[order][drawn][:count].mean())
    low, high = np.quantile(rates, (0.025, 0.975))
    reached = np.append(0, np.cumsum(y[order])) / max(1.0, y.sum())
    shares = np.linspace(0, 1, 21)
    return Redemption(
        campaigns=campaigns,
        learned_from=learned,
        measured_on=len(y),
        redemptions=int(y.sum()),
        model=model,
        roc_auc=roc_auc(y, likely),
        top_share=TOP,
        targeted=float(y[order[:count]].mean()),
        targeted_interval=(float(low), float(high)),
        by_spend=float(y[np.argsort(-spend, kind="stable")[:count]].mean()),
        random=float(y.mean()),
        captured=float(y[order[:count]].sum() / max(1.0, y.sum())),
        gain=[(float(s), float(np.interp(s, np.arange(len(reached)) / len(y), reached))) for s in shares],
    )


def _cut(starts: Any, y: Floats) -> Any:
    """The date from which on about a third of the redemptions lie, whole campaigns together."""
    order = np.argsort(starts, kind="stable")
    done = np.cumsum(y[order]) / max(1.0, y.sum())
    return starts[order][min(len(y) - 1, int(np.searchsorted(done, 2 / 3)))]


def _known_rows(lake: Lake, cases: str) -> pa.Table:
    """`cases` (SQL with user_id and started) with the features of the last as-of date not after `started`; cases without are left out."""
    engine = lake.engine
    known = engine.sql(lake.table("training"))
    return engine.arrow(
        f"SELECT c.*, t.* EXCLUDE (user_id) FROM ({cases}) AS c ASOF JOIN ({known}) AS t "
        f"ON c.user_id = t.user_id AND c.started >= t.as_of ORDER BY c.started, c.user_id"
    )


def _redemption_rows(lake: Lake) -> pa.Table:
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


def tried_offers(lake: Lake) -> list[str]:
    """The offers of campaigns that held some out and gave each customer one."""
    return sorted({offer for one in _finished(lake) if one.per_user == 1 for offer in one.offers})


def _finished(lake: Lake) -> list[Campaign]:
    """The campaigns that held some out and whose days have passed."""
    if not lake.has(ASSIGNED):
        return []
    end = lake.engine.value(f"SELECT max(ts) FROM ({known_events(lake)})")
    steps = sorted(lake.manifest().steps.items())
    found = [Campaign.from_json(note["campaign"]) for step, note in steps if step.startswith("campaign.")]
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


def _null_offers(found: dict[str, Any]) -> list[str]:
    """The offers ("": any message) whose ranking cannot be told from a random order."""
    told = {"": found, **found.get("offers", {})} if found["basis"] == "effect" else {}
    return [offer for offer, one in told.items() if "uplift" in one and one["uplift"]["is_null"]]


def _odds(campaign: Campaign, offer: str) -> float:
    """Treated customers (with the offer) a held-out one; of a try-out every held-out customer stands for each offer."""
    tried = offer and not campaign.policies
    return (campaign.offers[offer] if tried else campaign.treated) / campaign.held_out


NOT_FEATURES = ("user_id", "campaign", "started", "redeemed", "treated", "outcome", "as_of", "before")


def _features(rows: pa.Table, everyone: pa.Table) -> tuple[Matrix, Matrix]:
    """The columns of numbers and texts of both, with the same codes; lists and times are left out."""
    columns = [
        field.name
        for field in rows.schema
        if field.name not in NOT_FEATURES
        and field.name in everyone.column_names
        and not (pa.types.is_nested(field.type) or pa.types.is_temporal(field.type))
    ]
    both = pa.concat_tables([rows.select(columns), everyone.select(columns)], promote_options="permissive")
    made = make_matrix({name: both[name] for name in columns}, {})
    if not made.columns:
        raise ModelError("market.no_columns", column="training")
    place = np.arange(len(made))
    return made.rows(place[: rows.num_rows]), made.rows(place[rows.num_rows :])
