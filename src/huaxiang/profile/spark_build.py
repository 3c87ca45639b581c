"""The table `profiles` on Spark: constants of the shop first, as aggregates; then each partition's rows by the same SQL as on DuckDB.

What joins (features, declared attributes, comebacks, ties, predictions) is joined by Spark into one wide row a customer; what only
looks at that row (stage, tier, tags) is build.finish_sql, run by a small DuckDB inside each executor.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial, reduce
from typing import Any

import ibis
import pyarrow as pa

from huaxiang.engine import Engine
from huaxiang.engine.spark_tables import Places
from huaxiang.features.spark_ranks import quantiles, rank_values
from huaxiang.profile.build import (
    Parts,
    ProfileReport,
    as_of_moment,
    declared_columns,
    finish_sql,
    make_report,
    profile_note,
    trait_columns,
    used_outcomes,
)
from huaxiang.profile.lifecycle import WORTH, Basis
from huaxiang.profile.predicted import Outcome
from huaxiang.profile.tags import key_of, usable_tags
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import ProfileSettings, Settings
from huaxiang.tables import RELATIONS

log = logging.getLogger(__name__)
MEMORY_GB = 0.3  # of the DuckDB in an executor: it holds one batch of rows
GIVEN = "given_customers"  # the view that the rows to finish are read from
TAGS = 100  # tags counted in the report


def build_on_spark(places: Places, settings: Settings, *, progress: Progress = SILENT) -> ProfileReport:
    """Writes `profiles` and the step's note, as build.build_profiles does."""
    start, engine = time.perf_counter(), places.engine
    features = places.read("features")
    known = features.columns
    parts, lines = _find_parts(places, settings, features)
    basis = find_basis(places, features, settings.profile)
    levels = _levels(places, features)
    base = _base(places, parts, basis, features, settings)
    with progress.task("profile", "profiles", None):
        duck = places.step.lake.engine
        empty = duck.load(engine.schema(base).empty_table())
        duck.run(f"CREATE OR REPLACE VIEW {GIVEN} AS FROM {empty.get_name()}")
        sql = finish_sql(duck, f"FROM {GIVEN}", known, parts, basis, levels, lines, settings)
        schema = duck.schema(sql)
        duck.run(f"DROP VIEW {GIVEN}")
        duck.drop(empty)
        made = engine.map_arrow(base, partial(_finish, sql, schema), schema)
        rows = places.write("profiles", made, sort=("user_id",))
    profiles = places.read("profiles")
    report = make_report(rows, parts, tuple(profiles.columns), _count(places, profiles), start)
    places.step.note |= profile_note(report, parts, basis, levels, _unused(places, parts, profiles))
    engine.release()
    log.info("profiles: %d out, %.2f s", rows, report.seconds)
    return report


