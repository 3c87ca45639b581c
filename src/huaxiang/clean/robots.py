"""Visitors who act faster than a person can, and the evidence.

An act is something the visitor did: the lines of one order are one act, and what the shop does (handing out coupons) is none.
"""

from __future__ import annotations

import ibis

from huaxiang.engine import Engine
from huaxiang.settings import CleanSettings

NOT_ACTS = "'coupon_receive'"


def find_robots(engine: Engine, passed: str, settings: CleanSettings, verdicts: ibis.Table | None) -> ibis.Table:
    """One row a robot: who (user_id, or anonymous_id), reason, detail (the fastest minute or day, and the limit).

    passed: SQL of the tidy events that no row rule rejects; verdicts: of duplicates, which are not counted
    """
    minute, day = settings.robot_per_minute, settings.robot_per_day
    rows = f"SELECT row_id, coalesce(user_id, anonymous_id) AS who, order_id, ts FROM ({passed}) WHERE event NOT IN ({NOT_ACTS})"
    # Few users have a day with so many rows: only theirs are counted exactly.
    busy = engine.keep(
        f"SELECT DISTINCT who FROM (SELECT who FROM ({rows}) GROUP BY who, date_trunc('day', ts) HAVING count(*) > {min(minute, day)})"
    )
    counted = f"({rows}) r SEMI JOIN {busy.get_name()} b ON b.who = r.who"
    if verdicts is not None:
        counted = f"(SELECT r.* FROM {counted}) r ANTI JOIN {verdicts.get_name()} v ON v.row_id = r.row_id"
    acts = "count(*) FILTER (order_id IS NULL) + count(DISTINCT order_id)"
    robots = engine.keep(
        f"WITH acts AS MATERIALIZED (SELECT who, order_id, ts FROM {counted}), "
        f"fast AS (SELECT who, date_trunc('minute', ts) AS moment, {acts} AS n, 'minute' AS unit, {minute} AS most FROM acts GROUP BY who, moment "
        f"HAVING n > {minute} UNION ALL "
        f"SELECT who, date_trunc('day', ts) AS moment, {acts} AS n, 'day' AS unit, {day} AS most FROM acts GROUP BY who, moment HAVING n > {day}) "
        "SELECT who, 'robot' AS reason, arg_max(n || ' acts in the ' || unit || ' of ' || moment || ', limit ' || most, (n / most, moment)) AS detail "
        "FROM fast GROUP BY who"
    )
    engine.drop(busy)
    return robots
