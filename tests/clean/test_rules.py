"""What rejects a row, and what sets a value right."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

NOON = datetime(2024, 5, 1, 12)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param({"ts": None, "bad": '{"ts": "yesterday"}'}, "wrong_type", id="time that is none"),
        pytest.param({"ts": None}, "missing_required", id="no time"),
        pytest.param({"event": None}, "missing_required", id="no event"),
        pytest.param({"user_id": None}, "no_user", id="nobody"),
        pytest.param({"event": "teleport"}, "unknown_event", id="unknown event"),
        pytest.param({"ts": datetime(1970, 1, 1)}, "impossible_time", id="before any shop"),
        pytest.param({"ts": datetime(2037, 1, 1)}, "impossible_time", id="in the future"),
        pytest.param({"price": -5.0, "amount": -5.0}, "negative_price", id="negative price"),
        pytest.param({"user_id": "qa", "is_test": True}, "test_account", id="test account"),
    ],
)
def test_event_that_cannot_be_goes_to_quarantine_with_its_reason(
    shop: Any, make_event: Any, values: Any, reason: str
) -> None:
    shop.collect(events=[make_event(), make_event(item_id="cup", **values)])
    report = shop.clean()
    assert shop.reasons() == {"r1": reason}
    assert [row["row_id"] for row in shop.rows("clean.events")] == ["r0"]
    assert report.tables["events"].reasons[0].code == reason


def test_quarantine_keeps_the_raw_values(shop: Any, make_event: Any) -> None:
    shop.collect(events=[make_event(event="teleport", channel=" web ")])
    shop.clean()
    held = shop.rows("quarantine")[0]
    assert (held["table"], held["source"], held["detail"]) == ("events", "shop", "teleport")
    assert '"channel":" web "' in held["raw"] and '"event":"teleport"' in held["raw"]


def test_optional_value_of_a_wrong_type_is_emptied_and_counted(shop: Any, make_event: Any) -> None:
    shop.collect(events=[make_event(rating=None, bad='{"rating": "five"}'), make_event(item_id="cup", rating=4.0)])
    report = shop.clean()
    rating = report.tables["events"].column("rating")
    # two values given, one of them no number
    assert (rating.before.invalid, rating.before.validity) == (1, 0.5)
    assert len(shop.rows("clean.events")) == 2


def test_foreign_event_names_and_stray_blanks_are_set_right(shop: Any, make_event: Any) -> None:
    shop.collect(
        events=[make_event(event="PV ", channel=" web\t", device="NaN", order_id="", text="none", item_id="　茶 ")]
    )
    shop.clean()
    row = shop.rows("clean.events")[0]
    assert (row["event"], row["channel"], row["device"], row["order_id"], row["item_id"]) == (
        "view",
        "web",
        None,
        None,
        "茶",
    )
    assert row["text"] == "none"  # a person's own word


def test_user_values_that_cannot_be_are_emptied_and_the_user_stays(shop: Any) -> None:
    shop.collect(
        users=[
            {"user_id": "ada", "birth_year": 1844, "gender": "女", "city": "N/A"},
            {"user_id": "bob", "birth_year": 1990, "gender": "M", "registered_at": datetime(2031, 1, 1)},
            {"user_id": "cy", "birth_year": 2030, "gender": "1"},
        ]
    )
    report = shop.clean()
    kept = [(row["birth_year"], row["gender"], row["registered_at"], row["city"]) for row in shop.rows("clean.users")]
    assert kept == [(None, "female", None, None), (1990, "male", None, None), (None, None, None, None)]
    repairs = {repair.code: repair.rows for repair in report.tables["users"].repairs}
    assert repairs == {
        "impossible_birth_year": 2,
        "spelled_gender": 2,
        "impossible_registration": 1,
        "unclear_gender": 1,
    }


def test_newer_version_of_a_user_in_the_same_source_stands(shop: Any) -> None:
    old, new = datetime(2024, 1, 1), datetime(2024, 2, 1)
    shop.collect(
        users=[
            {"user_id": "ada", "city": "Bath", "collected_at": old},
            {"user_id": "ada", "city": "York", "collected_at": new},
            {"user_id": "ada", "city": "York", "collected_at": new, "source": "bureau", "third_party": True},
            {"user_id": "ada", "city": "York", "collected_at": old},
        ]
    )
    shop.clean()
    assert shop.reasons() == {"r0": "superseded", "r3": "duplicate_row"}


def test_what_two_sources_say_of_an_item_both_stand(shop: Any) -> None:
    shop.collect(
        items=[
            {"item_id": "tea", "category": "Drinks", "source": "orders"},
            {"item_id": "tea", "title": "Green tea", "source": "products"},
            {"item_id": "tea", "title": "Green tea", "source": "products"},
        ]
    )
    shop.clean()
    assert shop.reasons() in ({"r1": "duplicate_row"}, {"r2": "duplicate_row"})


def test_test_account_by_its_registration_takes_its_events_along(shop: Any, make_event: Any) -> None:
    shop.collect(users=[{"user_id": "qa", "is_test": True}], events=[make_event(user_id="qa"), make_event()])
    report = shop.clean()
    assert set(shop.reasons().values()) == {"test_account"} and len(shop.rows("quarantine")) == 2
    assert report.tests == 1
    shop.clean(drop_test=False)
    assert shop.reasons() == {}


def test_events_on_unknown_items_stay_unless_the_shop_asks(shop: Any, make_event: Any) -> None:
    shop.collect(items=[{"item_id": "tea"}], events=[make_event(), make_event(item_id="ghost")])
    check = {check.code: check for check in shop.clean().tables["events"].checks}["item_exists"]
    assert (check.checked, check.broken_before, check.broken_after) == (2, 1, 1)
    assert shop.clean(unknown_items="quarantine").tables["events"].reasons[0].code == "unknown_item"


def test_items_relations_and_identifiers_have_their_rules(shop: Any) -> None:
    shop.collect(
        items=[{"item_id": "tea", "price": -2.0}, {"item_id": None}],
        relations=[
            {"user_id": "ada", "other_id": "ada"},
            {"user_id": "ada", "other_id": "bob"},
            {"user_id": "ada", "other_id": "bob"},
        ],
        identifiers=[{"kind": "device", "value": "d1"}, {"kind": "device", "value": "d1", "user_id": "ada"}],
    )
    shop.clean()
    found = {(row["table"], row["row_id"]): row["reason"] for row in shop.rows("quarantine")}
    assert found == {
        ("items", "r1"): "missing_required",
        ("relations", "r0"): "self_relation",
        ("relations", "r2"): "duplicate_row",
        ("identifiers", "r0"): "no_user",
    }
    assert shop.rows("clean.items")[0]["price"] is None


def test_amount_quantity_and_price_agree_afterwards(shop: Any, make_event: Any) -> None:
    shop.collect(
        events=[
            make_event(quantity=2.0, price=3.0, amount=None),
            make_event(item_id="cup", quantity=2.0, price=9.0, amount=10.0),  # 9 was the list price: 5 each were paid
            make_event(item_id="pot", quantity=0.0, price=None, amount=0.0),
        ]
    )
    report = shop.clean()
    kept = [(row["quantity"], row["price"], row["amount"]) for row in shop.rows("clean.events")]
    assert kept == [(2.0, 3.0, 6.0), (2.0, 5.0, 10.0), (0.0, None, 0.0)]
    assert {(repair.code, repair.rows) for repair in report.tables["events"].repairs} == {
        ("amount_absent", 1),
        ("price_mismatch", 1),
    }


def test_an_event_is_never_received_before_it_happened(shop: Any, make_event: Any) -> None:
    shop.collect(events=[make_event(), make_event(item_id="cup", received_at=NOON - timedelta(hours=1))])
    shop.clean()
    assert [row["received_at"] for row in shop.rows("clean.events")] == [NOON, NOON]


def test_rule_turned_off_releases_its_rows(shop: Any, make_event: Any) -> None:
    shop.collect(events=[make_event(), make_event(), make_event(event="teleport")])
    assert shop.clean().released == {}
    report = shop.clean(skip=("duplicate_row",))
    assert report.released == {"duplicate_row": 1}
    assert shop.reasons() == {"r2": "unknown_event"}
