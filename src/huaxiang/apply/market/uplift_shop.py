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
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from huaxiang.apply.market.redemption import MODELS, NEED, choose_model, cut_date, measure_redemption
from huaxiang.apply.market.uplift import HeldOut, Tell, fit_uplift, is_binary, measure_uplift
from huaxiang.apply.market.uplift_learners import LearnerConfig, doubly_robust, learner_grid
from huaxiang.apply.market.uplift_parts import Learner
from huaxiang.apply.market.uplift_rows import make_features, randomised_rows, redemption_rows, tried_offers
from huaxiang.apply.market.worth import TESTED, tested_rows
from huaxiang.engine import Lake
from huaxiang.errors import ModelError, ShopError
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix, make_model
from huaxiang.models.zoo.linear import LinearConfig
from huaxiang.words import LANGS

SCORES = "market.uplift"


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
    x, all_x = make_features(rows, everyone)
    treated, y = (np.asarray(rows[name].to_numpy(), dtype=float) for name in ("treated", "outcome"))
    who = np.unique(rows["user_id"].to_numpy(), return_inverse=True)[1]
    report = measure_uplift(x, treated, y, seed=seed, repeats=repeats, grid=grid, customer=who, tell=tell)
    fitted = fit_uplift(x, treated, y, seed=seed, grid=grid, customer=who)
    assert report.held is not None
    score = _score_unseen(report.held, fitted.score, rows["user_id"], everyone["user_id"], all_x)
    effect = doubly_robust(
        LinearConfig("binary" if is_binary(y) else "number", l2=0.01), x, treated, y, seed=seed, customer=who
    )
    tested = tested_rows(rows["user_id"], offer, report.held.score, effect)
    reached = treated == 1
    responds = make_model(LinearConfig("binary", l2=0.003)).fit(
        x.rows(reached), (y[reached] > 0).astype(float), seed=seed
    )
    campaigns = sorted(set(rows["campaign"].to_pylist()))
    found = {"campaigns": campaigns, "learner": fitted.learner, "uplift": report.to_json()}
    return found, _scores(everyone, offer, score, responds.score(all_x)), tested, fitted.config


def _score_unseen(
    held: HeldOut, fitted: Learner, tested: pa.ChunkedArray, users: pa.ChunkedArray, all_x: Matrix
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
    rows = redemption_rows(lake)
    y = np.asarray(rows["redeemed"].to_numpy(), dtype=float)
    starts = np.array(rows["started"].to_pylist(), dtype="datetime64[D]")
    cut = cut_date(starts, y)
    learn, held = starts < cut, starts >= cut
    if y[learn].sum() < NEED or y[held].sum() < NEED / 2:
        raise ShopError("market.few_redemptions", messages=len(y), redemptions=int(y.sum()), need=NEED + NEED // 2)
    everyone = _everyone(lake)
    x, all_x = make_features(rows, everyone)
    name, model = choose_model(x.rows(learn), y[learn], starts[learn], seed)
    likely = model(x.rows(held))
    spend = np.nan_to_num(np.asarray(rows["spend_90d"].to_numpy(zero_copy_only=False), dtype=float))[held]
    campaigns = [c for c, own in zip(rows["campaign"].to_pylist(), held, strict=True) if own]
    found = measure_redemption(likely, spend, y[held], name, sorted(set(campaigns)), int(learn.sum()), seed)
    refitted = make_model(MODELS[name]).fit(x, y, seed=seed)
    said = {"basis": "redemption", "redemption": asdict(found) | {"is_null": found.is_null}}
    likely_now = refitted.score(all_x)
    return said, _scores(everyone, "", likely_now, likely_now)


def _everyone(lake: Lake) -> pa.Table:
    """Every customer of the last build."""
    return lake.engine.arrow(f"SELECT * FROM ({lake.engine.sql(lake.table('features'))}) ORDER BY user_id")


def _null_offers(found: dict[str, Any]) -> list[str]:
    """The offers ("": any message) whose ranking cannot be told from a random order."""
    told = {"": found, **found.get("offers", {})} if found["basis"] == "effect" else {}
    return [offer for offer, one in told.items() if "uplift" in one and one["uplift"]["is_null"]]
