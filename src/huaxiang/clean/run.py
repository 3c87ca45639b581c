"""The cleaning run: items, users, events, relations, identifiers; each judged, repaired, filled, written and measured."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime

import ibis

from huaxiang.clean.fill import Filled, draw_in, fill_holes
from huaxiang.clean.hashes import row_hash_sql
from huaxiang.clean.judge import NOBODY, Judged, judge_events, judge_rows, test_accounts
from huaxiang.clean.quality import QualityReport, Refunds, Repair, Rows, Sides, TableQuality, weigh
from huaxiang.clean.quarantine import COLUMNS as QUARANTINE
from huaxiang.clean.quarantine import NAME, count_released, count_set_aside, rejected_rows
from huaxiang.clean.refunds import match_refunds, names_cancellations
from huaxiang.clean.rules import Bounds, skipped, value_repairs
from huaxiang.clean.summary import summarise
from huaxiang.clean.values import is_refund, repaired_sql, tidy_sql
from huaxiang.collect.raw import raw_sql
from huaxiang.engine import Engine, Step
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings
from huaxiang.tables import SQL, TABLES, Column, arrow_schema, raw_columns

log = logging.getLogger(__name__)

# Events come before the users they ban; items before the events that name them.
ORDER = ("items", "events", "users", "relations", "identifiers")
KEPT_LINEAGE = ("source", "third_party", "row_id", "collected_at")
ADDED = (Column("filled", "strings", "columns whose missing value was filled", "被填充缺失值的列"),)
ADDED_EVENTS = (
    Column("refund_of", "string", "event_id of the purchase this refund undoes", "本次退款对应的购买事件"),
    Column("refunded", "float", "pieces of this purchase later given back", "该购买后来退回的件数", unit="pieces"),
    Column("row_hash", "int", "a hash of the row, by which a build finds what changed", "该行的哈希，构建据此找出变化"),
)


@dataclass
class Run:
    """What the tables of one run share."""

    step: Step
    settings: Settings
    bounds: Bounds
    now: datetime
    engine: Engine
    tests: ibis.Table
    banned: ibis.Table | None = None
    refunds: Refunds = field(default_factory=Refunds)
    quarantined: bool = False


def clean_tables(step: Step, settings: Settings, *, now: datetime, progress: Progress = SILENT) -> QualityReport:
    """The quality report of a cleaning run, which writes clean.* and quarantine within `step`.

    Every raw row ends in exactly one of the two. now: naive UTC; later events are impossible
    """
    start, engine = time.perf_counter(), step.lake.engine
    bounds = Bounds.of(settings.clean, now)
    tidies = {table: tidy_sql(engine, table, _raw(step, table)) for table in TABLES if step.rows(f"raw.{table}")}
    off = "test_account" in skipped(settings.clean)
    tests = test_accounts(engine, [] if off else [tidies[table] for table in ("users", "events") if table in tidies])
    run = Run(step, settings, bounds, now, engine, tests)
    tables: dict[str, TableQuality] = {}
    for table in ORDER:
        if not step.rows(f"raw.{table}"):
            step.replace(f"clean.{table}", arrow_schema(_clean_columns(table)).empty_table())
            continue
        with progress.task("clean", table):
            tables[table] = _clean_table(run, table, tidies[table])
    if not run.quarantined:
        step.replace(NAME, arrow_schema(QUARANTINE).empty_table())
    released = count_released(step)
    rows = Rows(
        *(
            sum(getattr(quality, name) for quality in tables.values())
            for name in ("rows_raw", "rows_clean", "rows_quarantined")
        )
    )
    report = QualityReport(
        made_at=now.isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - start, 2),
        rows=rows,
        scores=Sides(
            weigh([(table.rows_raw, table.scores.before) for table in tables.values()]),
            weigh([(table.rows_clean, table.scores.after) for table in tables.values()]),
        ),
        tables={table: tables[table] for table in TABLES if table in tables},
        released=released,
        robots=_banned(run, "robot"),
        tests=_banned(run, "test_account"),
        refunds=run.refunds,
        set_aside=count_set_aside(step),
    )
    step.note["rows"] = {"raw": rows.raw, "clean": rows.clean, "quarantined": rows.quarantined}
    step.note["released"] = released
    return report


def _clean_table(run: Run, table: str, tidy: str) -> TableQuality:
    start, engine, step, settings = time.perf_counter(), run.engine, run.step, run.settings
    judged = _judge(run, table, tidy)
    accepted = judged.accepted
    matches, cancels = None, False
    if table == "events":
        cancels = names_cancellations(engine, accepted)
        matches = match_refunds(engine, accepted, cancel_prefix=cancels)
    repaired = repaired_sql(
        table, accepted, run.bounds, cancel_prefix=cancels, matches=matches.get_name() if matches is not None else None
    )
    rough = step.rows(f"raw.{table}")
    trimmed = draw_in(engine, table, repaired, settings.clean, count=rough)
    filled = fill_holes(engine, table, trimmed, settings.clean, count=rough, seed=settings.train.seed)
    columns = ", ".join(
        f"CAST({column.name} AS {SQL[column.type]}) AS {column.name}"
        for column in _clean_columns(table)
        if column.name != "row_hash"
    )
    rows = f"SELECT {columns} FROM ({filled.sql})"
    clean = step.replace(
        f"clean.{table}", f"SELECT *, {row_hash_sql()} AS row_hash FROM ({rows})" if table == "events" else rows
    )
    rejected = rejected_rows(judged, _raw(step, table), run.now)
    gone = (step.append if run.quarantined else step.replace)(NAME, rejected)
    run.quarantined = True
    repairs = _count_repairs(run, table, accepted, cancels)
    if matches is not None:
        run.refunds = _count_refunds(engine, engine.sql(step.table(f"clean.{table}")), matches)
    quality = summarise(
        step,
        settings.clean,
        run.bounds,
        table,
        tidy,
        trimmed=_count_trimmed(run, table, repaired, trimmed),
        filled=filled,
        repairs=repairs,
    )
    for made in (*filled.made, *([matches] if matches is not None else []), judged.verdicts):
        engine.drop(made)
    log.info(
        "clean %s: %d rows in, %d clean, %d quarantined, %.1f s", table, rough, clean, gone, time.perf_counter() - start
    )
    return quality


def _judge(run: Run, table: str, tidy: str) -> Judged:
    if table == "events":
        items = run.step.table("clean.items") if run.step.rows("clean.items") else None
        judged = judge_events(run.engine, tidy, run.bounds, run.settings.clean, tests=run.tests, items=items)
        run.banned = judged.banned
        return judged
    if run.banned is None:
        run.banned = run.engine.keep(NOBODY)
    return judge_rows(run.engine, table, tidy, run.bounds, run.settings.clean, run.banned)


def _clean_columns(table: str) -> tuple[Column, ...]:
    lineage = tuple(column for column in raw_columns(table) if column.name in KEPT_LINEAGE)
    return TABLES[table].stored + lineage + ADDED + (ADDED_EVENTS if table == "events" else ())


def _raw(step: Step, table: str) -> str:
    return raw_sql(step, table)


def _count_repairs(run: Run, table: str, accepted: str, cancels: bool) -> tuple[Repair, ...]:
    rules = {(rule.code, rule.column): rule.when for rule in value_repairs(table, run.bounds)}
    if table == "events":
        rules["return_line", "event"] = f"event <> 'refund' AND {is_refund(cancel_prefix=cancels)}"
    counted = ", ".join(f"count(*) FILTER ({when}) AS c{number}" for number, when in enumerate(rules.values()))
    found = run.engine.rows(f"SELECT {counted} FROM ({accepted})")[0]
    repairs = [Repair(code, column, found[f"c{number}"]) for number, (code, column) in enumerate(rules)]
    return tuple(sorted((repair for repair in repairs if repair.rows), key=lambda repair: -repair.rows))


def _count_trimmed(run: Run, table: str, repaired: str, trimmed: Filled) -> dict[str, int]:
    bounds = {name: (low, high) for name, (_, low, high) in trimmed.trims.items() if low is not None}
    if not bounds:
        return {}
    counted = ", ".join(
        f"count(*) FILTER ({name} NOT BETWEEN {low!r} AND {high!r}) AS {name}" for name, (low, high) in bounds.items()
    )
    return run.engine.rows(f"SELECT {counted} FROM ({repaired})")[0]


def _count_refunds(engine: Engine, clean: str, matches: ibis.Table) -> Refunds:
    found = engine.rows(
        "SELECT count(*) FILTER (event = 'refund') AS lines, count(*) FILTER (event = 'refund' AND refund_of IS NOT NULL) AS matched, "
        "count(*) FILTER (refunded > 0) AS purchases, coalesce(sum(refunded), 0) AS quantity, "
        f"coalesce(sum(amount) FILTER (event = 'refund'), 0) AS amount FROM ({clean})"
    )[0]
    return Refunds(**found, unmatched=found["lines"] - found["matched"])


def _banned(run: Run, reason: str) -> int:
    if run.banned is None:
        return 0
    return int(run.engine.value(f"SELECT count(*) FROM {run.banned.get_name()} WHERE reason = '{reason}'"))
