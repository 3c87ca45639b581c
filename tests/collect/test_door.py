"""The door: consent, test accounts, personal columns, and no personal value outside the vault."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from huaxiang.errors import HuaxiangError

Source = Callable[..., dict[str, Any]]
EVENTS = "user,item,at,what\n1,A,2024-01-01,buy\n2,A,2024-01-01,buy\n,B,2024-01-01,pv\n"


def people(**over: Any) -> dict[str, Any]:
    return {
        "name": "people",
        "from": "people.csv",
        "to": [{"table": "users", "map": {"user_id": "id", "consent": "ok"} | over}],
    }


def test_user_who_refuses_is_kept_out_of_every_table(shop: Any, events: Source) -> None:
    shop.write("orders.csv", EVENTS)
    shop.write("people.csv", 'id,ok\n1.0,"marketing,Profiling"\n2,marketing\n')
    report = shop.collect(events(), people())  # the refusal is in the last file
    assert report.rows == {"events": 2, "users": 1} and report.refused == 2
    assert shop.rows("users", "user_id", "consent") == [(shop.of("1"), ["marketing", "profiling"])]
    assert {row[0] for row in shop.rows("events", "user_id")} == {shop.of("1"), None}
    assert shop.rows("refused", "user_id", "source", "file") == [(shop.of("2"), "people", "people.csv")]
    assert shop.vault.get(shop.of("2")) == {}


def test_consent_withdrawn_takes_out_what_was_stored_and_keeps_new_events_out(shop: Any, events: Source) -> None:
    shop.write("orders.csv", EVENTS)
    shop.write("people.csv", "id,ok\n1,yes\n2,yes\n")
    shop.collect(events(), people())
    assert shop.lake.rows("raw.events") == 3
    shop.write("people.csv", "id,ok\n1,yes\n2,no\n")
    report = shop.collect(events(), people())
    assert report.withdrawn == 2  # one event, one registration
    assert shop.of("2") not in {row[0] for row in shop.rows("events", "user_id")}
    shop.write("orders.csv", EVENTS + "2,C,2024-02-01,buy\n1,C,2024-02-01,buy\n")
    report = shop.collect(events(), people())
    assert report.sources[0].files[0].tables[0].rows == 1 and shop.lake.rows("raw.events") == 3


def test_user_who_agrees_again_comes_back(shop: Any, events: Source) -> None:
    shop.write("orders.csv", EVENTS)
    shop.write("people.csv", "id,ok\n1,yes\n2,no\n")
    shop.collect(events(), people())
    shop.write("people.csv", "id,ok\n1,yes\n2,yes\n")
    shop.collect(events(), people())
    assert shop.lake.rows("raw.events") == 3 and shop.rows("refused", "user_id") == []


def test_source_without_consent_by_default_takes_only_those_who_agreed(shop: Any, events: Source) -> None:
    shop.write("orders.csv", EVENTS)
    shop.write("people.csv", "id,ok\n1,yes\n")
    report = shop.collect(events(consent_default=False), people())
    assert [row[0] for row in shop.rows("events", "user_id")] == [shop.of("1")] and report.sources[0].files[
        0
    ].refused == 2


def test_test_accounts_are_marked_by_id_name_or_mail(shop: Any) -> None:
    shop.write("u.csv", "id,name,mail\ntest7,Ann,a@b.com\n2,测试一号,c@d.com\n3,Li,QA_bot@x.com\n4,Wang,w@x.com\n")
    shop.collect(
        {
            "name": "u",
            "from": "u.csv",
            "to": [{"table": "users", "map": {"user_id": "id", "name": "name", "email": "mail"}}],
        }
    )
    assert dict(shop.rows("users", "user_id", "is_test")) == {
        shop.of("test7"): True,
        shop.of("2"): True,
        shop.of("3"): True,
        shop.of("4"): False,
    }


def test_birth_date_leaves_only_the_year(shop: Any) -> None:
    shop.write("u.csv", "id,born\n1,1990-03-07\n2,07.03.1985\n3,?\n")
    shop.collect(
        {"name": "u", "from": "u.csv", "to": [{"table": "users", "map": {"user_id": "id", "birth_date": "born"}}]}
    )
    assert dict(shop.rows("users", "user_id", "birth_year")) == {
        shop.of("1"): 1990,
        shop.of("2"): 1985,
        shop.of("3"): None,
    }
    assert shop.vault.get(shop.of("1"))["birth_date"] == "1990-03-07"


def test_identifier_is_the_same_however_it_is_written(shop: Any) -> None:
    shop.write(
        "i.csv",
        "kind,value,user\nemail,Ann@X.com,1\nemail, ann@x.com ,2\nphone,+86 138-1234-5678,1\nphone,13812345678,2\n",
    )
    shop.collect(
        {
            "name": "i",
            "from": "i.csv",
            "to": [{"table": "identifiers", "map": {"kind": "kind", "value": "value", "user_id": "user"}}],
        }
    )
    assert set(shop.rows("identifiers", "kind", "value")) == {
        ("email", shop.of("ann@x.com")),
        ("phone", shop.of("13812345678")),
    }


PLANTED = (
    "Zhangsanfeng",
    "欧阳娜娜",
    "planted@example.com",
    "13812345678",
    "Elmwood",
    "110101199003074513",
    "usr-raw-77",
    "anon-raw-88",
    "1990-03-07",
)


def test_no_planted_value_leaves_the_vault(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shop.write(
        "u.csv",
        "id,name,mail,phone,addr,born,idno,joined,note,city\n"
        "usr-raw-77,Zhangsanfeng,planted@example.com,138-1234-5678,12 Elmwood Road,1990-03-07,110101199003074513,Zhangsanfeng,mail planted@example.com,13812345678\n"
        + "usr-raw-78,欧阳娜娜,p@q.com,13812345678,x,1980-01-01,1,2024-01-01,ok,Paris\n" * 2
        + "usr-raw-77,Zhangsanfeng,planted@example.com\n",
    )
    shop.write(
        "e.csv",
        "user,anon,at,what,text,n\n"
        "usr-raw-77,anon-raw-88,2024-01-01,search,我是 planted@example.com 电话13812345678 证 110101199003074513,Zhangsanfeng\n"
        "usr-raw-77,anon-raw-88,2024-01-01,review,call 138-1234-5678,12 Elmwood Road\n"
        "usr-raw-77,anon-raw-88,欧阳娜娜,review,fine,3\n",
    )
    users = {
        "user_id": "id",
        "name": "name",
        "email": "mail",
        "phone": "phone",
        "address": "addr",
        "birth_date": "born",
        "id_number": "idno",
        "registered_at": "joined",
        "city": "city",
    }
    sources = (
        {"name": "u", "from": "u.csv", "to": [{"table": "users", "map": users, "extra": ["note"]}]},
        {"name": "e", "from": "e.csv", "to": [{"table": "events", "map": {"user_id": "user", "anonymous_id": "anon", "ts": "at", "event": "what", "text": "text", "quantity": "n"}}]},
    )  # fmt: skip
    report = shop.collect(*sources)
    assert report.rows == {"users": 3, "events": 3} and report.rejected == 1
    seen = caplog.text + json.dumps(report.to_dict(), ensure_ascii=False)
    for table in shop.lake.names():
        seen += json.dumps(shop.engine.rows(shop.lake.table(table)), ensure_ascii=False, default=str)
    raw = b"".join(
        path.read_bytes() for path in shop.folder.rglob("*") if path.is_file() and path.suffix not in (".csv", ".db")
    )
    vault = shop.folder.joinpath("vault.db").read_bytes()
    for value in (*PLANTED, "138-1234-5678"):
        assert value not in seen, value
        assert value.encode() not in raw and value.encode() not in vault, value
    kept = shop.vault.get(shop.of("usr-raw-77"))
    assert (
        kept["name"] == "Zhangsanfeng" and kept["shop_id"] == "usr-raw-77" and kept["id_number"] == "110101199003074513"
    )


def test_error_about_unread_times_shows_masked_samples(shop: Any, events: Source) -> None:
    shop.write(
        "orders.csv",
        "user,item,at,what\n1,A,planted@example.com,buy\n2,B,欧阳娜娜,buy\n3,C,31/31/2024,buy\n4,C,2024-01-01,buy\n",
    )
    with pytest.raises(HuaxiangError, match=r"75% of at cannot be read as events.ts.*31/31/2024") as caught:
        shop.collect(events())
    assert "planted" not in str(caught.value) and "欧阳" not in caught.value.say("zh")
    assert shop.lake.names() == []


def test_time_of_collection_is_on_every_row(shop: Any, events: Source) -> None:
    shop.write("orders.csv", EVENTS)
    shop.collect(events(third_party=True), now=datetime(2025, 5, 5))
    assert set(shop.rows("events", "collected_at", "third_party")) == {(datetime(2025, 5, 5), True)}
