"""Messages → rows: the answers worked out by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from huaxiang.serve.map import Mapper, Rows
from huaxiang.serve.wire import posthog, sensors, snowplow
from huaxiang.serve.wire.message import make_batch, read_batch
from huaxiang.settings import LiveSettings
from huaxiang.trust import Pseudonyms

RECEIVED = datetime(2026, 1, 1, 12)
MICROS = 1_767_268_800_000_000  # the same in µs since 1970
PSEUDONYMS = Pseudonyms(b"p" * 32)
ANN, VISITOR = PSEUDONYMS.of("ann"), PSEUDONYMS.of("v-1")


def mapped(*messages: dict[str, Any], sent: str | None = None, **settings: Any) -> Rows:
    batch, refused = read_batch(make_batch(messages, sent))
    assert not refused
    rows = Rows()
    mapper = Mapper(PSEUDONYMS, LiveSettings.model_validate(settings))
    mapper.add(rows, batch, source="web", offset=7, received_at=MICROS, skipped=frozenset())
    return rows


def track(event: str, properties: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "ann", "messageId": "m1", "event": event, "properties": properties or {}} | more


def only(rows: Rows) -> dict[str, Any]:
    (row,) = rows.table().to_pylist()
    return row


def test_order_of_two_lines_is_two_rows_and_its_total_is_not_counted_twice() -> None:
    lines = [{"product_id": "p1", "price": "10.5", "quantity": 2}, {"sku": "p2", "price": 5}]
    rows = mapped(track("Order Completed", {"order_id": 77, "total": 26, "products": lines})).table().to_pylist()
    assert [(row["event"], row["event_id"], row["item_id"], row["order_id"], row["quantity"], row["price"], row["amount"]) for row in rows] == [
        ("purchase", "m1/0", "p1", "77", 2.0, 10.5, 21.0),
        ("purchase", "m1/1", "p2", "77", None, 5.0, 5.0),
    ]  # fmt: skip


def test_order_without_lines_has_its_total() -> None:
    row = only(mapped(track("purchase", {"transaction_id": "t1", "value": 40, "quantity": 4})))
    assert (row["amount"], row["price"], row["order_id"]) == (40.0, 10.0, "t1")


def test_clock_that_is_an_hour_ahead_is_put_right() -> None:
    message = track("Product Viewed", timestamp="2026-01-01T12:59:50Z", sentAt="2026-01-01T13:00:00Z")
    assert only(mapped(message))["ts"] == datetime(2026, 1, 1, 11, 59, 50)


def test_time_of_the_envelope_corrects_its_messages() -> None:
    message = track("Product Viewed", originalTimestamp="2026-01-01T20:00:00+08:00")
    assert only(mapped(message, sent="2026-01-01T12:00:30Z"))["ts"] == datetime(2026, 1, 1, 11, 59, 30)


def test_what_would_lie_in_the_future_happened_when_it_came() -> None:
    assert only(mapped(track("Product Viewed", timestamp="2031-01-01T00:00:00Z")))["ts"] == RECEIVED


def test_message_without_id_or_time_is_known_by_its_place_in_the_log() -> None:
    row = only(mapped(track("Product Viewed", messageId=None)))
    assert (row["event_id"], row["ts"], row["received_at"]) == ("7.0", RECEIVED, RECEIVED)


def test_identify_of_both_ids_links_them_and_hides_what_is_personal() -> None:
    traits = {
        "email": "ann@example.com",
        "firstName": "Ann",
        "lastName": "Li",
        "address": {"city": "杭州", "street": "1 Road"},
    }
    rows = mapped({"type": "identify", "userId": "ann", "anonymousId": "v-1", "traits": traits})
    (link,), (person,) = rows.links, rows.people
    assert (link.anonymous_id, link.user_id, link.rule) == (VISITOR, ANN, "identify")
    assert person.declared == {"city": "杭州"}
    assert person.personal == {"email": "ann@example.com", "name": "Ann Li", "address": "杭州 1 Road"}
    assert not rows.events


def test_traits_that_stand_in_the_context_alone_are_found() -> None:
    rows = mapped({"type": "identify", "userId": "ann", "context": {"traits": {"phone": "13800138000", "gender": "f"}}})
    assert (rows.people[0].personal, rows.people[0].declared) == ({"phone": "13800138000"}, {"gender": "f"})


def test_alias_links_the_earlier_id() -> None:
    (link,) = mapped({"type": "alias", "userId": "ann", "previousId": "v-1"}).links
    assert (link.anonymous_id, link.user_id, link.rule) == (VISITOR, ANN, "alias")


def test_shop_s_own_names_are_read_and_unknown_ones_counted() -> None:
    rows = mapped(
        track("PlaceOrder", {"goods_code": 5}),
        track("Wheel Spun", messageId="m2"),
        events={"PlaceOrder": "purchase"},
        fields={"item_id": "goods_code"},
    )
    assert [(row["event"], row["item_id"]) for row in rows.table().to_pylist()] == [
        ("purchase", "5"),
        ("Wheel Spun", None),
    ]
    assert rows.unknown == {"Wheel Spun": 1}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (track("Product Viewed", {"price": "cheap"}), "no_number:price"),
        (track("Product Viewed", {"price": 1e300}), "no_number:price"),
        (track("Order Completed", {"products": ["p1"]}), "products_not_objects"),
        (track("Product Viewed", properties=[1]), "not_an_object"),
        (track("Product Viewed", timestamp="2026-13-45T99:00"), "time"),
        (track("Product Viewed", timestamp="0001-01-01T00:00:00+14:00"), "time"),
        (track("Product Viewed", timestamp="0001-01-01T00:00:00Z", sentAt="9999-12-31T00:00:00Z"), "time"),
        (track("Product Viewed", timestamp="1970-01-01T00:00:00Z"), "time_too_early"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_breaks_a_promise_is_refused_with_its_reason(message: dict[str, Any], reason: str) -> None:
    rows = mapped(message, track("Product Viewed", messageId="m2"))
    assert [(one.reason, one.at) for one in rows.refused] == [(reason, (7, 0))]
    assert len(rows.events) == 1


def test_personal_words_of_a_search_are_masked() -> None:
    assert only(mapped(track("Products Searched", {"query": "send to ann@example.com"})))["text"] == "send to [email]"


def test_posthog_set_and_alias_and_visitors() -> None:
    body = make_posthog(
        {"event": "$set", "distinct_id": "ann", "$set": {"email": "a@b.cn"}, "uuid": "1"},
        {
            "event": "$create_alias",
            "distinct_id": "v-1",
            "properties": {"distinct_id": "v-1", "alias": "ann"},
            "uuid": "2",
        },
        {
            "event": "Product Viewed",
            "distinct_id": "v-1",
            "properties": {"$process_person_profile": False},
            "uuid": "3",
        },
    )
    rows = Rows()
    made, key = posthog.read(body)
    batch, _ = read_batch(made)
    Mapper(PSEUDONYMS, LiveSettings()).add(rows, batch, source="web", offset=1, received_at=MICROS, skipped=frozenset())
    assert key == "key"
    assert rows.people[0].personal == {"email": "a@b.cn"}
    assert [(link.anonymous_id, link.user_id) for link in rows.links] == [(VISITOR, ANN)]
    assert [(row["user_id"], row["anonymous_id"]) for row in rows.table().to_pylist()] == [(None, VISITOR)]


def make_posthog(*events: dict[str, Any]) -> bytes:
    import msgspec

    return msgspec.json.encode({"api_key": "key", "batch": list(events)})


def test_snowplow_names_its_key_and_times() -> None:
    import msgspec

    event = {"e": "se", "eid": "1", "aid": "key", "uid": "ann", "se_ca": "shop", "se_ac": "Product Added", "dtm": "1767268790000", "stm": "1767268800000"}  # fmt: skip
    made, keys = snowplow.read(msgspec.json.encode({"schema": "iglu:x", "data": [event]}))
    batch, _ = read_batch(made)
    rows = Rows()
    Mapper(PSEUDONYMS, LiveSettings()).add(rows, batch, source="web", offset=1, received_at=MICROS, skipped=frozenset())
    assert keys == ["key"]
    row = only(rows)
    assert (row["event"], row["user_id"], row["ts"]) == ("add_to_cart", ANN, datetime(2026, 1, 1, 11, 59, 50))


def test_sensors_signup_links_the_first_id() -> None:
    import base64
    import gzip

    import msgspec

    event = {"type": "track_signup", "event": "$SignUp", "distinct_id": "ann", "original_id": "v-1", "time": 1767268800000, "properties": {"city": "杭州"}}  # fmt: skip
    packed = base64.b64encode(gzip.compress(msgspec.json.encode([event])))
    made, token = sensors.read(b"gzip=1&token=key&data_list=" + packed.replace(b"+", b"%2B").replace(b"=", b"%3D"), {})
    batch, _ = read_batch(made)
    rows = Rows()
    Mapper(PSEUDONYMS, LiveSettings()).add(rows, batch, source="web", offset=1, received_at=MICROS, skipped=frozenset())
    assert token == "key"
    assert [(link.anonymous_id, link.user_id) for link in rows.links] == [(VISITOR, ANN)]
    assert rows.people[0].declared == {"city": "杭州"}
