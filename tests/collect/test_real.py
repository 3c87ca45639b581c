"""Three real sets, mapped by hand: every line of every file is accounted for."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"


def given(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


def test_taobao_clicks(shop: Any) -> None:
    path = given("taobao/UserBehavior.csv")
    lines = path.read_text().splitlines()
    whole = [line.split(",") for line in lines if line.count(",") == 4]
    source = {
        "name": "clicks",
        "from": str(path),
        "header": False,
        "columns": ["user", "item", "category", "what", "at"],
        "to": [
            {
                "table": "events",
                "map": {"user_id": "user", "item_id": "item", "event": "what", "ts": {"column": "at", "unit": "s"}},
            },
            {"table": "items", "distinct": True, "map": {"item_id": "item", "category": "category"}},
        ],
    }
    report = shop.collect(source)
    assert report.lines == len(lines) == 84_476 and report.rejected == len(lines) - len(whole) == 1
    assert report.rows == {"events": len(whole), "items": len({(row[1], row[2]) for row in whole})}
    names = {"pv": "view", "cart": "add_to_cart", "fav": "wish", "buy": "purchase"}
    found = Counter(row[0] for row in shop.rows("events", "event"))
    assert found == Counter(names[row[3]] for row in whole)
    assert shop.rows("events", "count(bad) AS bad", "count(DISTINCT user_id) AS users") == [
        (0, len({row[0] for row in whole}))
    ]
    assert shop.collect(source).rows == {}


def test_jd_actions_users_and_products(shop: Any) -> None:
    folder = given("jd2016")
    kinds = {"1": "view", "2": "add_to_cart", "3": "remove_from_cart", "4": "purchase", "5": "wish", "6": "click"}
    sources = (
        {
            "name": "actions",
            "from": str(folder / "JData_Action_*.csv"),
            "timezone": "Asia/Shanghai",
            "to": [{"table": "events", "map": {"user_id": "user_id", "item_id": "sku_id", "ts": "time", "event": {"column": "type", "values": kinds}}}],
        },
        {
            "name": "users",
            "from": str(folder / "JData_User.csv"),
            "encoding": "gbk",
            "to": [{"table": "users", "map": {"user_id": "user_id", "age_band": {"column": "age", "empty": ["-1"]}, "gender": {"column": "sex", "values": {"0": "male", "1": "female"}, "empty": ["2"]}}}],
        },
        {"name": "products", "from": str(folder / "JData_Product.csv"), "to": [{"table": "items", "map": {"item_id": "sku_id", "brand": "brand"}, "extra": ["a1", "a2", "a3"]}]},
    )  # fmt: skip
    report = shop.collect(*sources)
    products = len((folder / "JData_Product.csv").read_text().splitlines()) - 1
    assert (
        report.rows == {"events": 3 * 29_999, "users": 29_999, "items": products}
        and report.rejected == report.repeated == 0
    )
    lines = (folder / "JData_User.csv").read_bytes().decode("gbk").splitlines()[1:]
    bands = Counter(band if band not in ("-1", "") else None for band in (line.split(",")[1] for line in lines))
    assert Counter(row[0] for row in shop.rows("users", "age_band")) == bands and bands["26-35岁"] > 0
    assert {row[0] for row in shop.rows("users", "gender")} == {None, "male", "female"}
    assert shop.of("266079") in {row[0] for row in shop.rows("events", "DISTINCT user_id")}
    assert shop.rows("events", "min(ts) AS first") == [(datetime(2016, 1, 31, 15, 59, 2),)]


def test_online_retail_orders(shop: Any) -> None:
    import gzip

    path = given("online_retail/online_retail.csv.gz")
    columns = {
        "user_id": "CustomerID",
        "item_id": "StockCode",
        "order_id": "InvoiceNo",
        "quantity": "Quantity",
        "price": "UnitPrice",
        "ts": "InvoiceDate",
    }
    source = {
        "name": "orders",
        "from": str(path),
        "to": [{"table": "events", "map": columns | {"event": {"value": "purchase"}}}],
    }
    report = shop.collect(source)
    with gzip.open(path, "rt") as file:
        assert report.lines == sum(1 for _ in file) - 1 == 541_909
    assert report.rows == {"events": 541_909}
    [(users, missing, paid)] = shop.rows(
        "events", "count(DISTINCT user_id) AS u", "count(*) - count(user_id) AS m", "round(sum(amount)) AS a"
    )
    assert (users, missing, paid) == (4372, 135_080, 9_747_748)
    assert shop.of("17850") in {row[0] for row in shop.rows("events", "DISTINCT user_id")}
