"""The peer of bench/features.py: the standard features as a strong data engineer writes them in SQL, by hand, on DuckDB.

A few statements over the prepared events (`ready.events`), as of the local midnight `as_of`: purchases cut out once, what looks back
a season read from that season only, counts grouped by the event and then laid side by side, active days as one bit a day, one
grouping a key (order, item, category …), ranks last. One table a statement: as CTEs of one statement, 10 million events need more
than 2 GB. It writes the columns of huaxiang's own feature table into one Parquet file. What was tried: bench/log.md.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

# Codes of ready.events.event_no.
VIEW, SEARCH, CLICK, CART, WISH, PURCHASE, REFUND, REVIEW = 1, 3, 4, 5, 7, 10, 12, 13
RECEIVE, REDEEM = 15, 16
COUNTED = {
    "views": VIEW, "clicks": CLICK, "searches": SEARCH, "carts": CART,
    "wishes": WISH, "purchases": PURCHASE, "refunds": REFUND, "reviews": REVIEW,
}  # fmt: skip
DAYS = (1, 7, 30, 90)
YEAR = (7, 30, 90, 365)
TOUCHED = f"event_no IN ({VIEW}, {CLICK}, {WISH}, {CART}, {PURCHASE}, {REVIEW})"
WEIGHT = f"""CASE event_no WHEN {VIEW} THEN 1.0 WHEN {CLICK} THEN 1.0 WHEN {WISH} THEN 3.0 WHEN {CART} THEN 3.0
    WHEN {PURCHASE} THEN 5.0 WHEN {REVIEW} THEN 2.0 END::DOUBLE * pow(0.5, age / 30.0)"""
EARLIER = "age > 30 AND age <= 60"  # the 30 days before the last 30, for trends
TASTES = {"category": ("category_2", "top_categories"), "brand": ("brand", "top_brands")}
MODES = ("channel", "device")
# Columns that are 0 where a user has nothing of the kind.
ZEROS = [
    *(f"{name}_{days}d" for name in COUNTED for days in DAYS),
    *(f"sessions_{days}d" for days in (7, 30, 90)), "active_days_30d", "active_days_90d",
    *(f"orders_{days}d" for days in YEAR), "orders_total", *(f"spend_{days}d" for days in (*DAYS, 365)), "spend_total",
    *(f"pieces_{days}d" for days in DAYS), *(f"refunded_{days}d" for days in DAYS), "refunds_365d",
    "coupons_received_90d", "coupons_redeemed_90d", *(f"{key}_count_90d" for key in (*TASTES, *MODES, "item")),
]  # fmt: skip


def build_features(files: list[str], items: list[str], as_of: date, out: Path, memory_gb: float, threads: int) -> None:
    """Write the features of every user in `files` (of ready.events) into the Parquet file `out`. items: of ready.items."""
    import duckdb

    config = {
        "memory_limit": f"{int(memory_gb * 1000)}MB",
        "threads": threads,
        "preserve_insertion_order": False,
        "temp_directory": str(out.parent / "sql-spill"),
    }
    with duckdb.connect(config=config) as db:
        db.execute(f"CREATE VIEW events AS SELECT *, (DATE '{as_of}' - day)::INTEGER AS age FROM read_parquet({files})")
        db.execute(f"CREATE VIEW items AS FROM read_parquet({items})")
        made = tables(categories := top_categories(db))
        for name, sql in made.items():
            db.execute(f"CREATE TEMP TABLE {name} AS {sql}")
        rest = [name for name in made if name not in ("seen", "bought")]
        db.execute(f"COPY ({final_sql(rest, categories)}) TO '{out}' (FORMAT parquet)")


def top_categories(db: Any) -> list[tuple[int, str]]:
    """Code and name of the 20 top-level categories with the most spend."""
    found = db.execute(
        f"""SELECT s.category_top_no, n.category_top FROM
                (SELECT category_top_no, sum(amount) AS spend FROM events WHERE event_no = {PURCHASE} GROUP BY 1) AS s
                JOIN (SELECT DISTINCT category_top_no, category_top FROM items) AS n USING (category_top_no)
            ORDER BY spend DESC, category_top LIMIT 20"""
    )
    return found.fetchall()  # type: ignore[no-any-return]


def tables(categories: list[tuple[int, str]]) -> dict[str, str]:
    """Name and SQL of each table, in order: one row a user, but for `bought`, the purchases."""
    return {
        "bought": f"""
            SELECT user_no, age, hour, weekday, item_no, category_top_no, order_key, quantity, price, amount, discount, price_ratio,
                coupon_id IS NOT NULL AS coupon
            FROM events WHERE event_no = {PURCHASE}""",
        **_any_event(),
        **_money(),
        **_rhythm(),
        **_purchased(categories),
        **{name: _taste(name, *spec) for name, spec in TASTES.items()},
        **{name: _mode(name) for name in MODES},
        "score": """
            SELECT user_no, 1 + floor(5.0 * (rank() OVER (ORDER BY recency_days DESC) - 1) / count(*) OVER ()) AS r_score,
                1 + floor(5.0 * (rank() OVER (ORDER BY orders_365d) - 1) / count(*) OVER ()) AS f_score,
                1 + floor(5.0 * (rank() OVER (ORDER BY spend_365d) - 1) / count(*) OVER ()) AS m_score
            FROM buyer JOIN basket USING (user_no)""",
    }


def _any_event() -> dict[str, str]:
    begun = _windows("count(*) FILTER (WHERE session_start AND age <= {0})::DOUBLE AS sessions_{0}d", (7, 30, 90))
    met = _windows("count(*) FILTER (WHERE age <= {0})::DOUBLE AS n_{0}", DAYS)
    counted = [
        f"sum(n_{days}) FILTER (WHERE event_no = {event}) AS {name}_{days}d"
        for name, event in COUNTED.items()
        for days in DAYS
    ]
    return {
        "seen": f"""
            SELECT user_no, min(age)::DOUBLE AS idle_days, max(age)::DOUBLE AS tenure_days,
                count(*) FILTER (WHERE event_no = {REVIEW} AND age <= 365)::DOUBLE AS reviews_365d,
                avg(rating) FILTER (WHERE age <= 365) AS rating_mean_365d
            FROM events GROUP BY user_no""",
        "recent": f"""
            SELECT user_no, {begun}, count(*) FILTER (WHERE session_start AND {EARLIER})::DOUBLE AS sessions_before,
                count(*) AS events_90d, sum(session_gap_s) AS seconds_90d,
                count(*) FILTER (WHERE weekday >= 6) AS weekend_90d, count(*) FILTER (WHERE hour >= 22 OR hour < 6) AS night_90d,
                bit_count(bit_or(1::HUGEINT << age))::DOUBLE AS active_days_90d,
                bit_count(bit_or(1::HUGEINT << age) & ((1::HUGEINT << 31) - 1))::DOUBLE AS active_days_30d
            FROM events WHERE age <= 90 GROUP BY user_no""",
        "counted": f"""
            SELECT user_no, {", ".join(counted)}, sum(n_90) FILTER (WHERE event_no = {RECEIVE}) AS coupons_received_90d,
                sum(n_90) FILTER (WHERE event_no = {REDEEM}) AS coupons_redeemed_90d
            FROM (SELECT user_no, event_no, {met} FROM events WHERE age <= 90 GROUP BY user_no, event_no) GROUP BY user_no""",
        "item": f"""
            SELECT user_no, count(*)::DOUBLE AS item_count_90d
            FROM (SELECT DISTINCT user_no, item_no FROM events WHERE age <= 90 AND item_no IS NOT NULL AND {TOUCHED})
            GROUP BY user_no""",
    }


def _money() -> dict[str, str]:
    spend = _windows("coalesce(sum(amount) FILTER (WHERE age <= {0}), 0) AS spend_{0}d", (*DAYS, 365))
    pieces = _windows("coalesce(sum(quantity) FILTER (WHERE age <= {0}), 0) AS pieces_{0}d", DAYS)
    refunded = _windows("coalesce(sum(amount) FILTER (WHERE age <= {0}), 0) AS refunded_{0}d", DAYS)
    return {
        "buyer": f"""
            SELECT user_no, min(age)::DOUBLE AS recency_days, max(age)::DOUBLE AS first_purchase_days, {spend}, {pieces},
                sum(amount) AS spend_total, coalesce(sum(amount) FILTER (WHERE {EARLIER}), 0) AS spend_before,
                sum(discount) FILTER (WHERE age <= 90) / nullif(sum(amount + discount) FILTER (WHERE age <= 90), 0) AS discount_share_90d,
                avg(price) FILTER (WHERE age <= 90) AS price_mean_90d, avg(price_ratio) FILTER (WHERE age <= 90) AS price_level_90d
            FROM bought GROUP BY user_no""",
        "refund": f"""
            SELECT user_no, count(*)::DOUBLE AS refunds_365d, sum(amount) AS refunded_365d, {refunded}
            FROM events WHERE event_no = {REFUND} AND age <= 365 GROUP BY user_no""",
    }


def _rhythm() -> dict[str, str]:
    hours = _windows("count(*) FILTER (WHERE hour = {0})::DOUBLE / count(*)", range(24))
    weekdays = _windows("count(*) FILTER (WHERE weekday = {0})::DOUBLE / count(*)", range(1, 8))
    return {
        "rhythm": """
            SELECT user_no, avg(gap) AS gap_days_mean, stddev_samp(gap) AS gap_days_std
            FROM (SELECT user_no, lead(age) OVER (PARTITION BY user_no ORDER BY age) - age AS gap
                  FROM (SELECT DISTINCT user_no, age FROM bought))
            GROUP BY user_no""",
        "clock": f"""
            SELECT user_no, [{hours}] AS hour_hist, [{weekdays}] AS weekday_hist
            FROM (SELECT user_no, hour, weekday FROM bought UNION ALL
                  SELECT user_no, hour, weekday FROM events ANTI JOIN buyer USING (user_no))
            GROUP BY user_no""",
    }


def _purchased(categories: list[tuple[int, str]]) -> dict[str, str]:
    orders = _windows("count(*) FILTER (WHERE age <= {0})::DOUBLE AS orders_{0}d", YEAR)
    shares = _windows("sum(spend) FILTER (WHERE key = {0}) AS spend_{0}", (code for code, _ in categories))
    return {
        "basket": f"""
            SELECT user_no, {orders}, count(*)::DOUBLE AS orders_total, sum(before)::DOUBLE AS orders_before,
                avg(pieces_90d) AS basket_items_mean_90d, avg(value_90d) AS basket_value_mean_90d,
                max(value_365d) AS basket_value_max_365d, avg(coupon) FILTER (WHERE age <= 90) AS coupon_orders_share_90d
            FROM (SELECT user_no, order_key, min(age) AS age, bool_or({EARLIER})::INTEGER AS before,
                    sum(quantity) FILTER (WHERE age <= 90) AS pieces_90d, sum(amount) FILTER (WHERE age <= 90) AS value_90d,
                    sum(amount) FILTER (WHERE age <= 365) AS value_365d, bool_or(coupon AND age <= 90)::INTEGER AS coupon
                  FROM bought WHERE order_key IS NOT NULL GROUP BY user_no, order_key)
            GROUP BY user_no""",
        "novel": """
            SELECT user_no, count(*) FILTER (WHERE first <= 90) / nullif(count(*) FILTER (WHERE last <= 90), 0)::DOUBLE AS new_item_share_90d
            FROM (SELECT user_no, max(age) AS first, min(age) AS last FROM bought WHERE item_no IS NOT NULL GROUP BY user_no, item_no)
            GROUP BY user_no""",
        "spent": f"""
            SELECT user_no, sum(spend) AS spend_all, {shares}
            FROM (SELECT user_no, category_top_no AS key, sum(amount) AS spend FROM bought
                  WHERE age <= 365 AND category_top_no IS NOT NULL GROUP BY user_no, category_top_no)
            GROUP BY user_no""",
    }


def _taste(name: str, key: str, strongest: str) -> str:
    """The five strongest values of a key, and how many were met in a season; a code is its name's place from 1 on."""
    more = f", max(met) / nullif(sum(met), 0) AS {name}_concentration_90d" if name == "category" else ""
    return f"""
            SELECT user_no, {name}_count_90d{", category_concentration_90d" if more else ""},
                list_transform(best, lambda b: {{'key': names[b.key], 'share': b.score / whole, 'score': b.score}}) AS {strongest}
            FROM (SELECT user_no, max({{'score': score, 'key': {key}_no}}, 5) AS best, sum(score) AS whole,
                    count(*) FILTER (WHERE met > 0)::DOUBLE AS {name}_count_90d{more}
                  FROM (SELECT user_no, {key}_no, sum({WEIGHT}) AS score, count(*) FILTER (WHERE age <= 90) AS met
                        FROM events WHERE {key}_no IS NOT NULL AND {TOUCHED} GROUP BY user_no, {key}_no)
                  GROUP BY user_no),
                 (SELECT list({key} ORDER BY {key}_no) AS names
                  FROM (SELECT DISTINCT {key}_no, {key} FROM items WHERE {key}_no IS NOT NULL))"""


