"""The build step's second half: ready tables, today's features, the training sets and labels of every outcome."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise

import ibis

from huaxiang.engine import Engine, Lake, Step
from huaxiang.errors import DefinitionError
from huaxiang.features.algebra import Feature
from huaxiang.features.compile import plan_features
from huaxiang.features.fakes import count_kept_out
from huaxiang.features.filters import EVENT_CODES
from huaxiang.features.live.fold import why_not_live
from huaxiang.features.mine import declared_features
from huaxiang.features.outcomes import Outcome, Schedule, declare_outcome, labels_sql, schedule
from huaxiang.features.plan import Plan
from huaxiang.features.ready import Span
from huaxiang.features.renew import Renewal, renew_ready
from huaxiang.features.scores import scored_sql, unscored
from huaxiang.features.slices import Slice, Texts, open_slice
from huaxiang.features.standard import standard_features
from huaxiang.features.training import find_kept, some_users, training_note
from huaxiang.features.users import BUCKETS
from huaxiang.features.windows import Window
from huaxiang.features.written import CODED
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings

log = logging.getLogger(__name__)

AT_ONCE = 5_000_000  # events that all threads together work on at once: what bounds the memory
LEAST = 100_000  # events that are worth a slice of their own
CATEGORIES = 20
WRITTEN_OUT = 2000  # names of a key that may stand in a query's text


class Gathered:
    """The results of queries of one shape, gathered by several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._parts: list[str] = []

    def add(self, sql: str) -> None:
        self._parts.append(self._engine.store(sql))

    def __bool__(self) -> bool:
        return bool(self._parts)

    def sql(self) -> str:
        return "(" + " UNION ALL ".join(f"FROM {part}" for part in self._parts) + ")"

    def drop(self) -> None:
        while self._parts:
            self._engine.drop(self._parts.pop())


@dataclass(frozen=True)
class Work:
    """Rows to compute: the users of a range of buckets as of each of `days`."""

    step: Step
    buckets: tuple[int, int]
    days: Sequence[date]


@dataclass(frozen=True)
class BuildReport:
    """What a build made.

    skipped: outcome -> why it has no labels (too_short, no_rows)
    full: why everything was computed anew ("": only what new and changed events touch was); a key of words/features.toml
    touched: customers whose events were written; rows: the events written; redone: training rows computed
    fakes: orders, events, users: what was kept out because the guard holds the order fake
    """

    as_of: date
    users: int
    events: int
    features: int
    training_rows: int
    label_rows: dict[str, int]
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    full: str = ""
    touched: int = 0
    rows: int = 0
    redone: int = 0
    fakes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Chosen:
    """What a build computes. first: the day of the first event; categories: those that get a share of spend; sells: whether there are purchases at all."""

    as_of: date
    first: date
    categories: list[str]
    sells: bool
    features: list[Feature]
    outcomes: list[Outcome]

    def note(self, settings: Settings, labels: dict[str, int], skipped: dict[str, str]) -> dict[str, object]:
        """What the build step's note says of it. labels: rows of each outcome."""
        return {
            "as_of": self.as_of.isoformat(),
            "categories": list(self.categories),
            "sells": self.sells,
            "history_from": self.first.isoformat(),
            "features": [feature.note() | {"live": not why_not_live(feature)} for feature in self.features],
            "outcomes": [outcome.note(settings.train) for outcome in self.outcomes if labels.get(outcome.name)],
            "skipped_outcomes": skipped,
        }


def build_features(
    step: Step,
    settings: Settings,
    *,
    as_of: date | None = None,
    now: datetime,
    full: bool = False,
    progress: Progress = SILENT,
) -> BuildReport:
    """Writes ready.users, ready.items, ready.events, ready.fakes, features, training and labels, and the step's note.

    as_of: features as of this local midnight; default [shop] as_of, else the day after the last event
    full: compute everything anew, also what new and changed events do not touch; the answer is the same
    raises: DefinitionError for a feature or outcome that is not well declared; nothing is written then
    """
    from huaxiang.identity import canonical_events

    start, engine = time.perf_counter(), step.lake.engine
    check_definitions(settings)
    events = canonical_events(step)
    with progress.task("build", "ready", None):
        ready = renew_ready(step, settings, engine.sql(events), full=full, progress=progress)
    asked = as_of or (date.fromisoformat(settings.shop.as_of) if settings.shop.as_of else None)
    as_of = asked or ready.span.last + timedelta(days=1)
    made = build_from_ready(step, settings, ready.span, as_of=as_of, renewal=ready, progress=progress)
    if ready.restated:
        engine.drop(ready.restated)
    engine.drop(events)
    seconds = round(time.perf_counter() - start, 3)
    log.info(
        "build: %s; %d events, %d of them written, %d users, %d features, %d training rows computed out, %.1f s",
        ready.full or "incremental", made.events, ready.rows, made.users, made.features, made.redone, seconds,
    )  # fmt: skip
    fakes = step.note["fakes"] = count_kept_out(step)
    return BuildReport(
        **(
            vars(made)
            | {"seconds": seconds, "full": ready.full, "touched": ready.touched, "rows": ready.rows, "fakes": fakes}
        )
    )


