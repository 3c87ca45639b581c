"""Which events belong to an order that the guard holds fake (`guard.fake_orders`)."""

from __future__ import annotations

from huaxiang.engine import Lake, Step

FAKES = "guard.fake_orders"


def is_fake_sql(lake: Lake | Step) -> str:
    """A condition on rows of `ready.events`: true for those of an order held fake, never null ("false": the guard held none).

    An order without an id is its customer's purchases of a day: its key is that of the day, and names it only together with the customer.
    """
    if not lake.has(FAKES):
        return "false"
    engine = lake.lake.engine if isinstance(lake, Step) else lake.engine
    held = engine.sql(lake.table(FAKES))
    return (
        f"coalesce(order_key IN (SELECT order_key FROM ({held}) WHERE order_id IS NOT NULL) "
        f"OR (user_id, order_key) IN (SELECT (user_id, order_key) FROM ({held}) WHERE order_id IS NULL), false)"
    )