def _mode(key: str) -> str:
    """The commonest value of a key (ties: met last, then the greater name), and how many were met in a season."""
    return f"""
            SELECT user_no, max({{'n': n, 'last': -last, 'key': {key}}}).key AS {key}_top,
                count(*) FILTER (WHERE last <= 90)::DOUBLE AS {key}_count_90d
            FROM (SELECT user_no, {key}, count(*) AS n, min(age) AS last FROM events WHERE {key} IS NOT NULL GROUP BY user_no, {key})
            GROUP BY user_no"""


def final_sql(rest: list[str], categories: list[tuple[int, str]]) -> str:
    """One row a user with every column. rest: the tables to join to `seen`, which has every user."""
    shares = [f"coalesce(spend_{code}, 0) / nullif(spend_all, 0) AS share_{name.lower()}" for code, name in categories]
    return f"""
        SELECT user_no, {", ".join(f"coalesce({name}, 0) AS {name}" for name in ZEROS)},
            idle_days, tenure_days, recency_days, first_purchase_days, reviews_365d, rating_mean_365d,
            seconds_90d / 60 / nullif(sessions_90d, 0) AS session_minutes_mean_90d,
            events_90d / nullif(sessions_90d, 0) AS session_events_mean_90d,
            (orders_30d - orders_before) / nullif(orders_30d + orders_before, 0) AS orders_trend_30d,
            (sessions_30d - sessions_before) / nullif(sessions_30d + sessions_before, 0) AS sessions_trend_30d,
            (spend_30d - spend_before) / nullif(spend_30d + spend_before, 0) AS spend_trend_30d,
            gap_days_mean, gap_days_std, recency_days / nullif(gap_days_mean, 0) AS overdue_ratio,
            weekend_90d / events_90d AS weekend_share_90d, night_90d / events_90d AS night_share_90d,
            hour_hist, weekday_hist, (list_position(hour_hist, list_max(hour_hist)) - 1)::DOUBLE AS hour_top,
            (list_position(weekday_hist, list_max(weekday_hist)) - 1)::DOUBLE AS weekday_top,
            basket_items_mean_90d, basket_value_mean_90d, basket_value_max_365d, coupon_orders_share_90d, price_mean_90d,
            price_level_90d, discount_share_90d, coalesce(refunded_365d, 0) / nullif(spend_365d, 0) AS refund_share_365d,
            top_categories, top_brands, category_concentration_90d, new_item_share_90d, channel_top, device_top,
            r_score, f_score, m_score, r_score::INT::VARCHAR || f_score::INT::VARCHAR || m_score::INT::VARCHAR AS rfm,
            {", ".join(shares)}
        FROM seen {" ".join(f"LEFT JOIN {name} USING (user_no)" for name in rest)}"""


def _windows(template: str, values: Any) -> str:
    """The columns that `template` makes for each of `values` (window lengths, hours, codes)."""
    return ", ".join(template.format(value) for value in values)
