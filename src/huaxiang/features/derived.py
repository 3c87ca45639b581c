"""DuckDB text of the columns that features read and events do not carry: event code, local time, order key, item levels.

One place for the batch (ready.py) and the live path (live/arrive.py).
"""

from __future__ import annotations

from huaxiang.engine.duck import quote
from huaxiang.features.filters import EVENT_CODES

ORDERED = ("purchase", "refund", "cancel", "checkout")


def event_code_sql(event: str = "e.event") -> str:
    """The code of an event; 0: an event of another name."""
    codes = " ".join(f"WHEN {quote(name)} THEN {code}" for name, code in EVENT_CODES.items())
    return f"(CASE {event} {codes} ELSE 0 END)::TINYINT"


def order_key_sql(day: str, rows: str = "e") -> str:
    """Which order an event belongs to, as a whole number: its order id, else the user's purchases of the local `day`."""
    ordered = ", ".join(map(quote, ORDERED))
    return (
        f"CASE WHEN {rows}.event IN ({ordered}) OR {rows}.order_id IS NOT NULL "
        f"THEN (md5_number_lower(coalesce({rows}.order_id, 'day ' || {day})) >> 1)::BIGINT END"
    )
