"""What the report shows of a shop, read from the lake as small rows: one query a picture, whatever the number of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.settings import Settings

Row = dict[str, Any]
COHORTS = 13
UNITS = (("day", 45), ("week", 800))  # the first whose limit in days the shop's span does not pass; else months


@dataclass(frozen=True)
class Gathered:
    """Small rows for each picture; an empty list where the lake cannot say."""

    totals: Row = field(default_factory=dict)
    unit: str = "week"
    series: Sequence[Row] = ()  # period, events, customers, orders, revenue
    kinds: Sequence[Row] = ()  # event, events
    rhythm: Sequence[Row] = ()  # weekday 0..6 from Monday, hour, events
    categories: Sequence[Row] = ()  # category, amount
    stages: Sequence[Row] = ()  # lifecycle, value_tier, customers
    rfm: Sequence[Row] = ()  # r, f, customers, spend
    cohort_unit: str = "month"
    cohorts: Sequence[Row] = ()  # cohort, age, customers, share
    predicted: Sequence[Row] = ()  # outcome, bin, customers
    acting: Sequence[Row] = ()  # outcome, customers, above
    points: Sequence[Row] = ()  # user_id, x, y, lifecycle of the behaviour model's map
    fakes: Row = field(default_factory=dict)  # orders, events, users: what the last build kept out as held fake
    counts: Row = field(default_factory=dict)  # table -> rows


def gather(lake: Lake, settings: Settings) -> Gathered:
    """Everything the report draws. Tables that no step has written yet are left out."""
    events = Events.of(lake, settings)
    counts = {name: entry.rows for name, entry in sorted(lake.manifest().tables.items())}
    if events is None:
        return Gathered(
            counts=counts,
            stages=_stages(lake),
            rfm=_rfm(lake),
            predicted=_predicted(lake),
            acting=_acting(lake),
            points=_points(lake),
        )
    totals = events.totals()
    span = (totals["last"] - totals["first"]).days + 1 if totals["first"] else 0
    unit = next((name for name, limit in UNITS if span <= limit), "month")
    cohort_unit = "day" if span <= 21 else "week" if span <= 100 else "month" if span <= 31 * 30 else "quarter"
    return Gathered(
        totals=totals,
        unit=unit,
        series=events.series(unit),
        kinds=events.kinds(),
        rhythm=events.rhythm(),
        categories=events.categories(),
        stages=_stages(lake),
        rfm=_rfm(lake),
        cohort_unit=cohort_unit,
        cohorts=events.cohorts(cohort_unit),
        predicted=_predicted(lake),
        points=_points(lake),
        acting=_acting(lake),
        fakes=lake.note("build").get("fakes", {}),
        counts=counts,
    )


@dataclass(frozen=True)
class Events:
    """Queries over ready.events (clean.events before the build), times in the shop's zone."""

    lake: Lake
    sql: str
    columns: tuple[str, ...]
    zone: str
    bought: bool

    @classmethod
    def of(cls, lake: Lake, settings: Settings) -> Events | None:
        name = next((name for name in ("ready.events", "clean.events") if lake.rows(name)), None)
        if name is None:
            return None
        table = lake.table(name)
        sql = lake.engine.sql(table)
        zone = quote(settings.shop.timezone)
        has = lake.engine.value(f"SELECT bool_or(event = 'purchase') FROM ({sql})")
        return cls(lake, sql, tuple(table.columns), zone, bool(has))

    @property
    def at(self) -> str:
        return f"(ts AT TIME ZONE 'UTC' AT TIME ZONE {self.zone})"

    @property
    def order(self) -> str:
        """What tells one order from another: its id, or the user's day where a source has none."""
        return "coalesce(order_id, user_id || CAST(CAST(ts AS DATE) AS VARCHAR))"

    def rows(self, query: str) -> list[Row]:
        return self.lake.engine.rows(query)

    def totals(self) -> Row:
        return self.rows(
            f"""SELECT count(*) AS events, count(DISTINCT user_id) AS customers,
                count(DISTINCT user_id) FILTER (event = 'purchase') AS buyers,
                count(DISTINCT {self.order}) FILTER (event = 'purchase') AS orders,
                coalesce(sum(amount) FILTER (event = 'purchase'), 0) AS revenue,
                coalesce(sum(amount) FILTER (event = 'refund'), 0) AS refunded,
                count(DISTINCT item_id) AS items, min({self.at}) AS first, max({self.at}) AS last FROM ({self.sql})"""
        )[0]

    def series(self, unit: str) -> list[Row]:
        """Each day, week or month from first to last, the empty ones too."""
        return self.rows(
            f"""WITH found AS (
                  SELECT date_trunc('{unit}', {self.at}) AS period, count(*) AS events, count(DISTINCT user_id) AS customers,
                    count(DISTINCT {self.order}) FILTER (event = 'purchase') AS orders,
                    coalesce(sum(amount) FILTER (event = 'purchase'), 0) AS revenue
                  FROM ({self.sql}) GROUP BY 1),
                span AS (SELECT unnest(generate_series(min(period), max(period), INTERVAL '1 {unit}')) AS period FROM found)
                SELECT CAST(span.period AS TIMESTAMP) AS period, coalesce(events, 0) AS events, coalesce(customers, 0) AS customers,
                  coalesce(orders, 0) AS orders, coalesce(revenue, 0) AS revenue
                FROM span LEFT JOIN found USING (period) ORDER BY period"""
        )

    def kinds(self) -> list[Row]:
        return self.rows(
            f"SELECT event, count(*) AS events FROM ({self.sql}) GROUP BY event ORDER BY events DESC, event LIMIT 12"
        )

    def rhythm(self) -> list[Row]:
        where = "event = 'purchase'" if self.bought else "true"
        return self.rows(
            f"""SELECT isodow({self.at}) - 1 AS weekday, hour({self.at}) AS hour, count(*) AS events
                FROM ({self.sql}) WHERE {where} GROUP BY 1, 2"""
        )

    def categories(self) -> list[Row]:
        if "category" not in self.columns:
            return []
        weight = "sum(amount) FILTER (event = 'purchase')" if self.bought else "count(*)"
        return self.rows(
            f"""SELECT split_part(category, ' > ', 1) AS category, coalesce({weight}, 0) AS amount
                FROM ({self.sql}) WHERE category IS NOT NULL GROUP BY 1 ORDER BY amount DESC, 1 LIMIT 14"""
        )

    def cohorts(self, unit: str) -> list[Row]:
        """Of those who first bought (or came) in a period, the share seen again each period after."""
        where = "event = 'purchase'" if self.bought else "true"
        return self.rows(
            f"""WITH seen AS (SELECT DISTINCT user_id, date_trunc('{unit}', {self.at}) AS period FROM ({self.sql})
                              WHERE {where} AND user_id IS NOT NULL),
                first AS (SELECT user_id, min(period) AS cohort FROM seen GROUP BY user_id),
                size AS (SELECT cohort, count(*) AS customers FROM first GROUP BY cohort)
                SELECT CAST(cohort AS TIMESTAMP) AS cohort, date_diff('{unit}', cohort, period) AS age, any_value(size.customers) AS customers,
                  count(*) / any_value(size.customers) AS share
                FROM seen JOIN first USING (user_id) JOIN size USING (cohort)
                WHERE date_diff('{unit}', cohort, period) < {COHORTS} GROUP BY cohort, age ORDER BY cohort DESC, age"""
        )


