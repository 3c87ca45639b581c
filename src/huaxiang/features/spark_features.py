"""Features on Spark: the compiled plan over many as-of dates in one job, the dates a column.

The events are dealt by user once and stay so on the executors; every grouping and join after that is a user's own and moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import ibis

from huaxiang.engine.spark import SparkEngine
from huaxiang.features.compile import columns_of, compile_plan, final_rows
from huaxiang.features.plan import Plan
from huaxiang.features.spark_ready import EPOCH, Clock, add_sessions, day_number
from huaxiang.features.written import Writer

BY = ("user_id", "as_of_no")
SESSION = ("ts", "event_id", "session_id")


def feature_rows(
    engine: SparkEngine,
    plan: Plan,
    events: ibis.Table,
    users: ibis.Table,
    dates: Sequence[date],
    *,
    clock: Clock,
    gap_min: int,
    everyone: bool,
) -> ibis.Table:
    """user_id, as_of_no and every feature of the plan, a row a user and date; everyone: users without an event before it too.

    events, users: the ready tables; clock: local time of registrations
    """
    numbers = [(day - EPOCH).days for day in dates]
    known = known_events(engine, plan, events, numbers, gap_min)
    local = clock.local(users.registered_at).date()
    people = users.select("user_id", registered=day_number(local)).mutate(as_of_no=_days(numbers).unnest())
    before = ibis.ifelse(people.registered < people.as_of_no, people.registered, ibis.null("int32"))
    people = people.select(*BY, registered_no=before)
    to = Writer(by=BY, as_of_column="as_of_no", duckdb=False)
    parts = [part.rows for part in compile_plan(plan, to, lambda codes: known)]
    return final_rows(plan, to, people, parts, everyone=everyone)


def known_events(engine: SparkEngine, plan: Plan, events: ibis.Table, numbers: list[int], gap_min: int) -> ibis.Table:
    """One row an event and as-of date before which it had happened and was known.

    Where a user has an event that came later than that, the sessions are those that could be seen then.
    """
    asked = columns_of(plan) | {"event_no"}
    sessions = bool({"session_start", "session_gap_s"} & asked)
    columns = sorted(asked | set(SESSION) if sessions else asked)
    rows = events.select("user_id", *columns, day_no=day_number(events.day), known_no=day_number(events.known_day))
    rows = rows.filter(rows.day_no < max(numbers))
    exploded = rows.mutate(as_of_no=_days(numbers).unnest())
    known = exploded.filter(exploded.known_no < exploded.as_of_no)
    kept = (*BY, "day_no", *sorted(asked))
    waiting = rows.filter(rows.known_no > rows.day_no)
    if not sessions or not engine.value(waiting.limit(1).count().as_table()):
        return engine.deal(known.select(*kept), "user_id")
    late = waiting.mutate(as_of_no=_days(numbers).unnest())
    late = late.filter((late.day_no < late.as_of_no) & (late.known_no >= late.as_of_no)).select(*BY).distinct()
    on_time = known.anti_join(late, BY)
    behind = known.semi_join(late, BY).drop(*{"session_start", "session_gap_s"} & asked)
    behind = add_sessions(behind, gap_min, by=BY)
    return engine.deal(on_time.select(*kept).union(behind.select(*kept)), "user_id")


def _days(numbers: list[int]) -> ibis.Value:
    return ibis.literal(numbers, type="array<int32>")
