"""The build on Spark: the same tables as build.py makes, from tables of the cluster and back into them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import date, timedelta
from functools import reduce

import ibis
from ibis import _

from huaxiang.engine.spark import SparkEngine
from huaxiang.engine.spark_tables import Places
from huaxiang.errors import DefinitionError
from huaxiang.features import spark_ready as ready
from huaxiang.features.build import CATEGORIES, BuildReport, Chosen, check_definitions, sampled_buckets
from huaxiang.features.compile import plan_features
from huaxiang.features.fakes import FAKES, NOTHING
from huaxiang.features.filters import EVENT_CODES
from huaxiang.features.mine import declared_features
from huaxiang.features.outcomes import Outcome, Schedule, schedule
from huaxiang.features.plan import Plan
from huaxiang.features.ready import Span
from huaxiang.features.scores import unscored
from huaxiang.features.spark_extra import extra_schema, merge_extra
from huaxiang.features.spark_features import feature_rows
from huaxiang.features.spark_labels import label_rows
from huaxiang.features.spark_scores import add_scores
from huaxiang.features.standard import standard_features
from huaxiang.features.users import BUCKETS
from huaxiang.identity import in_ibis as identity
from huaxiang.identity.links import ALIAS, find_merged
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings
from huaxiang.tables import IDENTIFIERS, LINEAGE, Column, arrow_schema

log = logging.getLogger(__name__)

LEDGER = tuple(
    Column(name, "timestamp" if name in ("since", "known_at") else "string", "", "") for name in identity.LEDGER
)


@ibis.udf.scalar.builtin
def date_from_unix_date(days: int) -> date:  # type: ignore[empty-body]
    """The date so many days after 1970-01-01."""


def build_on_spark(
    places: Places, settings: Settings, *, as_of: date | None = None, progress: Progress = SILENT
) -> BuildReport:
    """Writes the ready tables, features, training and labels, and the step's note, as build.build_features does.

    raises: DefinitionError for a feature or outcome that is not well declared; nothing is written then
    """
    start = time.perf_counter()
    check_definitions(settings)
    with progress.task("build", "ready", None):
        span, clock = write_ready(places, settings)
    places.engine.release()
    asked = as_of or (date.fromisoformat(settings.shop.as_of) if settings.shop.as_of else None)
    chosen = _choose(places, settings, asked or span.last + timedelta(days=1), span.first)
    dates, short = schedule(chosen.outcomes, settings, span.first, chosen.as_of)
    skipped = dict.fromkeys(short, "too_short")
    for name in short:
        log.warning("build: outcome %s needs more than the %d days of data", name, (chosen.as_of - span.first).days)
    past = sorted({day for found in dates.values() for day in found.dates})
    sample = sampled_buckets(settings, span, len(past))
    with progress.task("build", "features", None):
        users = _write_rows(places, settings, chosen, "features", [chosen.as_of], clock, buckets=BUCKETS)
    trained, labels = 0, dict[str, int]()
    if past:
        with progress.task("build", "training", None):
            trained = _write_rows(places, settings, chosen, "training", past, clock, buckets=sample)
        labels = _write_labels(places, chosen.outcomes, dates, sample) if trained else {}
    skipped |= {name: "no_rows" for name in dates if not labels.get(name)}
    places.step.note |= chosen.note(settings, labels, skipped)
    fakes = places.step.note.setdefault("fakes", NOTHING.copy())
    seconds = round(time.perf_counter() - start, 3)
    log.info(
        "build: %d events in, %d users, %d features out, %.1f s", span.events, users, len(chosen.features), seconds
    )
    return BuildReport(
        chosen.as_of, users, span.events, len(chosen.features), trained, labels, skipped, seconds,
        full="spark", touched=span.users, rows=span.events, redone=trained, fakes=fakes,
    )  # fmt: skip


def _choose(places: Places, settings: Settings, as_of: date, first: date) -> Chosen:
    events = places.read("ready_events")
    bought = events.filter(
        events.event_no == EVENT_CODES["purchase"], events.known_day < ibis.literal(as_of, type="date")
    )
    spent = bought.filter(bought.category_top.notnull()).group_by("category_top").aggregate(spend=bought.amount.sum())
    top = spent.order_by([spent.spend.desc(), spent.category_top]).limit(CATEGORIES).select("category_top")
    categories = [row["category_top"] for row in places.engine.rows(top)]
    sells = bool(categories) or bool(places.engine.value(bought.limit(1).count().as_table()))
    features = declared_features(settings.features, categories, sells=sells)
    return Chosen(as_of, first, categories, sells, features, check_definitions(settings)[1])


def _write_rows(
    places: Places,
    settings: Settings,
    chosen: Chosen,
    name: str,
    dates: Sequence[date],
    clock: ready.Clock,
    *,
    buckets: int,
) -> int:
    """Writes `features` or `training` of the users in the first `buckets` buckets; gives its rows."""
    engine = places.engine
    plan = plan_features(unscored(chosen.features, standard_features()), Plan())
    events, users = places.read("ready_events"), places.read("ready_users")
    if buckets < BUCKETS:
        events, users = events.filter(events.bucket < buckets), users.filter(users.bucket < buckets)
    gap_min = settings.features.session_gap_min
    rows = feature_rows(engine, plan, events, users, dates, clock=clock, gap_min=gap_min, everyone=name == "features")
    scored = add_scores(engine, engine.keep(rows), chosen.features)
    rest = [column for column in scored.columns if column not in ("user_id", "as_of_no")]
    written = places.write(
        name,
        scored.select("user_id", *rest, as_of=date_from_unix_date(scored.as_of_no)).relocate("as_of", after="user_id"),
    )
    engine.release()
    return written


def _write_labels(places: Places, outcomes: list[Outcome], dates: dict[str, Schedule], sample: int) -> dict[str, int]:
    """Writes labels; gives the rows of each outcome."""
    events, users, training = (places.read(name) for name in ("ready_events", "ready_users", "training"))
    first = min(min(found.dates) for found in dates.values())
    events = events.filter(events.bucket < sample, events.day >= ibis.literal(first, type="date"))
    parts = [
        label_rows(outcome, dates[outcome.name], training, events, users)
        for outcome in outcomes
        if outcome.name in dates
    ]
    places.write("labels", reduce(lambda one, other: one.union(other), parts))
    labels = places.read("labels")
    counted = places.engine.rows(labels.group_by("outcome").aggregate(n=labels.count()))
    return {row["outcome"]: row["n"] for row in counted}


def find_links(places: Places) -> ibis.Table | None:
    """The ledger of links: the one [spark.tables] names, else made from events and identifiers (None: no visitor in them)."""
    if places.where("links"):
        return places.contract("links", LEDGER, ("anonymous_id", "user_id", "since", "known_at"))
    events = _clean_events(places)
    identifiers = None
    if places.has("identifiers"):
        identifiers = places.contract("identifiers", IDENTIFIERS.stored + LINEAGE[:4], ("kind", "value"))
    visitors = places.engine.value(events.filter(events.anonymous_id.notnull()).limit(1).count().as_table())
    return identity.link_users(events, identifiers) if visitors or identifiers is not None else None


def _earlier_ids(engine: SparkEngine, links: ibis.Table) -> ibis.Table | None:
    """Earlier ids of users (None: there are none)."""
    aliases = links.filter(links.rule == ALIAS).select("anonymous_id", "user_id", "since", "known_at")
    found = find_merged(tuple(row.values()) for row in engine.rows(aliases))
    return ibis.memtable(found) if found.num_rows else None


def find_held(places: Places) -> ibis.Table | None:
    """order_id, user_id, day of the orders held fake (None: there are none)."""
    step = places.step
    if not step.rows(FAKES):
        return None
    held = places.engine.parquet(step.files(FAKES), step.lake.engine.schema(step.table(FAKES)))
    return held.select("order_id", "user_id", "day")


def write_ready(places: Places, settings: Settings) -> tuple[Span, ready.Clock]:
    """Writes ready users, items and events; gives what the events cover, and the shop's clock over it.

    raises: DefinitionError where there is no event at all
    """
    engine, start = places.engine, time.perf_counter()
    links = find_links(places)
    if links is not None:
        links = engine.keep(links)
    merged = None if links is None else _earlier_ids(engine, links)
    events = ready.with_known(identity.canonical_events(_clean_events(places), links, merged))
    found = engine.rows(ready.span_query(events))[0]
    if not found["events"]:
        raise DefinitionError("features.no_events")
    span = ready.span_of(found, settings.shop.timezone)
    clock = ready.Clock.of(settings.shop.timezone, span.first_ts, found["last_known"])
    listed = places.contract("items", ready.ITEM_COLUMNS, ("item_id",)) if places.has("items") else None
    items = places.write("ready_items", ready.ready_items(listed, events), sort=("item_id",))
    people = places.contract("users", ready.USER_COLUMNS, ("user_id",)) if places.has("users") else None
    users = places.write(
        "ready_users", ready.ready_users(_merged(places, people, settings), events), sort=("bucket", "user_id")
    )
    rows = ready.event_columns(events, places.read("ready_items"), clock)
    real, fakes = ready.split_fakes(rows, find_held(places))
    order = ("bucket", "user_id", "ts", "event_id")
    places.write("ready_events", ready.ready_events(real, settings.features.session_gap_min), sort=order)
    if fakes is not None:
        places.write("ready_fakes", fakes.select(*ready.FAKE_COLUMNS), sort=order)
        kept = places.read("ready_fakes")
        orders = kept.select("user_id", "order_key").distinct().group_by("user_id").aggregate(orders=_.count())
        counted = kept.group_by("user_id").aggregate(events=_.count()).join(orders, "user_id")
        total = {"orders": counted.orders.sum(), "events": counted.events.sum(), "users": counted.count()}
        places.step.note["fakes"] = {
            name: int(value or 0) for name, value in engine.rows(counted.aggregate(**total))[0].items()
        }
    log.info("ready: %d users, %d items, %d events, %.1f s", users, items, span.events, time.perf_counter() - start)
    return span, clock


def _clean_events(places: Places) -> ibis.Table:
    return places.contract("events", ready.EVENT_COLUMNS, ("event_id", "event", "ts"))


def _merged(places: Places, people: ibis.Table | None, settings: Settings) -> ibis.Table:
    engine = places.engine
    if people is None:
        people = engine.parquet([], arrow_schema(ready.USER_COLUMNS))
    merged = ready.merged_users(ready.ranked_users(people, settings))
    return engine.map_arrow(merged, merge_extra, extra_schema(engine.schema(merged)))