def _stages(lake: Lake) -> list[Row]:
    if not lake.has("profiles") or not {"lifecycle", "value_tier"} <= set(lake.table("profiles").columns):
        return []
    return lake.engine.rows(
        f"""SELECT lifecycle, value_tier, count(*) AS customers FROM ({lake.engine.sql(lake.table("profiles"))})
            GROUP BY 1, 2 ORDER BY 1, 2"""
    )


def _rfm(lake: Lake) -> list[Row]:
    if not lake.has("features"):
        return []
    columns = set(lake.table("features").columns)
    if not {"r_score", "f_score"} <= columns:
        return []
    spend = "avg(spend_365d)" if "spend_365d" in columns else "NULL"
    return lake.engine.rows(
        f"""SELECT r_score AS r, f_score AS f, count(*) AS customers, {spend} AS spend
            FROM ({lake.engine.sql(lake.table("features"))}) WHERE r_score IS NOT NULL AND f_score IS NOT NULL GROUP BY 1, 2"""
    )


def _predicted(lake: Lake) -> list[Row]:
    """How the predictions of each outcome spread: 20 bins of probabilities, or of amounts up to their 99 % quantile."""
    if not lake.rows("predictions"):
        return []
    sql = lake.engine.sql(lake.table("predictions"))
    return lake.engine.rows(
        f"""WITH scale AS (SELECT outcome, CASE WHEN max(value) <= 1 AND min(value) >= 0 THEN 1.0 ELSE greatest(quantile_cont(value, 0.99), 1e-9) END AS top
                           FROM ({sql}) WHERE isfinite(value) AND label IS NULL GROUP BY outcome)
            SELECT outcome, CAST(least(floor(greatest(value, 0) / top * 20), 19) AS INTEGER) AS bin, count(*) AS customers, any_value(top) AS top
            FROM ({sql}) JOIN scale USING (outcome) WHERE isfinite(value) GROUP BY 1, 2 ORDER BY 1, 2"""
    )


def _acting(lake: Lake) -> list[Row]:
    if not lake.rows("predictions"):
        return []
    return lake.engine.rows(
        f"""SELECT outcome, count(*) AS customers, count(*) FILTER (value >= threshold) AS above, avg(value) AS mean
            FROM ({lake.engine.sql(lake.table("predictions"))}) GROUP BY outcome"""
    )


def _points(lake: Lake) -> list[Row]:
    """Where the customers of the map lie, and their stage."""
    if not lake.rows("behaviour.map") or not lake.has("profiles"):
        return []
    drawn, profiles = (lake.engine.sql(lake.table(name)) for name in ("behaviour.map", "profiles"))
    return lake.engine.rows(
        f"SELECT m.user_id, x, y, p.lifecycle FROM ({drawn}) AS m JOIN ({profiles}) AS p USING (user_id) ORDER BY m.user_id"
    )
