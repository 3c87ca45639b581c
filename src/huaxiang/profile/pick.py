"""A few customers worth reading first, unlike one another."""

from __future__ import annotations

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ShopError

# Who makes a good example, in order: a rule over `profiles`, and what to prefer among those it fits.
EXAMPLES: tuple[tuple[str, str], ...] = (
    ("lifecycle IN ('active', 'won_back') AND value_tier IN ('gold', 'platinum')", "n_declared DESC, len(tags) DESC"),
    ("lifecycle = 'at_risk'", "n_declared DESC, len(tags) DESC"),
    ("lifecycle = 'new'", "len(tags) DESC"),
    ("lifecycle IN ('dormant', 'lost')", "n_declared DESC, len(tags) DESC"),
    ("lifecycle = 'active'", "len(tags) DESC"),
    ("true", "len(tags) DESC"),
)
DECLARED = ("age_band", "gender", "city", "income_band", "birth_year")


def pick_examples(lake: Lake, n: int = 3) -> list[str]:
    """`n` customers (fewer in a small shop): a loyal one, one at risk, a new one, then others. Deterministic."""
    if not lake.has("profiles"):
        raise ShopError("lake.no_table", name="profiles", have=", ".join(lake.names()) or "-")
    found = lake.table("profiles")
    count = " + ".join(f"({name} IS NOT NULL)::INTEGER" for name in DECLARED if name in found.columns) or "0"
    table = f"SELECT *, {count} AS n_declared FROM ({lake.engine.sql(found)})"
    picked: list[str] = []
    for rule, order in EXAMPLES * n:
        if len(picked) >= n:
            break
        taken = ", ".join(map(quote, picked)) or "''"
        query = f"SELECT user_id FROM ({table}) WHERE ({rule}) AND user_id NOT IN ({taken}) ORDER BY {order}, user_id LIMIT 1"
        picked += [row["user_id"] for row in lake.engine.rows(query)]
    return picked