def check_definitions(settings: Settings) -> tuple[list[Feature], list[Outcome]]:
    """The declared features and outcomes; raises DefinitionError for the first that is not well declared."""
    features = declared_features(settings.features)
    plan_features(unscored(features, standard_features()), Plan())
    kinds = {
        feature.name: "string" if feature.agg.type == "text" else "float"
        for feature in features
        if feature.agg.type != "list"
    }
    skipped = set(settings.features.skip)
    for name, declared in settings.outcomes.items():
        if lost := sorted(skipped & set(re.findall(r"\w+", declared.among))):
            raise DefinitionError("features.among_skipped", name=name, feature=lost[0])
    return features, [declare_outcome(name, declared, kinds) for name, declared in settings.outcomes.items()]


def build_from_ready(
    step: Step,
    settings: Settings,
    span: Span,
    *,
    as_of: date,
    renewal: Renewal | None = None,
    progress: Progress = SILENT,
) -> BuildReport:
    """Features, training and labels from the ready tables, as of the local midnight `as_of`.

    renewal: what became of the ready tables; without it, all training rows are computed
    """
    engine = step.lake.engine
    categories = top_categories(step, as_of)
    sells = bool(categories) or has_purchases(step, as_of)
    features = declared_features(settings.features, categories, sells=sells)
    _, outcomes = check_definitions(settings)
    for feature in features:
        if (
            feature.group == "mine"
            and (days := Window.parse(feature.window, name=feature.name).days) > (as_of - span.first).days
        ):
            log.warning(
                "build: %s looks %d days back, the events %d: it counts those",
                feature.name,
                days,
                (as_of - span.first).days,
            )
    dates, short = schedule(outcomes, settings, span.first, as_of)
    skipped = dict.fromkeys(short, "too_short")
    for name in short:
        log.warning("build: outcome %s needs more than the %d days of data", name, max((as_of - span.first).days, 0))
    with ExitStack() as stack:
        named = name_keys(step)
        for table in named.values():
            stack.callback(engine.drop, table)
        texts = compile_texts(step.lake, features, named)
        past = sorted({day for found in dates.values() for day in found.dates})
        sample = sampled_buckets(settings, span, len(past))

        def compute(name: str, work: Sequence[Work], *, everyone: bool) -> Gathered:
            """The rows of all `work`, without the scores."""
            rows = Gathered(engine)
            stack.callback(rows.drop)

            def one(part: Work) -> int:
                with open_slice(part.step, texts, part.buckets, settings, span.last) as found:
                    rows.add(found.at(part.days, everyone=everyone))
                return len(part.days)

            with progress.task("build", name, sum(len(part.days) for part in work)) as advance:
                for done in engine.each(one, work):
                    advance(done)
            return rows

        def dealt(low: int, high: int, days: Sequence[date], of: Step = step, events: int = span.events) -> list[Work]:
            """Slices of the buckets [low, high) of `of`, which holds `events`; an event has a row for each date after it."""
            parts = count_slices(events * (high - low) // BUCKETS * len(days), engine.threads)
            return [Work(of, buckets, days) for buckets in split_buckets(low, high, parts)] if days else []

        rows = compute("features", dealt(0, BUCKETS, [as_of]), everyone=True)
        users = step.replace("features", scored_sql(rows.sql(), features))
        rows.drop()
        kept = find_kept(step, features, past, sample, renewal) if past else None
        redone = 0
        if kept is None and past:
            rows = compute("training", dealt(0, sample, past), everyone=False)
            redone = step.replace("training", scored_sql(rows.sql(), features))
        elif kept is not None and not kept.idle:
            rows = compute(
                "training",
                dealt(0, sample, [day for day in past if day not in kept.dates])
                + dealt(kept.sample, sample, kept.dates),
                everyone=False,
            )
            found = [kept.sql(step, features)] + ([f"FROM {rows.sql()}"] if rows else [])
            if kept.redo:
                stack.callback(engine.drop, kept.redo)
                some, tables = some_users(step, engine, kept.redo)
                for made in tables:
                    stack.callback(engine.drop, made)
                held = engine.value(f"SELECT count(*) FROM {tables[0]}") * BUCKETS // sample  # as if of all buckets
                again = compute("training", dealt(0, sample, kept.dates, some, held), everyone=False)
                found.append(kept.redone(again.sql()))
                redone += engine.value(f"SELECT count(*) FROM ({found[-1]})")
            redone += engine.value(f"SELECT count(*) FROM {rows.sql()}") if rows else 0
            every = engine.store(" UNION ALL BY NAME ".join(f"({some})" for some in found))
            stack.callback(engine.drop, every)
            step.replace("training", scored_sql(every, features))
        trained = step.rows("training") if past else 0
        labels = _write_labels(step, outcomes, dates, sample) if trained else {}
    skipped |= {name: "no_rows" for name in dates if not labels.get(name)}
    chosen = Chosen(as_of, span.first, categories, sells, features, outcomes)
    step.note |= chosen.note(settings, labels, skipped) | {"training": training_note(features, past, sample)}
    return BuildReport(as_of, users, span.events, len(features), trained, labels, skipped, redone=redone)


def top_categories(step: Step, as_of: date) -> list[str]:
    """The top-level categories with the most spend known before `as_of`."""
    engine = step.lake.engine
    events, items = (engine.sql(step.table(name)) for name in ("ready.events", "ready.items"))
    found = engine.rows(
        f"""SELECT n.name FROM (SELECT category_top_no AS no, sum(amount) AS spend FROM ({events})
              WHERE event_no = {EVENT_CODES["purchase"]} AND category_top_no IS NOT NULL AND known_day < DATE '{as_of}' GROUP BY 1) AS s
            JOIN (SELECT DISTINCT category_top_no AS no, category_top AS name FROM ({items})) AS n USING (no)
            ORDER BY spend DESC NULLS LAST, n.name LIMIT {CATEGORIES}"""
    )
    return [row["name"] for row in found]


def has_purchases(step: Step, as_of: date) -> bool:
    """Whether any purchase was known before `as_of`."""
    events = step.lake.engine.sql(step.table("ready.events"))
    return bool(
        step.lake.engine.rows(
            f"SELECT 1 AS one FROM ({events}) WHERE event_no = {EVENT_CODES['purchase']} AND known_day < DATE '{as_of}' LIMIT 1"
        )
    )


def name_keys(step: Step) -> dict[str, ibis.Table]:
    """For each key that is held as a code: an engine table of its codes and their names (no, name)."""
    engine = step.lake.engine
    items = engine.sql(step.table("ready.items"))
    return {
        key: engine.keep(f"SELECT DISTINCT {code} AS no, {key} AS name FROM ({items}) WHERE {key} IS NOT NULL")
        for key, code in CODED.items()
        if key != "event"
    }


def compile_texts(lake: Lake, features: list[Feature], named: dict[str, ibis.Table]) -> Texts:
    """The compiled plan of `features`; the names of keys with few values (not items) stand in its text."""
    engine = lake.engine
    codes = {
        key: {row["name"]: row["no"] for row in engine.rows(table)}
        for key, table in named.items()
        if key == "category_top" or engine.value(f"SELECT count(*) FROM {table.get_name()}") <= WRITTEN_OUT
    }
    plan = plan_features(unscored(features, standard_features()), Plan())
    return Texts(plan, codes, {key: table.get_name() for key, table in named.items()}, lake.folder / "plans.json")


def count_slices(events: int, threads: int) -> int:
    """How many slices share the work: enough to bound what all threads hold at once, and one a thread where it pays."""
    return max(-(-events * threads // AT_ONCE), min(threads, events // LEAST), 1)


def split_buckets(first: int, last: int, parts: int) -> Iterator[tuple[int, int]]:
    """`parts` ranges [low, high) that together are [first, last)."""
    edges = [first + (last - first) * part // parts for part in range(parts + 1)]
    return ((low, high) for low, high in pairwise(edges) if high > low)


def sampled_buckets(settings: Settings, span: Span, dates: int) -> int:
    """How many buckets of users the training set may hold within [train] max_rows; in steps of an eighth or less, so that a
    few more users leave the sample as it is."""
    rows = span.users * max(dates, 1)
    if rows <= settings.train.max_rows:
        return BUCKETS
    most = max(1, BUCKETS * settings.train.max_rows // rows)
    return most - most % (1 << max(0, most.bit_length() - 4))


def _write_labels(step: Step, outcomes: Sequence[Outcome], dates: dict[str, Schedule], sample: int) -> dict[str, int]:
    """Writes labels; gives the rows of each outcome."""
    engine = step.lake.engine
    training = engine.view(engine.sql(step.table("training")))
    users = engine.view(engine.sql(step.table("ready.users")))
    columns = sorted({column for outcome in outcomes for column in outcome.columns} - {"day", "event_no"})
    events = engine.keep(
        f"SELECT user_id, day, event_no{''.join(f', {column}' for column in columns)} "
        f"FROM ({engine.sql(step.table('ready.events'))}) WHERE bucket < {sample} AND day >= DATE '{min(min(found.dates) for found in dates.values())}'"
    )
    parts = [
        labels_sql(
            outcome, dates[outcome.name], training=training.get_name(), events=events.get_name(), users=users.get_name()
        )
        for outcome in outcomes
        if outcome.name in dates
    ]
    step.replace("labels", "\nUNION ALL\n".join(parts))
    for table in (training, users, events):
        engine.drop(table)
    found = engine.rows(f"SELECT outcome, count(*) AS n FROM ({engine.sql(step.table('labels'))}) GROUP BY outcome")
    return {row["outcome"]: row["n"] for row in found}


__all__ = ["BuildReport", "Slice", "build_features", "build_from_ready", "check_definitions", "top_categories"]
