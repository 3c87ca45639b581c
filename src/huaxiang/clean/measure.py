"""One side of the quality report: a table's columns measured, the same way over the raw rows and over the clean ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from huaxiang.clean.fill import sampled
from huaxiang.clean.quality import Point, Scores, Stats, TimeRange, Top, overall
from huaxiang.clean.rules import Bounds, invalid_sql
from huaxiang.engine import Engine
from huaxiang.tables import TABLES, Column

EXACT_DISTINCT_ROWS = 1_000_000
TOP_DISTINCT = 200_000
# Values of these say nothing as a list of the most frequent, or are a person's own words.
NO_TOP = ("event_id", "order_id", "session_id", "text", "title", "description", "image", "extra", "registered_at")
LONGEST_DAYS = 800


@dataclass(frozen=True)
class Side:
    """What was measured of one side. `broken`: check code -> (rows checked, rows broken)."""

    rows: int
    columns: dict[str, Stats]
    broken: dict[str, tuple[int, int]]
    bad: dict[str, int]


def measure(
    engine: Engine,
    table: str,
    rows: str,
    count: int,
    bounds: Bounds,
    *,
    hours: float,
    items: str | None,
    repeated: int | None,
) -> Side:
    """The columns of `rows` (SQL, tidy raw or clean) measured.

    items: table of item ids that exist; repeated: rows known to say what another row says (None: not looked for)
    """
    columns = TABLES[table].stored
    bad = _bad(engine, rows) if "bad" in engine.schema(rows).names else {}
    wanted = ["count(*) AS n"]
    for column in columns:
        wanted += _aggregates(column, invalid_sql(table, column.name, bounds), exact=count <= EXACT_DISTINCT_ROWS)
    if table == "events":
        late = f"received_at - ts <= INTERVAL '{round(hours * 3600)} seconds'"
        wanted += [
            f"count(*) FILTER ({late}) AS timely",
            "count(*) FILTER (received_at IS NOT NULL AND ts IS NOT NULL) AS timed",
        ]
        wanted += [
            f"count(*) FILTER ({checked}) AS checked_{code}, count(*) FILTER (({checked}) AND ({wrong})) AS broken_{code}"
            for code, (_, checked, wrong) in CHECKS.items()
        ]
    found = engine.rows(f"SELECT {', '.join(wanted)} FROM ({rows})")[0]
    medians = _medians(engine, columns, sampled(rows, count))
    broken = {code: (found[f"checked_{code}"], found[f"broken_{code}"]) for code in CHECKS} if table == "events" else {}
    if table == "events" and items is not None:
        broken["item_exists"] = _unknown_items(engine, rows, items)
    stats = {
        column.name: _stats(engine, table, column, rows, found, medians, bad.get(column.name, 0), broken, repeated)
        for column in columns
    }
    return Side(found["n"], stats, broken, bad)


# code -> (column at fault, SQL of rows it can be asked of, SQL true where it does not hold)
CHECKS = {
    "amount_adds_up": (
        "amount",
        "event IN ('purchase', 'refund') AND quantity <> 0 AND price IS NOT NULL AND amount IS NOT NULL",
        "abs(quantity * price - amount) > greatest(0.011 * abs(quantity), 0.01 * abs(amount))",
    ),
    "received_after": ("received_at", "received_at IS NOT NULL AND ts IS NOT NULL", "received_at < ts"),
    "sign_agrees": (
        "quantity",
        "event IN ('purchase', 'refund', 'cancel') AND coalesce(quantity, amount) IS NOT NULL",
        "quantity < 0 OR amount < 0",
    ),
}
CHECKED_COLUMN = {code: column for code, (column, _, _) in CHECKS.items()} | {"item_exists": "item_id"}


def table_scores(table: str, side: Side, supplied: set[str]) -> Scores:
    """The dimensions of a whole table, over the columns the shop gives."""
    stats = [(name, side.columns[name]) for name in side.columns if name in supplied]
    cells = sum(one.rows for _, one in stats)
    values = sum(one.rows - one.missing + side.bad.get(name, 0) for name, one in stats)
    checked = sum(asked for asked, _ in side.broken.values())
    timely = [one.timeliness for _, one in stats if one.timeliness is not None]
    return overall(
        {
            "completeness": _share(cells - sum(one.missing for _, one in stats), cells),
            "uniqueness": side.columns[TABLES[table].key[0]].uniqueness,
            "validity": _share(values - sum(one.invalid for _, one in stats), values),
            "consistency": _share(checked - sum(wrong for _, wrong in side.broken.values()), checked),
            "timeliness": timely[0] if timely else None,
        }
    )


def time_range(engine: Engine, raw: str, clean: str) -> TimeRange | None:
    """The span of the clean events, and the events of each day (or month, in a long history) of it."""
    span = engine.rows(f"SELECT min(ts) AS first, max(ts) AS last FROM ({clean})")[0]
    if span["first"] is None:
        return None
    unit = "day" if (span["last"] - span["first"]).days <= LONGEST_DAYS else "month"
    counts: dict[str, list[int]] = {}
    for number, rows in enumerate((raw, clean)):
        query = (
            f"SELECT strftime(date_trunc('{unit}', ts), '%Y-%m-%d') AS moment, count(*) AS n FROM ({rows}) "
            f"WHERE ts BETWEEN TIMESTAMP '{span['first']}' AND TIMESTAMP '{span['last']}' GROUP BY moment"
        )
        for row in engine.rows(query):
            counts.setdefault(row["moment"], [0, 0])[number] = row["n"]
    series = tuple(Point(at, both[0], both[1]) for at, both in sorted(counts.items()))
    return TimeRange(span["first"].isoformat(), span["last"].isoformat(), unit, series)


def _aggregates(column: Column, invalid: str | None, *, exact: bool) -> list[str]:
    name = column.name
    wanted = [f"count({name}) AS n_{name}"]
    if invalid:
        wanted.append(f"count(*) FILTER ({invalid}) AS invalid_{name}")
    if column.type in ("string", "int", "float", "bool"):
        wanted.append(f"count(DISTINCT {name}) AS d_{name}" if exact else f"approx_count_distinct({name}) AS d_{name}")
    if column.type in ("int", "float", "timestamp"):
        wanted += [f"min({name}) AS min_{name}", f"max({name}) AS max_{name}"]
    if column.type in ("int", "float"):
        wanted.append(f"sum({name}::DOUBLE) AS sum_{name}")
    return wanted


def _stats(
    engine: Engine,
    table: str,
    column: Column,
    rows: str,
    found: dict[str, Any],
    medians: dict[str, Any],
    bad: int,
    broken: dict[str, tuple[int, int]],
    repeated: int | None,
) -> Stats:
    name, total, known = column.name, found["n"], found[f"n_{column.name}"]
    invalid, distinct = found.get(f"invalid_{name}", 0) + bad, found.get(f"d_{name}")
    distinct = min(distinct, known) if distinct is not None else None
    checks = [broken[code] for code, at in CHECKED_COLUMN.items() if at == name and code in broken]
    is_key = name == TABLES[table].key[0]
    timed = found.get("timed", 0) if name == "received_at" else 0
    total_sum = found.get(f"sum_{name}")
    return Stats(
        rows=total,
        missing=total - known,
        invalid=invalid,
        distinct=distinct,
        completeness=_share(known, total),
        uniqueness=_share(total - repeated, total) if is_key and repeated is not None else None,
        validity=_share(known + bad - invalid, known + bad),
        consistency=_share(sum(asked - wrong for asked, wrong in checks), sum(asked for asked, _ in checks)),
        timeliness=_share(found["timely"], timed) if timed else None,
        min=_plain(found.get(f"min_{name}")),
        median=_plain(medians.get(name)),
        mean=total_sum / known if known and total_sum is not None else None,
        max=_plain(found.get(f"max_{name}")),
        top=_top(engine, table, column, rows, distinct, known),
    )


def _top(engine: Engine, table: str, column: Column, rows: str, distinct: int | None, known: int) -> tuple[Top, ...]:
    """The ten most frequent values of a column that is no pseudonym, no key, and nobody's own words."""
    if column.type != "string" or column.pseudonym or column.name in NO_TOP or column.name in TABLES[table].key:
        return ()
    if not distinct or distinct > TOP_DISTINCT:
        return ()
    query = (
        f"SELECT {column.name} AS value, count(*) AS n FROM ({rows}) WHERE {column.name} IS NOT NULL "
        "GROUP BY value ORDER BY n DESC, value LIMIT 10"
    )
    return tuple(Top(row["value"], row["n"]) for row in engine.rows(query))


