"""SQL that sets single values right: texts trimmed, names of events known, signs turned, holes of arithmetic closed."""

from __future__ import annotations

import re

from huaxiang.clean.rules import Bounds, gender_sql
from huaxiang.engine import Engine
from huaxiang.engine.duck import GREATEST, finite_sql, quote
from huaxiang.tables import EVENT_NAMES, TABLES, event_vocabulary

# 'NA' is no such word: it is Namibia.
EMPTY_WORDS = ("", "nan", "null", "none", "n/a", "#n/a", "<na>", "nat", "\\n", "undefined", "unknown", "未知")
FREE_TEXT = ("text", "title", "description")
SPACES = " \t\r\n\u00a0\u3000"
BLANKS = r"\s\x{a0}\x{3000}"


def tidy_sql(engine: Engine, table: str, raw: str) -> str:
    """The raw rows with texts trimmed, words for 'nothing' emptied, and event names in our vocabulary.

    raw: SQL of the raw table; the result has the same columns
    """
    tidiers = _tidiers(table)
    # One cheap look says which columns need it: trimming all of them on each later pass would take most of the time.
    looks = ", ".join(f"coalesce(bool_or({dirty}), false) AS {name}" for name, (dirty, _) in tidiers.items())
    found = engine.rows(f"SELECT {looks} FROM ({raw})")[0] if tidiers else {}
    changed = {name: sql for name, (_, sql) in tidiers.items() if found[name]}
    if table == "events":
        changed |= _event_names(engine, raw)
    if not changed:
        return raw
    return f"SELECT * REPLACE ({', '.join(f'{sql} AS {name}' for name, sql in changed.items())}) FROM ({raw})"


def _tidiers(table: str) -> dict[str, tuple[str, str]]:
    """Column -> (SQL true for a value that is not tidy, SQL of the tidy value)."""
    found = {}
    for column in TABLES[table].stored:
        name = column.name
        if column.type == "float":
            found[name] = (f"NOT coalesce(abs({name}) < {GREATEST!r}, true)", finite_sql(name))
        elif column.type == "string" and not column.pseudonym and name not in ("event", "event_id"):
            words = () if name in FREE_TEXT else EMPTY_WORDS
            empty = "".join(f"|^(?i:{re.escape(word)})$" for word in words if word)
            dirty = f"regexp_matches({name}, {quote(f'^[{BLANKS}]|[{BLANKS}]$|^${empty}')})"
            trimmed = f"trim({name}, {quote(SPACES)})"
            listed = ", ".join(quote(word) for word in ("", *words))
            found[name] = (dirty, f"CASE WHEN lower({trimmed}) IN ({listed}) THEN NULL ELSE {trimmed} END")
    return found


def _event_names(engine: Engine, raw: str) -> dict[str, str]:
    """A replacement of `event` for the foreign names that occur; empty where all names are ours already."""
    ours = ", ".join(quote(name) for name in EVENT_NAMES)
    others = {name: to for name, to in event_vocabulary().items() if name not in EVENT_NAMES}
    known = ", ".join(quote(name) for name in event_vocabulary())
    query = f"SELECT DISTINCT event FROM ({raw}) WHERE event NOT IN ({ours}) AND lower(trim(event)) IN ({known}) ORDER BY event"
    found = [row["event"] for row in engine.rows(query)]
    if not found:
        return {}
    mapped = {name: others.get(name.strip().lower(), name.strip().lower()) for name in found}
    arms = " ".join(f"WHEN {quote(name)} THEN {quote(to)}" for name, to in mapped.items())
    return {"event": f"CASE event {arms} ELSE event END"}


def repaired_sql(table: str, accepted: str, bounds: Bounds, *, cancel_prefix: bool, matches: str | None) -> str:
    """The accepted rows with impossible values emptied and the table's own promises kept.

    accepted: SQL of tidy rows of the raw columns; matches: table of row_id, refund_of, refunded, amount_back (events only)
    """
    if table == "users":
        years = (
            f"CASE WHEN birth_year BETWEEN {bounds.first_birth_year} AND {bounds.last_birth_year} THEN birth_year END"
        )
        return (
            f"SELECT * REPLACE ({years} AS birth_year, {_between('registered_at', bounds)}, {gender_sql()} AS gender) "
            f"FROM ({accepted})"
        )
    if table == "items":
        return f"SELECT * REPLACE (CASE WHEN price >= 0 THEN price END AS price) FROM ({accepted})"
    if table == "relations":
        return f"SELECT * REPLACE ({_between('since', bounds)}) FROM ({accepted})"
    if table == "identifiers":
        return f"SELECT * REPLACE ({_between('ts', bounds)}) FROM ({accepted})"
    return _events(accepted, cancel_prefix=cancel_prefix, matches=matches)


def is_refund(*, cancel_prefix: bool, name: str = "") -> str:
    """SQL true for a line that gives something back. cancel_prefix: orders named C… are cancellations in this shop."""
    dot = f"{name}." if name else ""
    prefix = f" OR {dot}order_id LIKE 'C%'" if cancel_prefix else ""
    negative = f"coalesce({dot}quantity < 0 OR {dot}amount < 0{prefix}, false)"
    return f"({dot}event IN ('refund', 'cancel') OR ({dot}event = 'purchase' AND {negative}))"


def _events(accepted: str, *, cancel_prefix: bool, matches: str | None) -> str:
    refund = is_refund(cancel_prefix=cancel_prefix)
    joined = f"SELECT e.*, m.refund_of, m.refunded, m.amount_back FROM ({accepted}) e LEFT JOIN {matches} m ON e.row_id = m.row_id"
    plain = (
        f"SELECT *, NULL::VARCHAR AS refund_of, NULL::DOUBLE AS refunded, NULL::DOUBLE AS amount_back FROM ({accepted})"
    )
    paid = "abs(coalesce(amount, quantity * price, amount_back))"
    signed = (
        f"SELECT * EXCLUDE (amount_back) REPLACE (coalesce(event_id, row_id) AS event_id, "
        f"CASE WHEN {refund} THEN 'refund' ELSE event END AS event, abs(quantity) AS quantity, {paid} AS amount, "
        "abs(discount) AS discount, greatest(coalesce(received_at, ts), ts) AS received_at) "
        f"FROM ({joined if matches else plain})"
    )
    each = "abs(amount / nullif(quantity, 0))"
    wrong = f"price IS NULL OR abs({each} - price) > greatest(0.011, 0.01 * price)"
    price = f"CASE WHEN event IN ('purchase', 'refund') AND quantity > 0 AND amount IS NOT NULL AND ({wrong}) THEN {each} ELSE price END"
    return f"SELECT * REPLACE ({price} AS price) FROM ({signed})"


def _between(column: str, bounds: Bounds) -> str:
    inside = f"{column} BETWEEN TIMESTAMP '{bounds.earliest}' AND TIMESTAMP '{bounds.latest}'"
    return f"CASE WHEN {inside} THEN {column} END AS {column}"
