"""The chance that a running session ends in a purchase, told anew after every event.

intent = shop.predict.intent()
session = intent.begin()
session.add({"event": "view", "item_id": "8", "price": 30.0, "ts": now})     # → .04
session.add({"event": "add_to_cart", "item_id": "8", "price": 30.0, "ts": later})   # → .31
session.why()                                                                # what moved it, strongest first
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from huaxiang.apply.predict.session import BUY, Before, Running, Sessions, event_of, prefixes
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ModelError
from huaxiang.features.filters import EVENT_CODES
from huaxiang.features.users import bucket_of
from huaxiang.models.calibrate import Calibration, choose_calibration, fit_calibration
from huaxiang.models.card import plain
from huaxiang.models.curves import calibration_error, reliability
from huaxiang.models.exam import stratified_folds
from huaxiang.models.metrics import Floats, measure_binary, roc_auc, row_losses
from huaxiang.models.zoo import (
    BaselineConfig,
    BoostingConfig,
    Config,
    LinearConfig,
    Matrix,
    Model,
    load_model,
    make_model,
    save_model,
)

log = logging.getLogger(__name__)
FORMAT = "huaxiang.intent/1"
MOST_EVENTS = 2_000_000  # the last ones are read
NEED_SESSIONS = 30  # that end in a purchase after something else, in each of the three parts
NOT_ACTS = ("coupon_receive",)  # what the shop did, not the customer
AFTER_CLICK = 30  # minutes: the gap after which a session is over
SHARES = (0.6, 0.8)  # of the sessions by time: learned from, chosen and calibrated on, examined on
# After these events of a session it learns and is examined: a session of a hundred events is a few rows then, not a hundred alike.
ASKED = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377)
AFTER = (1, 2, 3, 5, 8, 13, 21)  # of them, those the report shows
CANDIDATES: dict[str, Config] = {
    "prior": BaselineConfig("binary"),
    "logistic": LinearConfig("binary", l2=0.003, log=True),
    "logistic_plain": LinearConfig("binary", l2=0.1, log=True),
    "lightgbm": BoostingConfig("binary", leaves=7, leaf_rows=100, trees=120, rate=0.04, l2=20.0, threads=1),
    "lightgbm_small": BoostingConfig("binary", leaves=4, leaf_rows=200, trees=60, rate=0.04, l2=50.0, threads=1),
}


@dataclass(frozen=True)
class Intent:
    """A trained model of sessions. name: in the zoo; version: the first 12 hex digits of its content's hash; zone: the shop's, in which
    times are told that carry none."""

    name: str
    model: Model
    calibration: Calibration
    zone: str = "UTC"

    def begin(self, before: Before | None = None) -> RunningIntent:
        """A session that starts now, of a customer who did `before`."""
        return RunningIntent(self, Running(before or Before()))

    def score(self, x: Matrix) -> Floats:
        """(N,) calibrated chance of a purchase later in the session."""
        return self.calibration.apply(self.model.score(x))

    def to_json(self) -> str:
        saved = {
            "format": FORMAT,
            "name": self.name,
            "model": save_model(self.model),
            "calibration": self.calibration.state(),
        }
        return json.dumps(saved, allow_nan=False)

    @cached_property
    def version(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


@dataclass
class RunningIntent:
    """One session with the chance after its last event: `chance` (1 once it bought, None before the first event), with when (`as_of`, the
    shop's own time) and by which model (`version`) it was told."""

    intent: Intent
    state: Running
    chance: float | None = field(default=None)

    @property
    def as_of(self) -> datetime | None:
        return self.state.last

    @property
    def version(self) -> str:
        return self.intent.version

    def add(self, event: Mapping[str, Any]) -> float:
        """The chance that the session ends in a purchase, after `event` (event, ts, and where there are item_id and price).

        ts: a datetime or ISO text; without a zone it is the shop's own
        raises: DefinitionError for an event without a name or a time
        """
        self.state.add(**event_of(event, self.intent.zone))
        self.chance = 1.0 if self.state.bought else float(self.intent.score(self.state.row())[0])
        return self.chance

    def why(self, count: int = 5) -> list[tuple[str, float, float]]:
        """The columns that move the raw score most: name, value, effect in log-odds; strongest first."""
        row = self.state.row()
        effects, _ = self.intent.model.explain(row)
        order = np.argsort(-np.abs(effects[0]), kind="stable")[:count]
        values = row.take(self.intent.model.columns)[0]
        return [(self.intent.model.columns[at], float(values[at]), float(effects[0, at])) for at in order]


def load_intent(path: Path, zone: str = "UTC") -> Intent:
    """The saved model; raises ModelError where there is none."""
    if not path.exists():
        raise ModelError("predict.no_intent")
    saved = json.loads(path.read_text(encoding="utf-8"))
    return Intent(saved["name"], load_model(saved["model"]), Calibration.from_state(saved["calibration"]), zone)


def train_intent(lake: Lake, *, seed: int) -> tuple[Intent, dict[str, Any]]:
    """Learns from the shop's finished sessions, and the exam on those of the last days.

    raises: ModelError where too few sessions, or too few that bought after doing something else, are there
    """
    return learn_sessions(read_sessions(lake), seed=seed)


def learn_sessions(found: Sessions, *, seed: int) -> tuple[Intent, dict[str, Any]]:
    """The model of least log loss on the sessions before last, calibrated there; the report of its exam on the last ones."""
    start = time.perf_counter()
    rows, label, part = _asked(found)
    x = prefixes(found).rows(rows)
    for number in range(3):
        bought = len(np.unique(found.session[rows][(part == number) & (label == 1)]))
        if bought < NEED_SESSIONS:
            raise ModelError("predict.few_sessions", bought=bought, need=NEED_SESSIONS)
    train, valid, test = (np.flatnonzero(part == number) for number in range(3))
    models = {
        name: make_model(config).fit(x.rows(train), label[train], seed=seed) for name, config in CANDIDATES.items()
    }
    scored = {name: model.score(x.rows(valid)) for name, model in models.items()}
    losses = {name: float(row_losses("binary", label[valid], one).mean()) for name, one in scored.items()}
    name = min(losses, key=lambda one: losses[one])
    method, _, _ = choose_calibration(
        label[valid], scored[name], stratified_folds(label[valid], 5, seed=seed, task="binary")
    )
    intent = Intent(name, models[name], fit_calibration(method, label[valid], scored[name]))
    p, y = intent.score(x.rows(test)), label[test]
    prior = models["prior"].score(x.rows(test))
    # What is examined last chooses nothing; it may only withhold: a model that then did worse than one chance for all is not used.
    withheld = (
        name if name != "prior" and row_losses("binary", y, p).mean() >= row_losses("binary", y, prior).mean() else ""
    )
    if withheld:
        name, intent = "prior", Intent("prior", models["prior"], Calibration())
        p = intent.score(x.rows(test))
    events = x.rows(test).take(("events",))[:, 0]
    report = {
        "sessions": {key: len(np.unique(found.session[rows[one]])) for key, one in (("train", train), ("valid", valid), ("test", test))},
        "base_rate": float(y.mean()),
        "model": name,
        "withheld": withheld,
        "version": intent.version,
        "tried": losses,
        "test": measure_binary(y, p, threshold=0.5),
        "baseline": measure_binary(y, prior, threshold=0.5),
        "calibration": {"method": method, "error": calibration_error(y, p), "reliability": reliability(y, p)},
        "after": {str(n): {"sessions": int((events == n).sum()), "roc_auc": roc_auc(y[events == n], p[events == n])} for n in AFTER},
        "importance": _importance(intent.model, x.rows(test)),
        "seconds": time.perf_counter() - start,
    }  # fmt: skip
    log.info("intent: %d sessions, %s, %.1f s", len(np.unique(found.session)), name, report["seconds"])
    made = plain(report)
    assert isinstance(made, dict)
    return intent, made


def acts_sql(events: str) -> str:
    """SQL of the events that customers did themselves, an order that the shop's own system wrote counted to the session it was made in.

    Clicks carry the session id of the site, orders often none: an event without one that comes within AFTER_CLICK of the same customer's last
    event with one belongs to that session. events: SQL of ready.events
    """
    sent = ", ".join(str(EVENT_CODES[name]) for name in NOT_ACTS if name in EVENT_CODES)
    before = "OVER (PARTITION BY user_no ORDER BY ts, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    near = (
        f"SELECT *, last_value(session_id IGNORE NULLS) {before} AS near_id, "
        f"max(CASE WHEN session_id IS NOT NULL THEN ts END) {before} AS near_ts FROM ({events}) WHERE event_no IS NOT NULL AND event_no NOT IN ({sent})"
    )
    joins = f"(session_id IS NULL AND near_ts >= ts - INTERVAL {AFTER_CLICK} MINUTE)"
    return (
        f"SELECT * EXCLUDE (near_id, near_ts) REPLACE (CASE WHEN {joins} THEN near_id ELSE session_id END AS session_id, "
        f"(session_start AND NOT coalesce({joins}, false)) AS session_start) FROM ({near})"
    )


