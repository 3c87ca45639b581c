"""The review queue: one case a customer to look at, with reasons, evidence and what was known then; its verdict becomes a label.

`guard.queue`: case_id, user_id, as_of, risk, score, action, decided_by, reasons (codes), evidence and known (JSON), definition, model,
verdict (fraud, fine, or null while open), decided_at. A case that was decided stays. An open one lasts as long as what it says, by
one id, however often the queue is renewed; after a verdict, what is then found of the customer is another case.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from huaxiang.apply.guard.assess import Assessment
from huaxiang.apply.guard.risks import RISKS
from huaxiang.apply.guard.rules import ACTIONS, BY_LEARNED, BY_VERDICT, Decisions, main_risk
from huaxiang.engine import Engine, Lake
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix
from huaxiang.settings import RuleSettings

QUEUE = "guard.queue"
VERDICTS = ("fraud", "fine")
FELLOWS, ORDERS = 5, 5  # shown as evidence


@dataclass(frozen=True)
class Case:
    case_id: str
    user_id: str
    as_of: date
    risk: str
    score: float
    action: str
    decided_by: str
    reasons: tuple[str, ...]
    evidence: dict[str, Any]
    known: dict[str, float]
    definition: str
    model: str | None = None
    verdict: str | None = None
    decided_at: datetime | None = None


SCHEMA = pa.schema([
    ("case_id", pa.string()), ("user_id", pa.string()), ("as_of", pa.date32()), ("risk", pa.string()), ("score", pa.float64()),
    ("action", pa.string()), ("decided_by", pa.string()), ("reasons", pa.list_(pa.string())), ("evidence", pa.string()), ("known", pa.string()),
    ("definition", pa.string()), ("model", pa.string()), ("verdict", pa.string()), ("decided_at", pa.timestamp("us")),
])  # fmt: skip


def read_cases(lake: Lake, where: str = "true") -> list[Case]:
    """The cases of the queue for which the SQL `where` holds, the riskiest first ([]: the guard never ran)."""
    if not lake.has(QUEUE):
        return []
    rows = lake.engine.rows(
        f"SELECT * FROM ({lake.engine.sql(lake.table(QUEUE))}) WHERE {where} ORDER BY score DESC, case_id"
    )
    return [Case(**row | {"reasons": tuple(row["reasons"]), "evidence": json.loads(row["evidence"]), "known": json.loads(row["known"])}) for row in rows]  # fmt: skip


def to_arrow(cases: Iterable[Case]) -> pa.Table:
    rows = [{field.name: getattr(case, field.name) for field in fields(case)} for case in cases]
    for row in rows:
        row["evidence"], row["known"] = (json.dumps(row[name], ensure_ascii=False) for name in ("evidence", "known"))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def overrule(decisions: Decisions, found: Assessment, decided: Sequence[Case]) -> Decisions:
    """The decisions after the verdicts of before: fraud blocks; fine allows, unless there are reasons that the verdict did not know."""
    if not decided:
        return decisions
    user_ids = found.signals.user_ids.to_pylist()
    place = {user: at for at, user in enumerate(user_ids)}
    action, by = decisions.action.copy(), decisions.by.copy()
    for case in sorted(decided, key=lambda case: case.decided_at or datetime.min):
        at = place.get(case.user_id)
        if at is None:
            continue
        if case.verdict == "fraud":
            action[at], by[at] = ACTIONS.index("block"), BY_VERDICT
        elif not has_new_reasons(found, at, case):
            action[at], by[at] = ACTIONS.index("allow"), BY_VERDICT
    return Decisions(action, by, decisions.matched)


def has_new_reasons(found: Assessment, at: int, case: Case) -> bool:
    """Whether something speaks against the customer at place `at` that the case did not know."""
    return bool({reason.code for reason in found.risks.reasons(at)} - set(case.reasons))


def open_cases(
    engine: Engine,
    found: Assessment,
    features: Matrix,
    decisions: Decisions,
    rules: dict[str, RuleSettings],
    *,
    most: int,
    definition: str,
    before: Sequence[Case] = (),
    learned: Floats | None = None,
    model: str | None = None,
) -> list[Case]:
    """A case for each customer to review or block that no verdict settles, at most `most`, the riskiest first.

    before: the cases of the last queue, whose open ones keep their ids
    """
    ids = {(case.user_id, case.risk): case.case_id for case in before if case.verdict is None}
    asked = (decisions.action > 0) & (decisions.by != BY_VERDICT)
    worst = found.risks.scores.max(axis=1, initial=0.0)
    rank = worst if learned is None else np.maximum(worst, learned)
    chosen = np.flatnonzero(asked)
    chosen = chosen[np.argsort(-rank[chosen], kind="stable")][:most]
    if len(chosen) == 0:
        return []
    risk, names = main_risk(found), list(rules)
    evidence = _evidence(engine, found, chosen)
    cases = []
    for at, shown in zip(chosen, evidence, strict=True):
        user, by = found.signals.user_ids[int(at)].as_py(), int(decisions.by[at])
        codes = [rules[name].reason or name for name, holds in zip(names, decisions.matched[at], strict=True) if holds]
        codes += [reason.code for reason in found.risks.reasons(int(at))]
        named = RISKS[risk[at]] if worst[at] > 0 else "other"
        made = (
            ids.get((user, named)) or hashlib.sha256(f"{user} {found.window.as_of} {named}".encode()).hexdigest()[:10]
        )
        decided_by = f"rule {names[by]}" if by >= 0 else "learned" if by == BY_LEARNED else "risk"
        known = _known(features, int(at))
        cases.append(Case(made, user, found.window.as_of, named, float(rank[at]), ACTIONS[decisions.action[at]], decided_by, tuple(dict.fromkeys(codes)), shown, known, definition, model))  # fmt: skip
    return cases


def _known(features: Matrix, at: int) -> dict[str, float]:
    """What a model may learn from the case later; what cannot be known is left out."""
    values = features.values[at]
    return {name: round(float(value), 6) for name, value in zip(features.columns, values, strict=True) if np.isfinite(value)}  # fmt: skip


def _evidence(engine: Engine, found: Assessment, chosen: np.ndarray) -> list[dict[str, Any]]:
    """Of each chosen customer: the signals behind the reasons, the orders that look worst, and the others of the ring."""
    nos, of = found.signals.user_nos[chosen], found.rings.of
    loaded = engine.load(pa.table({"user_no": nos}))
    rows = engine.rows(f"""
        SELECT user_no, list({{'order': coalesce(order_id, day::VARCHAR), 'day': day::VARCHAR, 'copies': copies, 'burst': burst, 'refunded': refunded, 'new_device': new_device, 'new_address': new_address, 'jump': round(jump, 1), 'night': night, 'coupon': coupon}}
            ORDER BY copies DESC, burst DESC, refunded DESC, signs DESC, coupon DESC, ts DESC)[:{ORDERS}] AS orders
        FROM {found.orders} WHERE user_no IN (SELECT user_no FROM {loaded.get_name()}) GROUP BY user_no""")
    engine.drop(loaded)
    orders = {row["user_no"]: row["orders"] for row in rows}
    fellows = _first_of_rings(of[chosen], of)
    made = []
    for at, no in zip(chosen, nos, strict=True):
        ring, by_code = int(of[at]), found.risks.reasons(int(at))
        shown: dict[str, Any] = {"signals": {reason.signal: round(float(found.signals.of(reason.signal)[at]), 3) for reason in by_code}, "orders": orders.get(int(no), [])}  # fmt: skip
        if ring >= 0:
            others = [found.signals.user_ids[int(other)].as_py() for other in fellows[ring] if other != at]
            shown["ring"] = {"ring": ring, "users": int(found.rings.users[ring]), "others": others[:FELLOWS]}
        made.append(shown)
    return made


def _first_of_rings(wanted: np.ndarray, of: np.ndarray) -> dict[int, np.ndarray]:
    """The first few customers of each ring in `wanted`."""
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.unique(wanted))
    return {int(ring): order[start : start + FELLOWS + 1][of[order[start : start + FELLOWS + 1]] == ring] for ring, start in zip(np.unique(wanted), starts, strict=True)}  # fmt: skip
