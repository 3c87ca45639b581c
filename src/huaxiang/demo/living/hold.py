"""The records of the simulated shop's last days → messages, as its site and its till would have sent them: Segment's, with their own ids
and times.

The others stay in data/*.parquet. Who agreed to no profiling is not tracked: their records of these days become no message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from huaxiang.demo.living import MESSAGES, SENT
from huaxiang.engine.lake import write_atomically

Row = dict[str, Any]
Message = dict[str, Any]
SEXES = {"F": "female", "女": "female", "female": "female", "M": "male", "男": "male", "male": "male"}


@dataclass(frozen=True)
class Kind:
    """at: the column that says when; local: by the shop's own clock (else UTC); make: messages of a row and its number (None: none)"""

    at: str
    local: bool = False
    make: Callable[[Row, int], Iterator[Message]] | None = None


def hold_back(folder: Path, *, since: datetime, zone: ZoneInfo) -> int:
    """Takes what was recorded from `since` on (UTC) out of data/ and writes it as messages; gives how many."""
    agreed = _agreed(folder)
    found: list[tuple[datetime, int, Message]] = []
    for name, kind in KINDS.items():
        path = folder / "data" / f"{name}.parquet"
        table = pq.read_table(path)
        start = _local(since, zone) if kind.local else since
        late = pc.greater_equal(table.column(kind.at), pa.scalar(start, pa.timestamp("us")))
        rows = table.filter(late).to_pylist()
        pq.write_table(table.filter(pc.invert(late)), path, compression="snappy")
        for row in _orders(rows) if name == "orders" else rows:
            at = _utc(row[kind.at], zone) if kind.local else row[kind.at]
            if kind.make is None or row["uid"] not in agreed | {None}:
                continue
            for message in kind.make(row, len(found)):
                found.append((at, len(found), message | {"timestamp": f"{at.isoformat(timespec='milliseconds')}Z"}))
    found.sort(key=lambda one: one[:2])
    made = {
        message["messageId"]: message for _, _, message in found
    }  # a row that stands twice in the export is one message
    (folder / MESSAGES).parent.mkdir(exist_ok=True)
    write_atomically(folder / MESSAGES, "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in made.values()))
    write_atomically(folder / SENT, "0")
    return len(made)


def _agreed(folder: Path) -> set[str]:
    """The customers who agreed to profiling."""
    users = pq.read_table(folder / "data" / "users.parquet", columns=["uid", "agreed"]).to_pylist()
    return {row["uid"] for row in users if "profiling" in row["agreed"]}


def _orders(lines: list[Row]) -> list[Row]:
    """One row an order, its lines under `lines`, each once."""
    orders: dict[str, Row] = {}
    for line in lines:
        order = orders.setdefault(line["order_no"], line | {"lines": {}})
        order["lines"].setdefault((line["sku"], line["qty"], line["paid"], line["coupon_off"]), line)
    return list(orders.values())


def _sign_up(row: Row, number: int) -> Iterator[Message]:
    traits = {
        "createdAt": f"{row['registered'].isoformat(timespec='milliseconds')}Z",
        "gender": SEXES.get(row["sex"]),
        "birth_year": row["birth_year"],
        "name": row["name"],
        "phone": row["mobile"],
        "email": row["mail"],
    }
    yield _message("identify", f"user-{row['uid']}", row, traits=traits)


def _click(row: Row, number: int) -> Iterator[Message]:
    if row["event"] == "login" and row["uid"] is not None:
        yield _message("identify", f"login-{row['id']}", row)
    said = {
        "session_id": str(row["sid"]),
        "product_id": row["sku"],
        "query": row["keyword"],
        "channel": row["platform"],
        "device": row["model"],
    }
    yield _message("track", f"click-{row['id']}", row, event=row["event"], properties=said)


def _order(row: Row, number: int) -> Iterator[Message]:
    lines = [
        {
            "product_id": line["sku"],
            "quantity": line["qty"],
            "price": line["unit_price"],
            "amount": line["paid"],
            "discount": line["coupon_off"],
            "coupon": line["coupon"],
        }
        for line in row["lines"].values()
    ]
    said = {"order_id": row["order_no"], "channel": row["platform"], "device": row["model"], "products": lines}
    yield _message("track", f"order-{row['order_no']}", row, event="Order Completed", properties=said)


def _refund(row: Row, number: int) -> Iterator[Message]:
    said = {
        "order_id": row["order_no"],
        "product_id": row["sku"],
        "quantity": row["qty"],
        "amount": row["paid_back"],
    }
    yield _message("track", f"refund-{row['order_no']}-{number}", row, event="Order Refunded", properties=said)


def _review(row: Row, number: int) -> Iterator[Message]:
    said = {
        "order_id": row["order_no"],
        "product_id": row["sku"],
        "rating": row["stars"],
        "review_body": row["words"],
    }
    yield _message("track", f"review-{row['order_no']}-{number}", row, event="Product Reviewed", properties=said)


def _coupon(row: Row, number: int) -> Iterator[Message]:
    if row["arm"] != "control":  # who was drawn to get none has no event
        said = {"coupon_id": row["coupon"], "campaign_id": row["campaign"]}
        yield _message("track", f"coupon-{row['uid']}-{number}", row, event="coupon_receive", properties=said)


def _coupon_use(row: Row, number: int) -> Iterator[Message]:
    said = {"order_id": row["order_no"], "coupon_id": row["coupon"], "campaign_id": row["campaign"]}
    yield _message("track", f"used-{row['order_no']}", row, event="Coupon Applied", properties=said)


KINDS = {
    "users": Kind("registered", make=_sign_up),
    "clicks": Kind("ts", make=_click),
    "orders": Kind("paid_at", local=True, make=_order),
    "refunds": Kind("at", local=True, make=_refund),
    "reviews": Kind("at", local=True, make=_review),
    "exposures": Kind("sent_at", local=True, make=_coupon),
    "coupon_uses": Kind("used_at", local=True, make=_coupon_use),
    "identifiers": Kind("seen_at"),
    "ties": Kind("since"),
}


def _message(kind: str, number: str, row: Row, **more: Any) -> Message:
    """A message of a row, without what nobody said."""
    said = {
        name: {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value
        for name, value in more.items()
    }
    who = {"userId": row["uid"], "anonymousId": row.get("cookie")}
    return {"type": kind, "messageId": number, **{key: one for key, one in who.items() if one is not None}, **said}


def _local(at: datetime, zone: ZoneInfo) -> datetime:
    return at.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)


def _utc(at: datetime, zone: ZoneInfo) -> datetime:
    return at.replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None)