def read_sessions(lake: Lake) -> Sessions:
    """The shop's last sessions, as ready.events cuts them."""
    engine = lake.engine
    events = engine.sql(lake.table("ready.events"))
    buy = EVENT_CODES[BUY]
    since = engine.value(f"SELECT min(day) FROM (SELECT day, sum(count(*)) OVER (ORDER BY day DESC) AS n FROM ({events}) GROUP BY day) WHERE n <= {MOST_EVENTS}")  # fmt: skip
    recent = f" WHERE day >= DATE '{since}'" if since else ""
    numbered = f"""
        SELECT user_no, session_id, ts, event_id, event_no, item_no, price, hour, weekday,
            sum(session_start::INT) OVER (PARTITION BY user_no, session_id ORDER BY ts, event_id) AS nth
        FROM ({acts_sql(f"SELECT * FROM ({events}){recent}")})"""
    whole = f"""
        SELECT user_no, session_id, nth, min(ts) AS first, max(ts) AS last, max((event_no = {buy})::INT) AS bought,
            arg_min(hour, (ts, event_id)) AS hour, arg_min(weekday, (ts, event_id)) AS weekday
        FROM ({numbered}) GROUP BY user_no, session_id, nth"""
    past = f"""
        SELECT *, row_number() OVER (ORDER BY first, user_no, session_id, nth) - 1 AS session, count(*) OVER earlier AS past_sessions,
            coalesce(sum(bought) OVER earlier, 0) AS past_bought, epoch(first - max(last) OVER earlier) / 86400.0 AS quiet
        FROM ({whole})
        WINDOW earlier AS (PARTITION BY user_no ORDER BY first ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"""
    found = engine.arrow(f"""
        SELECT s.session, e.event_no AS code, epoch(e.ts)::DOUBLE AS second, coalesce(e.item_no, -1) AS item, e.price, s.hour, s.weekday,
            s.past_sessions, s.past_bought, greatest(s.quiet, 0) AS quiet
        FROM ({numbered}) AS e JOIN ({past}) AS s
            ON e.user_no = s.user_no AND e.session_id IS NOT DISTINCT FROM s.session_id AND e.nth = s.nth
        ORDER BY s.session, e.ts, e.event_id""")

    def every(name: str, kind: Any) -> NDArray[Any]:
        return found.column(name).to_numpy().astype(kind)

    return Sessions(
        every("session", np.int64), every("code", np.int64), every("second", float), every("item", np.int64), every("price", float),
        *(every(name, float) for name in ("hour", "weekday", "past_sessions", "past_bought", "quiet")),
    )  # fmt: skip


