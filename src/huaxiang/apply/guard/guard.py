"""The guard of a shop: looks, decides, keeps the queue.

guard = shop.guard
found = guard.score()                          # writes guard.scores, guard.rings, guard.fake_orders, guard.queue
guard.verdict(found.cases[0].case_id, "fraud")
guard.try_rule("returns", RuleSettings(when="refund_share > 0.5 and orders >= 5", action="review"))
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa

from huaxiang.apply.guard.assess import KNOWN, Assessment, assess
from huaxiang.apply.guard.cases import QUEUE, VERDICTS, Case, open_cases, overrule, read_cases, to_arrow
from huaxiang.apply.guard.fakes import hold_fakes
from huaxiang.apply.guard.found import DryRun, GuardReport, RingRow, Trial
from huaxiang.apply.guard.learn import Learned, learn
from huaxiang.apply.guard.risks import REASONS, RISKS, definition
from huaxiang.apply.guard.rules import ACTIONS, Decisions, check_rules, decide
from huaxiang.apply.guard.signals import SIGNALS
from huaxiang.apply.guard.ties import KINDS
from huaxiang.apply.guard.window import Sources
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import GuardError
from huaxiang.features.fakes import everything_sql
from huaxiang.models.metrics import Floats
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import RuleSettings, Settings

log = logging.getLogger(__name__)

SCORES, RINGS, FAKES = "guard.scores", "guard.rings", "guard.fake_orders"
WEEK = timedelta(days=7)


class Guard:
    """The guard over one lake; opened by `Shop.guard`."""

    def __init__(
        self, lake: Lake, settings: Settings, *, progress: Progress = SILENT, save: Callable[[str], None] | None = None
    ) -> None:
        """save: takes the report's JSON"""
        self.lake, self.settings, self.progress, self.save = lake, settings, progress, save

    def score(self, *, as_of: date | None = None) -> GuardReport:
        """Score every customer of the last `days` ([guard], a year) before `as_of` (default: the last build's), decide, and renew the queue.

        as_of: another day than the build's is answered by what was known then, verdicts too, and nothing is written
        raises: GuardError where the shop is not built or nobody did anything in the window; DefinitionError for a rule not well written
        """
        check_rules(self.settings.guard.rules)
        seed, rules, days = self.settings.train.seed, self.settings.guard.rules, self.settings.guard.days
        built = self._as_of()
        day, cases = as_of or built, read_cases(self.lake)
        live = day == built
        if not live:
            cases = [case for case in cases if case.decided_at is not None and case.decided_at.date() < day]
        with (
            self.progress.task("guard", "risks"),
            assess(self.lake.engine, self._sources(), day, seed=seed, days=days) as found,
        ):
            if not len(found):
                raise GuardError("guard.nobody", as_of=day, days=days)
            features = found.features()
            taught = learn(cases, features.columns, seed=seed)
            learned = taught.model.score(features) if taught.model is not None else None
            decisions = decide(self.lake.engine, found, rules, review_at=self.settings.guard.review_at, learned=learned)
            decided = [case for case in cases if case.verdict is not None]
            decisions = overrule(decisions, found, decided)
            fresh = open_cases(
                self.lake.engine, found, features, decisions, rules, most=self.settings.guard.queue_most, definition=definition(), before=cases, learned=learned, model=taught.version
            )  # fmt: skip
            kept = {case.case_id for case in decided}
            fresh = [case for case in fresh if case.case_id not in kept]
            before = self.lake.engine.sql(self.lake.table(FAKES)) if live and self.lake.has(FAKES) else ""
            fakes = hold_fakes(self.lake.engine, found, decided, before=before, days=days)
            report = self._report(fakes, found, decisions, taught, fresh, decided, written=live)
            if live:
                with self.lake.step("guard") as step:
                    step.replace(SCORES, _scores(found, decisions, learned, taught))
                    step.replace(RINGS, _ring_rows(found))
                    step.replace(FAKES, f"SELECT * FROM {fakes}")
                    step.replace(QUEUE, to_arrow([*decided, *fresh]))
                    step.note["as_of"] = day.isoformat()
                    step.note["versions"] = {"definition": definition(), "model": taught.version}
            self.lake.engine.drop(fakes)
        if live and self.save is not None:
            self.save(report.to_json())
        log.info("guard: %d customers, %d cases", len(found), len(fresh))
        return report

    def queue(self) -> list[Case]:
        """The open cases, the riskiest first."""
        return read_cases(self.lake, "verdict IS NULL")

    def verdict(self, case_id: str, verdict: str, *, now: datetime) -> Case:
        """Close a case as fraud or fine; the next `score` learns from it. A case decided before takes the new verdict.

        raises: GuardError where there is no such case or verdict
        """
        if verdict not in VERDICTS:
            raise GuardError("guard.verdict", verdict=verdict, known=" | ".join(VERDICTS))
        if not self.lake.has(QUEUE):
            raise GuardError("guard.no_queue")
        found = read_cases(self.lake, f"case_id = {quote(case_id)} OR (user_id = {quote(case_id)} AND verdict IS NULL)")
        if not found:
            raise GuardError("guard.no_case", case=case_id)
        closed = replace(found[0], verdict=verdict, decided_at=now)
        rest = read_cases(self.lake, f"case_id <> {quote(closed.case_id)}")
        before = self.lake.note("guard")
        with self.lake.step("guard") as step:
            step.note.update(before)
            step.replace(QUEUE, to_arrow([*rest, closed]))
        return closed

    def try_rule(self, name: str, rule: RuleSettings, *, days: int = 28) -> DryRun:
        """What a new or changed rule would have done at each week's end of the last `days`; nothing is written.

        A rule of the same name is replaced in its place; a new one is asked last. Learned scores take no part.
        raises: DefinitionError for a rule not well written
        """
        changed = {**self.settings.guard.rules, name: rule}
        check_rules(changed)
        last, trials = self._as_of(), []
        known = {case.user_id: case.verdict for case in read_cases(self.lake, "verdict IS NOT NULL")}
        for weeks in range(days // 7, -1, -1):
            day = last - WEEK * weeks
            with assess(
                self.lake.engine, self._sources(), day, seed=self.settings.train.seed, days=self.settings.guard.days
            ) as found:
                trials.append(self._trial(found, changed, list(changed).index(name), known))
        return DryRun(name, rule.when, rule.action, tuple(trials))

    def _trial(self, found: Assessment, changed: dict[str, RuleSettings], at: int, known: dict[str, str | None]) -> Trial:  # fmt: skip
        engine, review_at = self.lake.engine, self.settings.guard.review_at
        before = decide(engine, found, self.settings.guard.rules, review_at=review_at)
        after = decide(engine, found, changed, review_at=review_at)
        matched, moved = after.matched[:, at], before.action != after.action
        users = found.signals.user_ids.filter(pa.array(matched)).to_pylist() if len(found) else []
        verdicts = [known[user] for user in users if user in known]
        orders = found.signals.of("orders")
        return Trial(found.window.as_of, int(matched.sum()), float(orders[matched].sum()), before.count(), after.count(), int(moved.sum()), verdicts.count("fraud"), verdicts.count("fine"))  # fmt: skip

    def _as_of(self) -> date:
        if self.settings.shop.engine == "spark":
            raise GuardError("guard.spark")
        note = self.lake.note("build")
        if "as_of" not in note or not self.lake.has("ready.events"):
            raise GuardError("guard.not_built")
        return date.fromisoformat(note["as_of"][:10])

    def _sources(self) -> Sources:
        def sql(name: str) -> str:
            return self.lake.engine.sql(self.lake.table(name)) if self.lake.rows(name) else ""

        users = self.lake.engine.sql(self.lake.table("ready.users"))
        return Sources(
            everything_sql(self.lake), users, sql("clean.identifiers"), sql("clean.relations"), sql("identity.links")
        )

    def _report(
        self, held: str, found: Assessment, decisions: Decisions, taught: Learned, fresh: list[Case], decided: list[Case], *, written: bool
    ) -> GuardReport:  # fmt: skip
        rules = self.settings.guard.rules
        scores = found.risks.scores
        risks = {
            name: {"above": int(np.sum(scores[:, at] >= self.settings.guard.review_at)), "some": int(np.sum(scores[:, at] > 0)), "most": float(scores[:, at].max())}
            for at, name in enumerate(RISKS)
        }  # fmt: skip
        effect = {name: {"matched": int(decisions.matched[:, at].sum()), "decided": int(np.sum(decisions.by == at))} for at, name in enumerate(rules)}  # fmt: skip
        fakes = self.lake.engine.rows(f"SELECT count(*) AS orders, count(DISTINCT user_id) AS users, coalesce(sum(amount), 0) AS amount FROM {held}")[0]  # fmt: skip
        rings = [RingRow(at, int(found.rings.users[at]), float(found.rings.density[at]), {kind: int(found.rings.kinds[at, k]) for k, kind in enumerate(KINDS) if found.rings.kinds[at, k]}) for at in range(min(len(found.rings), 20))]  # fmt: skip
        missing = tuple(name for at, name in enumerate(SIGNALS) if np.isnan(found.signals.values[:, at]).all())
        orders = int(found.signals.of("orders").sum())
        return GuardReport(
            found.window.as_of, len(found), orders, risks, decisions.count(), effect, {name: float(value) for name, value in fakes.items()}, len(found.rings), tuple(rings),
            len(found.ties.user), missing, tuple(fresh), len(decided), {"fraud": taught.fraud, "fine": taught.fine, "by_score": taught.by_score, "by_model": taught.by_model, "sd": taught.sd, "used": taught.model is not None},
            definition(), taught.version, self.settings.guard.days, written,
        )  # fmt: skip


def _scores(found: Assessment, decisions: Decisions, learned: Floats | None, taught: Learned) -> pa.Table:
    """`guard.scores`: one row a customer."""
    known, count = found.known(), len(found)
    columns: dict[str, object] = {
        "user_id": found.signals.user_ids,
        "as_of": pa.array([found.window.as_of] * count, pa.date32()),
        "action": pa.array(np.array(ACTIONS)[decisions.action]),
        "reasons": _codes(found),
        "learned": pa.nulls(count, pa.float64()) if learned is None else pa.array(learned),
        "ring": pa.array(found.rings.of),
    }
    columns |= {name: pa.array(column, from_pandas=True) for name, column in zip(KNOWN, known.values.T, strict=True)}
    columns |= {
        "definition": pa.array([definition()] * count),
        "model": pa.array([taught.version] * count, pa.string()),
    }
    return pa.table(columns)


def _ring_rows(found: Assessment) -> pa.Table:
    """`guard.rings`: one row a customer in a ring."""
    inside = np.flatnonzero(found.rings.of >= 0)
    ring = found.rings.of[inside]
    return pa.table({
        "ring": pa.array(ring, pa.int64()), "user_id": found.signals.user_ids.take(pa.array(inside)), "keys": pa.array(found.rings.keys[inside], pa.int64()),
        "users": pa.array(found.rings.users[ring], pa.int64()), "density": pa.array(found.rings.density[ring], pa.float64()),
        "as_of": pa.array([found.window.as_of] * len(inside), pa.date32()),
    })  # fmt: skip


def _codes(found: Assessment) -> pa.ListArray:
    """(U,) the codes of each customer's reasons, the strongest first."""
    user, reason = np.nonzero(found.risks.degrees > 0)
    order = np.lexsort((-found.risks.degrees[user, reason], user))
    offsets = np.searchsorted(user[order], np.arange(len(found) + 1))
    codes = np.array([one.code for one in REASONS])[reason[order]]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(codes, pa.string()))
