"""Training rows: computed for the dates and customers whose past, as known then, is another than at the last build; else kept.

A training row is what was known at its date, so that new events leave it as it is. It changes when the past itself does (a late
event known earlier, a changed or deleted one, a login that joins two customers), or the definitions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import ibis

from huaxiang.engine import Engine, Step
from huaxiang.features.algebra import Feature
from huaxiang.features.renew import Renewal
from huaxiang.features.scores import RANKED, SCORES

REDO_SHARE = 0.3  # above it everything is computed anew


class Some:
    """What a slice reads of a step, of a few users only."""

    def __init__(self, step: Step, events: str, users: str) -> None:
        self.lake = step.lake
        self._of = {"ready.events": events, "ready.users": users}

    def table(self, name: str) -> ibis.Table:
        return self.lake.engine.table(self._of[name])


@dataclass(frozen=True)
class Kept:
    """The rows of the last build that stand: those of `dates` in the buckets below `sample`, but for `redo`.

    redo: engine table of user_no, since: who is computed anew at the dates after `since` ("": nobody)
    idle: whether the table is as it should be
    """

    dates: tuple[date, ...]
    sample: int
    redo: str
    idle: bool

    def sql(self, step: Step, features: Sequence[Feature]) -> str:
        """The rows that stand, without the scores, which hang on all rows of a date."""
        engine = step.lake.engine
        scores = [feature.name for feature in features if feature.name in SCORES]
        dropped = f" EXCLUDE ({', '.join(scores)})" if scores else ""
        days = ", ".join(f"DATE '{day}'" for day in self.dates)
        rows = (
            f"SELECT u.user_no, t.*{dropped} FROM ({engine.sql(step.lake.table('training'))}) AS t "
            f"JOIN ({engine.sql(step.table('ready.users'))}) AS u ON t.user_id = u.user_id "
            f"WHERE u.bucket < {self.sample} AND t.as_of IN ({days})"
        )
        return (
            f"SELECT r.* FROM ({rows}) AS r ANTI JOIN {self.redo} AS d ON r.user_no = d.user_no AND r.as_of > d.since"
            if self.redo
            else rows
        )

    def redone(self, rows: str) -> str:
        """SQL of those of the rows computed for the customers of `redo` that replace others."""
        return f"SELECT r.* FROM {rows} AS r SEMI JOIN {self.redo} AS d ON r.user_no = d.user_no AND r.as_of > d.since"


def training_note(features: Sequence[Feature], dates: Sequence[date], sample: int) -> dict[str, Any]:
    """What the step's note keeps of a training set, so that the next build knows what it may keep."""
    versions = json.dumps(sorted((feature.name, feature.version) for feature in features))
    return {
        "definitions": hashlib.sha256(versions.encode()).hexdigest()[:16],
        "dates": [day.isoformat() for day in dates],
        "sample": sample,
    }


def find_kept(
    step: Step, features: Sequence[Feature], dates: Sequence[date], sample: int, renewal: Renewal | None
) -> Kept | None:
    """What stands of the last build's training rows (None: nothing)."""
    before = step.lake.note("build").get("training")
    now = training_note(features, dates, sample)
    names = {feature.name for feature in features}
    unranked = names & set(SCORES) and {column for column, _ in RANKED.values()} - names
    if renewal is None or renewal.full or not before or not step.lake.rows("training") or unranked:
        return None
    kept = tuple(day for day in dates if day.isoformat() in before["dates"])
    if before["definitions"] != now["definitions"] or not kept:
        return None
    engine = step.lake.engine
    users = engine.sql(step.table("ready.users"))
    redo = ""
    if renewal.restated:
        redo = engine.store(
            f"SELECT user_no, since FROM {renewal.restated} JOIN ({users}) USING (user_no) "
            f"WHERE bucket < {sample} AND since < DATE '{max(kept)}'"
        )
        weight = engine.rows(
            f"SELECT sum(events)::DOUBLE AS every, coalesce(sum(events) FILTER (user_no IN (SELECT user_no FROM {redo})), 0)::DOUBLE AS redo "
            f"FROM ({users}) WHERE bucket < {sample}"
        )[0]
        if weight["redo"] > REDO_SHARE * (weight["every"] or 0):
            engine.drop(redo)
            return None
        if not engine.value(f"SELECT count(*) FROM {redo}"):
            engine.drop(redo)
            redo = ""
    idle = not redo and not renewal.gone and before == now
    return Kept(kept, min(sample, int(before["sample"])), redo, idle)


def some_users(step: Step, engine: Engine, redo: str) -> tuple[Step, tuple[str, str]]:
    """A step that shows the customers of `redo` only, and the engine tables it reads."""
    events, users = (
        engine.store(f"SELECT * FROM ({engine.sql(step.table(name))}) WHERE user_no IN (SELECT user_no FROM {redo})")
        for name in ("ready.events", "ready.users")
    )
    return cast(Step, Some(step, events, users)), (events, users)