def read_before(lake: Lake, user_id: str, now: datetime) -> Before:
    """What `user_id` (a pseudonym) did before `now` (UTC), as the last build knows it."""
    events = lake.engine.sql(lake.table("ready.events"))
    mine = f"""
        SELECT event_no, ts, session_id, sum(session_start::INT) OVER (PARTITION BY session_id ORDER BY ts, event_id) AS nth
        FROM ({acts_sql(f"SELECT * FROM ({events}) WHERE user_id = {quote(user_id)} AND bucket = {bucket_of(user_id)} AND ts < TIMESTAMP '{now.replace(tzinfo=None)}'")})"""
    row = lake.engine.rows(f"""
        SELECT count(*) AS sessions, coalesce(sum(bought), 0)::BIGINT AS bought, max(last) AS last
        FROM (SELECT max((event_no = {EVENT_CODES[BUY]})::INT) AS bought, max(ts) AS last FROM ({mine}) GROUP BY session_id, nth)""")[
        0
    ]
    if row["last"] is None:
        return Before()
    return Before(row["sessions"], row["bought"], (now.replace(tzinfo=None) - row["last"]).total_seconds() / 86400)


def _asked(found: Sessions) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """The events that are asked about (ASKED, before the session's first purchase), whether one came, and the part each is in."""
    buys = found.code == EVENT_CODES[BUY]
    count = int(found.session.max(initial=-1)) + 1
    if count == 0:
        raise ModelError("predict.few_sessions", bought=0, need=NEED_SESSIONS)
    first_buy = np.full(count, len(found))
    np.minimum.at(first_buy, found.session[buys], np.flatnonzero(buys))
    begin = np.searchsorted(found.session, found.session)
    nth = np.arange(len(found)) - begin + 1
    rows = np.flatnonzero((np.arange(len(found)) < first_buy[found.session]) & np.isin(nth, ASKED))
    label = (first_buy[found.session[rows]] < len(found)).astype(float)
    part = np.searchsorted(
        np.array(SHARES) * count, found.session[rows], side="right"
    )  # sessions are numbered by their beginning
    return rows, label, part


def _importance(model: Model, x: Matrix) -> list[dict[str, Any]]:
    """Mean |effect| of each column, the strongest ten, over at most 5,000 rows."""
    effects, _ = model.explain(x.rows(np.arange(0, len(x), max(1, len(x) // 5000))))
    size = np.abs(effects).mean(axis=0)
    return [{"feature": model.columns[at], "effect": float(size[at])} for at in np.argsort(-size, kind="stable")[:10]]
