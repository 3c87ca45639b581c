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
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from huaxiang.apply.market.redemption import MODELS, NEED, choose_model, cut_date, measure_redemption
from huaxiang.apply.market.uplift import OUTER, Tell, fit_uplift, is_binary, measure_uplift
from huaxiang.apply.market.uplift_kept import Kept, key_of, load_kept, save_kept, sweep_kept
from huaxiang.apply.market.uplift_learners import LearnerConfig, doubly_robust, learner_grid
from huaxiang.apply.market.uplift_rows import make_features, randomised_rows, redemption_rows, tried_offers
from huaxiang.apply.market.worth import TESTED, TESTS, tested_rows
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ModelError, ShopError
from huaxiang.models.calibrate import fit_calibration
from huaxiang.models.card import plain
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix, Model, make_model
from huaxiang.models.zoo.linear import LinearConfig
from huaxiang.progress import SILENT, Progress
from huaxiang.words import LANGS

SCORES = "market.uplift"


@dataclass(frozen=True)
class Terms:
    """How it is learned; grid: the learners to choose among (None: learner_grid)."""

    seed: int
    repeats: int
    grid: Sequence[LearnerConfig] | None = None
    tell: Tell = lambda line: None
    progress: Progress = SILENT


def find_uplift(
    lake: Lake,
    *,
    seed: int,
    repeats: int = 2,
    learners: Sequence[str] = (),
    grid: Sequence[LearnerConfig] | None = None,
    home: Path | None = None,
    tell: Tell = lambda line: None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure, then score every customer into `market.uplift`; gives what was found as JSON.

    user_id, offer ("": any message), score (effect, outcomes a customer, by a learner that has not seen what they did in a test), likely
    (chance that a treated one responds at all), basis, as_of; beside it `market.tested` (worth.py)

    What was learned is kept in `home` (None: nowhere); where its data and settings are the same as the last time it is not learned again,
    only asked: `reused` of what was found names those offers.

    grid: the learners to choose among (default: learner_grid, those named by `learners`)
    raises: ShopError where there is neither a campaign with hold-out nor enough redemptions
    """
    lake.table("features")  # raises: nothing is built yet
    before = _kept_before(lake, home)
    rows = randomised_rows(lake)
    if rows is not None:
        if learners:
            known = learner_grid(binary=is_binary(np.asarray(rows["outcome"].to_numpy())), rows=rows.num_rows)
            grid = [one for one in known if one.name in learners]
        found, kept, tested = _from_holdouts(lake, rows, Terms(seed, repeats, grid, tell, progress), before)
    else:
        with progress.task("uplift", "redemptions"):
            own = _from_redemptions(lake, seed, before.get(""))
        found, kept, tested = {"basis": "redemption", **own.found}, [own], TESTS.empty_table()
    everyone = _everyone(lake)
    score = pa.concat_tables([one.score(everyone, tested.filter(_is_offer(tested, one.offer))) for one in kept])
    as_of = str(lake.note("build").get("as_of", ""))
    found |= {"as_of": as_of, "seed": seed}
    model = save_kept(kept, home) if home is not None else ""
    text = json.dumps([found, model, lake.note("build").get("mark", "")], sort_keys=True, default=str)
    found["version"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    found |= {"model": model, "reused": [one.offer for one in kept if before.get(one.offer) is one]}
    with lake.step("uplift") as step:
        loaded = lake.engine.load(score)
        step.replace(SCORES, f"SELECT *, '{found['basis']}' AS basis, '{as_of}' AS as_of FROM {loaded.get_name()}")
        step.replace(TESTED, tested)
        step.note |= {"basis": found["basis"], "version": found["version"], "as_of": as_of, "model": model}
        step.note["null"] = _null_offers(found)
        lake.engine.drop(loaded)
    if home is not None:
        sweep_kept(home, model)
    return found


def score_customers(lake: Lake, home: Path, users: Sequence[str], offer: str = "") -> list[dict[str, Any]]:
    """What the kept learner says of `users` (pseudonyms), as the last build knows them: user_id, offer, score and likely as
    `market.uplift` has them, as_of and model. Nothing is learned; one who came after the last `find_uplift` is scored, too.

    is_null: the ranking cannot be told from a random order, so that of everybody no more is known than the average: effect and
    effect_interval (None where redemption was learned, not an effect)

    raises: ShopError where nothing was learned of the offer, ModelError where what was learned is gone
    """
    note = lake.note("uplift")
    if not note:
        raise ShopError("market.no_ranking")
    kept = load_kept(home, str(note.get("model", "")))
    if offer not in kept:
        raise ShopError("market.offer_unlearned", offer=offer, have=", ".join(sorted(filter(None, kept))) or "–")
    listed = ", ".join(map(quote, sorted(set(users)))) or "''"
    asked = lake.engine.arrow(f"SELECT * FROM ({_everyone_sql(lake)}) WHERE user_id IN ({listed}) ORDER BY user_id")
    rows = kept[offer].score(asked, _tested_before(lake, offer)).to_pylist()
    as_of = str(lake.note("build").get("as_of", ""))
    same = {"basis": note["basis"], "as_of": as_of, "model": note["model"], **_told_of_all(kept[offer].found)}
    return [row | same for row in rows]


def _told_of_all(found: dict[str, Any]) -> dict[str, Any]:
    """What holds of every customer by a ranking: whether it is null, and the average effect."""
    if "redemption" in found:
        return {"is_null": found["redemption"]["is_null"], "effect": None, "effect_interval": None}
    ranking = found["uplift"]["ranking"]
    return {"is_null": found["uplift"]["is_null"], **{name: ranking[name] for name in ("effect", "effect_interval")}}


def _kept_before(lake: Lake, home: Path | None) -> dict[str, Kept]:
    """What the last run kept ({}: nothing that can be used)."""
    version = str(lake.note("uplift").get("model", ""))
    if home is None or not version:
        return {}
    try:
        return load_kept(home, version)
    except ModelError:  # deleted, or of an earlier huaxiang: it is learned anew
        return {}


def _from_holdouts(
    lake: Lake, rows: pa.Table, terms: Terms, before: dict[str, Kept]
) -> tuple[dict[str, Any], list[Kept], pa.Table]:
    """Of any message, and of each offer that was tried by chance on enough customers, with the learner chosen for messages."""
    first, tested, chosen = _learn_effect(lake, rows, "", terms, before.get(""))
    kept, tests = [first], [tested]
    offers: dict[str, Any] = {}
    for offer in tried_offers(lake):
        own = randomised_rows(lake, offer)
        try:
            if own is None:
                raise ModelError("market.one_arm", need=1, treated=0, control=0)
            of_offer = Terms(terms.seed, 1, (chosen,), terms.tell, terms.progress)
            found, tested, _ = _learn_effect(lake, own, offer, of_offer, before.get(offer))
            offers[offer] = found.found
            kept.append(found)
            tests.append(tested)
        except ModelError as error:  # too few of it: the other offers stand without it
            offers[offer] = {"why": {lang: error.what(lang) for lang in LANGS}}
    return {"basis": "effect", **first.found, "offers": offers}, kept, pa.concat_tables(tests)


def _learn_effect(
    lake: Lake, rows: pa.Table, offer: str, terms: Terms, before: Kept | None
) -> tuple[Kept, pa.Table, LearnerConfig]:
    """What was learned (or had been, of the same data by the same settings), rows of `market.tested`, and the learner's settings."""
    coding, x = make_features(rows, lake.engine.arrow(f"SELECT * FROM ({_everyone_sql(lake)}) LIMIT 0"))
    treated, y = (np.asarray(rows[name].to_numpy(), dtype=float) for name in ("treated", "outcome"))
    grid = learner_grid(binary=is_binary(y), rows=len(y)) if terms.grid is None else terms.grid
    key = key_of(x, (treated, y), (rows["user_id"], rows["campaign"]), (offer, terms.seed, terms.repeats, tuple(grid)))
    if before is not None and before.key == key:
        tested = _tested_before(lake, offer)
        if tested.num_rows == rows.num_rows:
            return before, tested, next(one for one in grid if one.name == before.chosen)
    who = np.unique(rows["user_id"].to_numpy(), return_inverse=True)[1]
    seed = terms.seed
    with terms.progress.task("uplift", offer or "messages", total=terms.repeats * OUTER + 1) as advance:

        def tell(line: str) -> None:
            terms.tell(line)
            advance(1, line)

        report = measure_uplift(x, treated, y, seed=seed, repeats=terms.repeats, grid=grid, customer=who, tell=tell)
        fitted = fit_uplift(x, treated, y, seed=seed, grid=grid, customer=who)
        advance(1, fitted.learner)
    assert report.held is not None
    outcome = LinearConfig("binary" if is_binary(y) else "number", l2=0.01)
    effect = doubly_robust(outcome, x, treated, y, seed=seed, customer=who)
    reached, fold = treated == 1, report.held.fold
    responds = _learn_response(x, y, reached, seed)
    held = [_learn_response(x, y, reached & (fold != one), seed) for one in range(report.folds)]
    chance = np.zeros(len(y))
    for one, model in enumerate(held):
        chance[fold == one] = model.score(x.rows(fold == one))
    calibration = fit_calibration("sigmoid", (y[reached] > 0).astype(float), chance[reached])
    chance = calibration.apply(chance)
    did = y[reached & (y > 0)]
    response = float(did.mean()) if len(did) else 0.0
    tested = tested_rows(rows["user_id"], offer, (report.held.score, chance), effect, response, fold)
    campaigns = sorted(set(rows["campaign"].to_pylist()))
    found = _plain({"campaigns": campaigns, "learner": fitted.learner, "uplift": report.to_json()})
    kept = Kept(
        offer,
        key,
        found,
        coding,
        responds,
        fitted.score,
        report.held.learners,
        tuple(held),
        calibration,
        fitted.learner,
    )
    return kept, tested, fitted.config


def _learn_response(x: Matrix, y: Floats, of: NDArray[np.bool_], seed: int) -> Model:
    """The chance that a treated customer responds at all, learned from the rows `of`."""
    return make_model(LinearConfig("binary", l2=0.003)).fit(x.rows(of), (y[of] > 0).astype(float), seed=seed)


def _from_redemptions(lake: Lake, seed: int, before: Kept | None) -> Kept:
    rows = redemption_rows(lake)
    y = np.asarray(rows["redeemed"].to_numpy(), dtype=float)
    starts = np.array(rows["started"].to_pylist(), dtype="datetime64[D]")
    cut = cut_date(starts, y)
    learn, held = starts < cut, starts >= cut
    if y[learn].sum() < NEED or y[held].sum() < NEED / 2:
        raise ShopError("market.few_redemptions", messages=len(y), redemptions=int(y.sum()), need=NEED + NEED // 2)
    coding, x = make_features(rows, lake.engine.arrow(f"SELECT * FROM ({_everyone_sql(lake)}) LIMIT 0"))
    key = key_of(x, (y, starts.astype(float)), (rows["user_id"], rows["campaign"]), ("redemption", seed))
    if before is not None and before.key == key:
        return before
    name, model = choose_model(x.rows(learn), y[learn], starts[learn], seed)
    likely = model(x.rows(held))
    spend = np.nan_to_num(np.asarray(rows["spend_90d"].to_numpy(zero_copy_only=False), dtype=float))[held]
    campaigns = [c for c, own in zip(rows["campaign"].to_pylist(), held, strict=True) if own]
    found = measure_redemption(likely, spend, y[held], name, sorted(set(campaigns)), int(learn.sum()), seed)
    refitted = make_model(MODELS[name]).fit(x, y, seed=seed)
    return Kept("", key, _plain({"redemption": asdict(found) | {"is_null": found.is_null}}), coding, refitted)


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it, so that what is told is the same whether it was learned now or kept."""
    made = plain(found)
    assert isinstance(made, dict)
    return made


def _everyone_sql(lake: Lake) -> str:
    return lake.engine.sql(lake.table("features"))


def _everyone(lake: Lake) -> pa.Table:
    """Every customer of the last build."""
    return lake.engine.arrow(f"SELECT * FROM ({_everyone_sql(lake)}) ORDER BY user_id")


def _tested_before(lake: Lake, offer: str) -> pa.Table:
    """The rows of `market.tested` of one offer, as the last run left them (none where it left none)."""
    if not lake.has(TESTED) or "chance" not in lake.table(TESTED).columns:
        return TESTS.empty_table()
    kept = lake.engine.sql(lake.table(TESTED))
    return lake.engine.arrow(f"SELECT * FROM ({kept}) WHERE offer = {quote(offer)}").cast(TESTS)


def _is_offer(tested: pa.Table, offer: str) -> Any:
    return pc.equal(tested["offer"], offer)


def _null_offers(found: dict[str, Any]) -> list[str]:
    """The offers ("": any message) whose ranking cannot be told from a random order."""
    told = {"": found, **found.get("offers", {})} if found["basis"] == "effect" else {}
    return [offer for offer, one in told.items() if "uplift" in one and one["uplift"]["is_null"]]
