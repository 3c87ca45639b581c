"""Two real shops, their raw tables made by plain SQL, the counts checked against the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from huaxiang.tables import SQL, raw_columns

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def real(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


def fill(shop: Any, origin: str, **columns: str) -> None:
    """Write raw.events from the SQL `origin`, whose `n` numbers its rows; `columns`: contract column -> SQL."""
    columns |= {"source": "'file'", "row_id": "'r' || n", "collected_at": "TIMESTAMP '2024-01-01'"}
    wanted = (
        f"CAST({columns.get(column.name, 'NULL')} AS {SQL[column.type]}) AS {column.name}"
        for column in raw_columns("events")
    )
    with shop.lake.step("collect") as step:
        step.replace("raw.events", f"SELECT {', '.join(wanted)} FROM ({origin})")


def test_online_retail_keeps_every_line_and_finds_its_returns(shop: Any) -> None:
    path = real("online_retail/online_retail.csv.gz")
    fill(
        shop,
        f"SELECT *, row_number() OVER () AS n FROM read_csv('{path}', all_varchar = true)",
        user_id="left(md5(nullif(CustomerID, '')), 12)",
        event="'purchase'",
        item_id="StockCode",
        order_id="InvoiceNo",
        quantity="Quantity",
        price="UnitPrice",
        amount="Quantity::DOUBLE * UnitPrice::DOUBLE",
        ts="InvoiceDate",
        channel="Country",
    )
    report = shop.clean()
    events = report.tables["events"]
    reasons = {reason.code: reason.rows for reason in events.reasons}
    # the file: 541,909 lines, 135,080 without a customer, of the others 8,905 with negative quantity (some twice)
    assert (events.rows_raw, reasons["no_user"]) == (541_909, 135_080)
    assert events.rows_raw == events.rows_clean + sum(reasons.values())
    assert set(reasons) == {"no_user", "duplicate_row"} and 5_200 < reasons["duplicate_row"] < 5_300
    assert report.robots == 0  # wholesale orders of hundreds of lines are one act
    assert 8_800 < report.refunds.lines <= 8_905 and report.refunds.matched > 0.8 * report.refunds.lines
    clean = shop.lake.engine.sql(shop.lake.table("clean.events"))
    one = shop.lake.engine.rows(
        f"SELECT count(*) FILTER (quantity < 0 OR amount < 0) AS negative, count(*) FILTER (refunded > quantity) AS over, "
        f"count(*) FILTER (event = 'refund' AND order_id NOT LIKE 'C%') AS unnamed FROM ({clean})"
    )[0]
    assert one == {"negative": 0, "over": 0, "unnamed": 0}


def test_taobao_keeps_every_line_and_rejects_the_broken_one(shop: Any) -> None:
    path = real("taobao/UserBehavior.csv")
    fill(
        shop,
        f"SELECT *, row_number() OVER () AS n FROM read_csv('{path}', header = false, names = ['u', 'i', 'c', 'b', 't'], "
        "all_varchar = true, null_padding = true)",
        user_id="left(md5(u), 12)",
        event="b",
        item_id="i",
        ts="make_timestamp(try_cast(t AS BIGINT) * 1000000)",
    )
    report = shop.clean(earliest="2017-11-24", latest="2017-12-03")
    events = report.tables["events"]
    assert events.rows_raw == 84_476 == events.rows_clean + events.rows_quarantined
    reasons = {reason.code: reason.rows for reason in events.reasons}
    assert reasons["missing_required"] == 1 and reasons["impossible_time"] > 0
    assert {top.value for top in events.column("event").after.top} == {"view", "add_to_cart", "wish", "purchase"}