def _medians(engine: Engine, columns: tuple[Column, ...], rows: str) -> dict[str, Any]:
    names = [column.name for column in columns if column.type in ("int", "float")]
    if not names:
        return {}
    return engine.rows(f"SELECT {', '.join(f'quantile_cont({name}, 0.5) AS {name}' for name in names)} FROM ({rows})")[
        0
    ]


def _bad(engine: Engine, rows: str) -> dict[str, int]:
    """Values that did not fit their type, by column."""
    query = f"SELECT name, count(*) AS n FROM (SELECT unnest(json_keys(bad)) AS name FROM ({rows}) WHERE bad IS NOT NULL) GROUP BY name"
    return {row["name"]: row["n"] for row in engine.rows(query)}


def _unknown_items(engine: Engine, rows: str, items: str) -> tuple[int, int]:
    """Events that name an item, and those whose item is not in the items table."""
    query = (
        f"SELECT coalesce(sum(n), 0)::BIGINT AS checked, coalesce(sum(n) FILTER (item_id NOT IN (SELECT item_id FROM {items})), 0)::BIGINT AS broken "
        f"FROM (SELECT item_id, count(*) AS n FROM ({rows}) WHERE item_id IS NOT NULL GROUP BY item_id)"
    )
    found = engine.rows(query)[0]
    return found["checked"], found["broken"]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _plain(value: Any) -> float | str | None:
    return value.isoformat() if isinstance(value, datetime) else value
