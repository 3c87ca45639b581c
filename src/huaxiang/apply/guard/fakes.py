"""The orders held fake: what the window shows, what verdicts say of it, and what was held before the window.

A verdict `fine` takes the customer's orders of until then out; those since, too, unless there are reasons that it did not know. A verdict `fraud` on a
case of fake orders holds every order of the customer in the window fake. What was held before the window stays: nobody looks at it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import pyarrow as pa

from huaxiang.apply.guard.assess import Assessment
from huaxiang.apply.guard.cases import Case, has_new_reasons
from huaxiang.apply.guard.risks import fake_orders_sql
from huaxiang.engine import Engine

RULED = pa.schema([("user_id", pa.string()), ("fraud", pa.bool_()), ("until", pa.date32())])
NAMES = "order_id, order_key, user_id, ts, day, amount, score, why"


def hold_fakes(engine: Engine, found: Assessment, decided: Sequence[Case], *, before: str, days: int) -> str:
    """The name of a table of the engine, as `guard.fake_orders` is; drop it at the end.

    before: SQL of the last `guard.fake_orders` ("": there is none); days: of the window
    """
    ruled = engine.load(_ruled(found, decided))
    name = ruled.get_name()
    start = found.window.as_of - timedelta(days=days)
    older = f"UNION ALL BY NAME SELECT {NAMES} FROM ({before}) WHERE day < DATE '{start}'" if before else ""
    held = engine.store(f"""
        WITH fraud AS (SELECT user_id FROM {name} WHERE fraud),
        held AS (SELECT {NAMES} FROM ({fake_orders_sql(found.orders)}) WHERE user_id NOT IN (FROM fraud) {older})
        SELECT {NAMES} FROM held o WHERE NOT EXISTS (SELECT 1 FROM {name} r WHERE r.user_id = o.user_id AND NOT r.fraud AND (r.until IS NULL OR o.day < r.until))
        UNION ALL BY NAME
        SELECT order_id, order_key, user_id, ts, day, amount, 1.0 AS score, ['verdict'] AS why FROM {found.orders} WHERE user_id IN (FROM fraud)""")
    engine.drop(ruled)
    return held


def _ruled(found: Assessment, decided: Sequence[Case]) -> pa.Table:
    """Of each customer with a verdict on their orders the last one. until: of `fine`, the day up to which it speaks (null: of all days)."""
    place = {user: at for at, user in enumerate(found.signals.user_ids.to_pylist())}
    last: dict[str, tuple[bool, date | None]] = {}
    for case in sorted(decided, key=lambda case: case.decided_at or datetime.min):
        if case.verdict == "fine":
            at = place.get(case.user_id)
            last[case.user_id] = (False, case.as_of if at is not None and has_new_reasons(found, at, case) else None)
        elif case.risk == "fake_orders":
            last[case.user_id] = (True, None)
    return pa.Table.from_pylist(
        [{"user_id": user, "fraud": fraud, "until": until} for user, (fraud, until) in last.items()], schema=RULED
    )
