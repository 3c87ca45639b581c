"""The grids a marketer asks for: recency × frequency, who moved between lifecycle stages, and what goes with what."""

from __future__ import annotations

from typing import Any

from huaxiang.engine import Lake
from huaxiang.profile.lifecycle import find_basis, lifecycle_sql, limits_sql
from huaxiang.settings import Settings

FIFTHS = 5
SINCE = 28  # days
LEAST = 20  # customers of a rule
BEST = 30  # rules told


def rfm_grid(lake: Lake) -> list[dict[str, Any]]:
    """recency, frequency (1 to 5, 5 the best fifth), customers, spend_mean and spend_share of the last year; buyers only.

    Equal values share a fifth, so that fifths may differ in size.
    """
    engine, table = lake.engine, lake.table("profiles")
    if not {"recency_days", "orders_365d", "spend_365d"} <= set(table.columns):
        return []
    fifth = "least(floor({part} * 5)::INTEGER, 4) + 1"
    return engine.rows(
        f"SELECT {fifth.format(part='r')} AS recency, {fifth.format(part='f')} AS frequency, count(*) AS customers, avg(spend_365d) AS spend_mean, "
        "sum(spend_365d) / sum(sum(spend_365d)) OVER () AS spend_share FROM ("
        "SELECT spend_365d, 1 - percent_rank() OVER (ORDER BY recency_days) AS r, percent_rank() OVER (ORDER BY orders_365d) AS f "
        f"FROM ({engine.sql(table)}) WHERE orders_365d > 0 AND recency_days IS NOT NULL) GROUP BY 1, 2 ORDER BY 1, 2"
    )


def lifecycle_flow(lake: Lake, settings: Settings) -> dict[str, Any]:
    """before, now: dates; moves: rows of stage before, stage now, customers. Who was no customer then is "" before.

    The stages of then are told by the rules of now, over the features of the training date nearest to SINCE days ago; without `won_back`,
    which needs the events themselves, on both sides.
    """
    engine = lake.engine
    if not lake.has("training") or not lake.has("features"):
        return {"before": "", "now": "", "moves": []}
    features, training = engine.sql(lake.table("features")), engine.sql(lake.table("training"))
    now = engine.value(f"SELECT max(as_of)::DATE FROM ({features})")
    before = engine.value(
        f"SELECT as_of::DATE FROM ({training}) WHERE as_of::DATE < DATE '{now}' GROUP BY 1 HAVING count(*) * 2 > (SELECT count(*) FROM ({features})) "
        f"ORDER BY abs(date_diff('day', as_of::DATE, DATE '{now}') - {SINCE}) LIMIT 1"
    )
    if before is None:
        return {"before": "", "now": str(now), "moves": []}
    columns = set(lake.table("features").columns) & set(lake.table("training").columns)
    basis = find_basis(engine, features, columns, settings.profile)
    stage = lifecycle_sql(settings.profile, basis, comeback=False)
    limit = limits_sql(columns, settings.profile, basis)

    def stages(source: str) -> str:
        return f"SELECT user_id, {stage} AS stage FROM (SELECT *, {limit} AS active_limit_days FROM ({source}))"

    then = stages(f"SELECT * FROM ({training}) WHERE as_of::DATE = DATE '{before}'")
    moves = engine.rows(
        f"SELECT coalesce(b.stage, '') AS before, n.stage AS now, count(*) AS customers FROM ({stages(features)}) AS n "
        f"LEFT JOIN ({then}) AS b USING (user_id) GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
    )
    return {"before": str(before), "now": str(now), "moves": moves}


def rules(
    lake: Lake, *, level: str = "category_2", days: int = 180, least: int = LEAST, best: int = BEST
) -> list[dict[str, Any]]:
    """Association rules "who bought A also bought B" between categories, by customer: support, confidence, and lift with its 95 % interval.

    one, other; customers (who bought both); support; confidence (of other given one); lift, low, high (of the lift: 1 is independence).
    Pairs only, of at least `least` customers; ordered by the lower end, so that small samples do not lead.
    source: Agrawal, Imieliński & Swami 1993; the interval of log lift by the delta method
    """
    engine = lake.engine
    events = engine.sql(lake.table("ready.events"))
    as_of = str(lake.note("build")["as_of"])[:10]
    bought = (
        f"SELECT DISTINCT user_no, coalesce({level}, category_top) AS what FROM ({events}) WHERE event = 'purchase' AND coalesce({level}, category_top) IS NOT NULL "
        f"AND day < DATE '{as_of}' AND day >= DATE '{as_of}' - INTERVAL {days} DAY"
    )
    return engine.rows(
        f"WITH bought AS ({bought}), total AS (SELECT count(DISTINCT user_no) AS n FROM bought), "
        "alone AS (SELECT what, count(*) AS c FROM bought GROUP BY 1), "
        "pairs AS (SELECT a.what AS one, b.what AS other, count(*) AS c FROM bought a JOIN bought b ON a.user_no = b.user_no AND a.what <> b.what "
        f"GROUP BY 1, 2 HAVING count(*) >= {least}), "
        "found AS (SELECT p.one, p.other, p.c AS customers, p.c / n AS support, p.c / x.c AS confidence, p.c * n / (x.c * y.c) AS lift, "
        "sqrt(greatest(1 / p.c - 1 / n + 1 / x.c - 1 / n + 1 / y.c - 1 / n - 2 * (1 / x.c + 1 / y.c - 2 / n) + 2 * (p.c / (x.c * y.c) - 1 / n), 0)) AS s "
        "FROM pairs p JOIN alone x ON x.what = p.one JOIN alone y ON y.what = p.other CROSS JOIN total) "
        "SELECT one, other, customers, support, confidence, lift, lift * exp(-1.96 * s) AS low, lift * exp(1.96 * s) AS high FROM found "
        f"ORDER BY low DESC, one, other LIMIT {best}"
    )
