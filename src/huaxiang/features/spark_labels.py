"""Labels on Spark: what outcomes.labels_sql says on DuckDB, over the training rows and the events that followed."""

from __future__ import annotations

from datetime import timedelta
from functools import reduce
from typing import Any

import ibis

from huaxiang.features.in_ibis import to_ibis
from huaxiang.features.outcomes import Outcome, Schedule
from huaxiang.features.users import ATTRIBUTES


@ibis.udf.scalar.builtin
def get_json_object(text: str, path: str) -> str:  # type: ignore[empty-body]
    """A value of a JSON text, as text."""


def label_rows(
    outcome: Outcome, found: Schedule, training: ibis.Table, events: ibis.Table, users: ibis.Table
) -> ibis.Table:
    """user_id, as_of, outcome, split, number, label: one row a user and date of `training` that the outcome speaks of."""
    if outcome.attribute:
        return _attribute_rows(outcome, next(iter(found.dates)), training, users)
    parts = []
    for day, split in sorted(found.dates.items()):
        asked = _among(outcome, training.filter(training.as_of == ibis.literal(day, type="date")))
        until = day + timedelta(days=outcome.days)
        window = events.filter(
            events.day >= ibis.literal(day, type="date"), events.day < ibis.literal(until, type="date")
        )
        if outcome.where.node is not None:
            window = window.filter(to_ibis(outcome.where.node, window.__getitem__))
        counted = window.group_by("user_id").aggregate(n=_made(outcome, window))
        if outcome.agg == "first":
            known = asked.join(counted.filter(counted.n.notnull()), "user_id")
            parts.append(_labelled(known, outcome, ibis.literal(split), known.n))
            continue
        joined = asked.left_join(counted, "user_id")
        number = joined.n.coalesce(0).cast("float64")
        if outcome.agg in ("any", "none"):
            met = number > 0 if outcome.agg == "any" else number == 0
            number = met.cast("int32").cast("float64")
        parts.append(_labelled(joined, outcome, ibis.literal(split), number))
    return reduce(lambda one, other: one.union(other), parts)


def _made(outcome: Outcome, events: ibis.Table) -> Any:
    """What is counted, summed or taken of the events of one customer."""
    if outcome.agg not in ("sum", "first"):
        return events.count()
    value = to_ibis(outcome.value.value, events.__getitem__)
    if outcome.agg == "sum":
        return value.sum()
    return value.argmin(ibis.struct({"ts": events.ts, "event_id": events.event_id}), where=value.notnull())


def _labelled(rows: ibis.Table, outcome: Outcome, split: Any, made: Any) -> ibis.Table:
    """Rows of a label that is a number, or a class: its own text, or the band it lies in."""
    if outcome.kind != "class":
        return _row(rows, outcome, split, made.cast("float64"), ibis.null("string"))
    if not outcome.bands:
        return _row(rows, outcome, split, ibis.null("float64"), made.cast("string"))
    *names, last = outcome.band_names
    arms = [(made < edge, name) for edge, name in zip(outcome.bands, names, strict=True)]
    return _row(rows, outcome, split, ibis.null("float64"), ibis.cases(*arms, else_=last))


def _among(outcome: Outcome, rows: ibis.Table) -> ibis.Table:
    node = outcome.among.node
    return rows if node is None else rows.filter(to_ibis(node, rows.__getitem__))


def _attribute_rows(outcome: Outcome, end: Any, training: ibis.Table, users: ibis.Table) -> ibis.Table:
    """Users who declared the attribute themselves (what cleaning filled in does not count), split 60/20/20 by hash."""
    if outcome.attribute in ATTRIBUTES:
        value = ibis.ifelse(users.filled.contains(outcome.attribute), None, users[outcome.attribute])
    else:
        path = outcome.attribute.replace('"', "").replace("'", "")
        value = get_json_object(users.extra, f"$['{path}']")
    asked = _among(outcome, training.filter(training.as_of == ibis.literal(end, type="date")))
    told = users.select("user_id", "dice", value=value)
    told = told.filter(told.value.notnull() & (told.value.cast("string").strip() != ""))
    joined = asked.join(told, "user_id")
    dice = joined.dice % 100
    split = ibis.cases((dice < 60, "train"), (dice < 80, "valid"), else_="test")
    if outcome.kind == "number":
        return _row(joined, outcome, split, joined.value.cast("float64"), ibis.null("string"))
    return _row(joined, outcome, split, ibis.null("float64"), joined.value.cast("string"))


def _row(rows: ibis.Table, outcome: Outcome, split: Any, number: Any, label: Any) -> ibis.Table:
    return rows.select("user_id", "as_of", outcome=ibis.literal(outcome.name), split=split, number=number, label=label)