def _finish(sql: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The finished rows of a partition."""
    with Engine(memory_gb=MEMORY_GB, threads=1) as engine:
        for batch in batches:
            table = engine.load(pa.Table.from_batches([batch]))
            engine.run(f"CREATE OR REPLACE VIEW {GIVEN} AS FROM {table.get_name()}")
            yield from engine.arrow(sql).cast(schema).to_batches()
            engine.drop(table)


def _find_parts(places: Places, settings: Settings, features: ibis.Table) -> tuple[Parts, dict[str, float]]:
    """What the rows are made of, and the threshold of each outcome's model."""
    engine, lake = places.engine, places.step.lake
    ties = places.has("relations") and bool(
        engine.value(
            places.contract("relations", RELATIONS.stored, ("user_id", "other_id")).limit(1).count().as_table()
        )
    )
    columns = trait_columns(lake, features.columns, ties=ties)
    declared = declared_columns(places.read("ready_users").columns, columns) if places.has("ready_users") else ()
    outcomes, lines = tuple[Outcome, ...](), dict[str, float]()
    if places.has("predictions"):
        found = engine.rows(_told(places.read("predictions")))
        outcomes = used_outcomes(lake, {row["outcome"]: row["kind"] for row in found}, columns, declared)
        lines = {row["outcome"]: row["line"] for row in found if row["line"] is not None}
    as_of = as_of_moment(engine.value(features.aggregate(at=features.as_of.max())), settings.shop.timezone)
    return Parts("", columns, declared, "", False, "", outcomes, as_of, ties), lines


def _told(predictions: ibis.Table) -> ibis.Table:
    """outcome, kind and the threshold its model chose, by what its predictions look like."""
    finite = _finite(predictions.threshold)
    found = predictions.group_by("outcome").aggregate(
        labels=predictions.label.count(),
        chance=predictions.value.between(0, 1).all() & (predictions.threshold.count() > 0),
        line=finite.max(),
    )
    kind = ibis.cases((found.labels > 0, "class"), (found.chance, "binary"), else_="number")
    return found.select("outcome", kind=kind, line=found.line).order_by("outcome")


def _finite(value: Any) -> Any:
    return ibis.ifelse(value.isnan() | value.isinf(), ibis.null("float64"), value)


def find_basis(places: Places, features: ibis.Table, settings: ProfileSettings) -> Basis:
    """What the rules can read in this shop, as lifecycle.find_basis finds it."""
    engine, columns = places.engine, features.columns
    met = [name for name in ("orders_total", *WORTH) if name in columns]
    most: dict[str, float] = {}
    if met:
        most = engine.rows(features.aggregate(**{name: features[name].max() for name in met}))[0]
    buys = (most.get("orders_total") or 0) > 0
    silence, age = ("recency_days", "first_purchase_days") if buys else ("idle_days", "tenure_days")
    worth = next((name for name in WORTH if (most.get(name) or 0) > 0), None) if buys else None
    return Basis(
        silence=silence if silence in columns else None,
        age=age if age in columns else None,
        buys=buys,
        worth=worth,
        tiers=_tiers(places, features, worth, settings) if worth else {},
    )


def _tiers(places: Places, features: ibis.Table, worth: str, settings: ProfileSettings) -> dict[str, float]:
    """The least of `worth` that reaches each tier (a tier nobody reaches is left out)."""
    spent = features.filter(features[worth] > 0).select(key=ibis.literal(worth), value=features[worth].cast("float64"))
    ranks = rank_values(places.engine, spent)
    if not ranks.totals or not settings.tiers:
        return {}
    table, total = ranks.table, ranks.totals[worth]
    share = (total - table.below) / ibis.literal(float(total))  # of the buyers, those who spent as much or more
    least = {f"t{at}": table.value.min(where=share <= limit) for at, limit in enumerate(settings.tiers.values())}
    found = places.engine.rows(table.aggregate(**least))[0]
    return {tier: float(found[f"t{at}"]) for at, tier in enumerate(settings.tiers) if found[f"t{at}"] is not None}


def _levels(places: Places, features: ibis.Table) -> dict[str, float]:
    """The shop's quantiles that the tags compare with, as tags.find_levels finds them."""
    tags = usable_tags(features.columns)
    pairs = sorted(set().union(*(tag.quantiles for tag in tags)) if tags else set())
    if not pairs:
        return {}
    stacked = [
        features.select(key=ibis.literal(column), value=features[column].cast("float64"))
        for column in dict.fromkeys(column for column, _ in pairs)
    ]
    ranks = rank_values(places.engine, reduce(lambda one, other: one.union(other), stacked))
    return quantiles(places.engine, ranks, {key_of(*pair): pair for pair in pairs})


def _base(places: Places, parts: Parts, basis: Basis, features: ibis.Table, settings: Settings) -> ibis.Table:
    """One row a customer: features, declared attributes, comeback_days, ties and predictions."""
    engine, as_of = places.engine, ibis.literal(parts.as_of, type="timestamp")
    rows = features.drop("as_of")
    if places.has("ready_users"):
        users = places.read("ready_users").select("user_id", *parts.declared)
        rows = rows.drop(*(name for name in parts.declared if name in rows.columns))
        joined = rows.outer_join(users, "user_id", rname="{name}_declared")
        rest = [name for name in (*rows.columns, *parts.declared) if name != "user_id"]
        rows = engine.rest(joined.select(*rest, user_id=joined.user_id.coalesce(joined.user_id_declared)))
    more = []
    if places.has("ready_events"):
        more.append(_comebacks(places.read("ready_events"), settings.profile, parts, basis))
    else:
        rows = rows.mutate(comeback_days=ibis.null("int64"))
    if parts.ties:
        more.append(_ties(places.contract("relations", RELATIONS.stored, ("user_id", "other_id"))))
    if parts.outcomes:
        more.append(_pivoted(places.read("predictions"), parts.outcomes))
    for number, table in enumerate(more):
        named = table.rename({f"user_{number}": "user_id"})
        joined = rows.left_join(named, rows.user_id == named[f"user_{number}"])
        rows = engine.rest(joined.drop(f"user_{number}"))
    if parts.ties:
        rows = rows.mutate(ties=rows.ties.coalesce(0))
    return rows.mutate(as_of=as_of)


def _comebacks(events: ibis.Table, settings: ProfileSettings, parts: Parts, basis: Basis) -> ibis.Table:
    """user_id and comeback_days: the silence that ended within the last `new_days`, as lifecycle.comeback_sql gives it."""
    as_of = ibis.literal(parts.as_of, type="timestamp")
    since = ibis.literal(parts.as_of - timedelta(days=settings.new_days), type="timestamp")
    kept = events.filter(ibis.greatest(events.ts, events.known_at) < as_of)
    if basis.buys:
        kept = kept.filter(kept.event == "purchase")
    found = kept.group_by("user_id").aggregate(
        left=kept.ts.max(where=kept.ts < since), back=kept.ts.min(where=kept.ts >= since)
    )
    days = found.back.date().delta(found["left"].date(), unit="day").cast("int64")
    return found.select("user_id", comeback_days=days)


def _ties(relations: ibis.Table) -> ibis.Table:
    """The other customers each is tied to, whichever of the two the row names first."""
    one = relations.select("user_id", "other_id")
    other = relations.select(user_id=relations.other_id, other_id=relations.user_id)
    both = one.union(other)
    both = both.filter(both.user_id != both.other_id)
    return both.group_by("user_id").aggregate(ties=both.other_id.nunique())


def _pivoted(predictions: ibis.Table, outcomes: tuple[Outcome, ...]) -> ibis.Table:
    """One row a user: each outcome's value (the label of a class) and its confidence."""
    columns = {}
    for outcome in outcomes:
        here = predictions.outcome == outcome.name
        if outcome.kind == "class":
            columns[outcome.column] = predictions.label.max(where=here)
        else:
            columns[outcome.column] = _finite(predictions.value).max(where=here)
        columns[f"{outcome.column}_confidence"] = predictions.confidence.max(where=here)
    return predictions.group_by("user_id").aggregate(**columns)


def _count(places: Places, profiles: ibis.Table) -> dict[str, Any]:
    """Customers by stage and tier, and by tag."""
    stages: dict[str, dict[str, int]] = {}
    counted = profiles.group_by("lifecycle", "value_tier").aggregate(n=profiles.count())
    for row in places.engine.rows(counted.order_by("lifecycle", "value_tier")):
        stages.setdefault(row["lifecycle"], {})[row["value_tier"]] = row["n"]
    tagged = profiles.select(tag=profiles.tags.unnest())
    tags = tagged.group_by("tag").aggregate(n=tagged.count())
    found = places.engine.rows(tags.order_by([tags.n.desc(), tags.tag]).limit(TAGS))
    return {"stages": stages, "tags": {row["tag"]: row["n"] for row in found}}


def _unused(places: Places, parts: Parts, profiles: ibis.Table) -> list[str]:
    """Traits that say the same nothing (null, 0 or an empty list) of every customer."""
    columns = [name for name in parts.columns if name in profiles.columns]
    if not columns:
        return []
    said = {name: _says(profiles[name]).any() for name in columns}
    found = places.engine.rows(profiles.aggregate(**said))[0]
    return [name for name in columns if not found[name]]


def _says(value: Any) -> Any:
    if value.type().is_array():
        return value.length() > 0
    return value.notnull() if value.type().is_string() else value != 0
