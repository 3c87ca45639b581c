"""`ready.items`: one row an item, met in events or listed, with whole-number codes.

Codes are stable: an item, category or brand that has a number keeps it; new ones are numbered after the last.
"""

from __future__ import annotations

from huaxiang.engine import Step

LEVELS = ("category", "category_top", "category_2", "brand")
NO_ITEMS = (
    "SELECT NULL::INTEGER AS item_no, NULL::VARCHAR AS item_id, FALSE AS listed, "
    f"{', '.join(f'NULL::VARCHAR AS {name}, NULL::INTEGER AS {name}_no' for name in LEVELS)} WHERE FALSE"
)


def listing_sql(step: Step) -> str:
    """What clean.items says of each item: item_id, title, category, brand, price; the shop's newest word first."""
    if not step.has("clean.items"):
        return "SELECT NULL::VARCHAR AS item_id, NULL::VARCHAR AS title, NULL::VARCHAR AS category, NULL::VARCHAR AS brand, NULL::DOUBLE AS price WHERE FALSE"
    best = ", ".join(
        f"arg_min({name}, rank) FILTER (WHERE {name} IS NOT NULL) AS {name}"
        for name in ("title", "category", "brand", "price")
    )
    return f"""
        SELECT item_id, {best}
        FROM (SELECT *, row_number() OVER (PARTITION BY item_id ORDER BY coalesce(third_party, FALSE), collected_at DESC, row_id) AS rank
              FROM ({step.lake.engine.sql(step.table("clean.items"))})) WHERE item_id IS NOT NULL GROUP BY item_id"""


def items_sql(listing: str, met: str, before: str = NO_ITEMS) -> str:
    """SQL of ready.items. met: SQL of the item_ids of events; before: ready.items as it was, whose codes are kept."""
    path = "string_split(category, ' > ')"
    rows = f"""
        SELECT item_id, l.item_id IS NOT NULL AS listed, title, category, nullif(trim({path}[1]), '') AS category_top,
            nullif(array_to_string({path}[1:2], ' > '), '') AS category_2, brand, price
        FROM ({listing}) AS l FULL JOIN ({met}) AS e USING (item_id)"""
    numbered = ", ".join(f"{name}_names AS ({_numbered(name, 'rows', before)})" for name in LEVELS)
    joins = " ".join(f"LEFT JOIN {name}_names AS n_{name} ON n_{name}.name = r.{name}" for name in LEVELS)
    return f"""
        WITH rows AS ({rows}), {numbered}, item_id_names AS ({_numbered("item_id", "rows", before, first=0)})
        SELECT n.no AS item_no, r.*, {", ".join(f"n_{name}.no AS {name}_no" for name in LEVELS)}
        FROM rows AS r JOIN item_id_names AS n ON n.name = r.item_id {joins} ORDER BY item_no"""


def _numbered(name: str, rows: str, before: str, first: int = 1) -> str:
    """name, no: the numbers that names have already, and of new ones after the last, in the order of the names."""
    code = "item_no" if name == "item_id" else f"{name}_no"
    old = f"SELECT DISTINCT {name} AS name, {code} AS no FROM ({before}) WHERE {name} IS NOT NULL"
    return f"""
        SELECT name, no FROM ({old}) UNION ALL
        SELECT name, (row_number() OVER (ORDER BY name) - 1 + (SELECT coalesce(max(no) + 1, {first}) FROM ({old})))::INTEGER
        FROM (SELECT DISTINCT {name} AS name FROM {rows} WHERE {name} IS NOT NULL) ANTI JOIN ({old}) USING (name)"""
