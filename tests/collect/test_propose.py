"""From files to a proposed huaxiang.toml: exports of real platforms, made small, and hostile headers."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from huaxiang import Shop
from huaxiang.collect.guess_names import ROLES, plain_name, roles_of
from huaxiang.collect.propose import Proposal, init_shop, propose
from huaxiang.collect.propose_files import path_from
from huaxiang.errors import HuaxiangError, ShopError, SourceError
from huaxiang.settings import load_settings
from huaxiang.settings.collect import ColumnFrom, TableFrom
from huaxiang.words import LANGS

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def tables(proposal: Proposal) -> dict[str, TableFrom]:
    return {to.table: to for source in proposal.settings.collect for to in source.to}


def columns(to: TableFrom) -> dict[str, object]:
    """Contract column -> source column(s) or constant."""
    return {name: origin.column or origin.value or origin.columns for name, origin in to.map.items()}


def test_order_lines_feed_events_items_and_users(tmp_path: Path, write: Write) -> None:
    path = write(
        "orders.csv",
        "OrderID,ProductCode,ProductName,Category,Quantity,OrderDate,UnitPrice,CustomerID,Country\n"
        + "".join(
            f"{n // 2},P{n % 9},Lamp {n % 9},Home,{n % 3 + 1},2023-0{n % 9 + 1}-{n % 28 + 1:02d},9.9,{n % 17},France\n"
            for n in range(400)
        ),
    )
    proposal = propose(tmp_path / "shop", [str(path)])
    found = tables(proposal)
    assert columns(found["events"]) == {
        "user_id": "CustomerID", "ts": "OrderDate", "event": "purchase", "item_id": "ProductCode", "order_id": "OrderID",
        "quantity": "Quantity", "price": "UnitPrice",
    }  # fmt: skip
    assert columns(found["items"]) == {"item_id": "ProductCode", "title": "ProductName", "category": "Category"}
    assert columns(found["users"]) == {"user_id": "CustomerID", "country": "Country"}
    assert (found["items"].distinct, found["users"].where) == (True, "CustomerID is not null")
    assert (proposal.settings.shop.currency, proposal.settings.shop.timezone) == ("EUR", "Europe/Paris")
    assert set(proposal.settings.outcomes) == {"churn_30d", "spend_30d"}  # eight months of purchases


SHOPIFY = "Name,Email,Financial Status,Paid at,Currency,Subtotal,Total,Discount Code,Discount Amount,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Billing Name,Billing Street,Billing City,Billing Country,Billing Phone,Vendor,Lineitem discount\n"


def test_a_shopify_export_is_understood(tmp_path: Path, write: Write) -> None:
    rows = "".join(
        f"#1{n:03d},buyer{n % 40}@example.com,{'refunded' if n % 9 == 0 else 'paid'},2024-0{n % 6 + 1}-05 10:00:00 +0800,USD,20.0,22.0,SPRING,1.0,"
        f"2024-0{n % 6 + 1}-05 10:00:00 +0800,2,Blue Mug,10.0,MUG-{n % 5},Buyer Secret{n % 40},7 Hidden Street,Boston,US,+1 617 555 01{n % 40:02d},Acme,0.5\n"
        for n in range(200)
    )
    proposal = propose(tmp_path / "shop", [str(write("orders_export.csv", SHOPIFY + rows))])
    events, users, items = (tables(proposal)[name] for name in ("events", "users", "items"))
    given = columns(events)
    assert (given["user_id"], given["order_id"], given["item_id"]) == ("Email", "Name", "Lineitem sku")
    assert (given["quantity"], given["price"], given["discount"]) == (
        "Lineitem quantity",
        "Lineitem price",
        "Lineitem discount",
    )
    assert events.map["event"].values == {"paid": "purchase", "refunded": "refund"}
    assert "amount" not in given  # Total is the order's, repeated on no line or on all
    assert columns(items) == {"item_id": "Lineitem sku", "title": "Lineitem name", "brand": "Vendor"}
    assert {"name": "Billing Name", "phone": "Billing Phone", "email": "Email"}.items() <= columns(users).items()
    assert proposal.settings.shop.currency == "USD"
    for secret in ("buyer1@", "Secret", "617 555", "Hidden Street"):
        assert secret not in proposal.toml


def test_a_sensors_style_export_is_split_by_kind_of_record(tmp_path: Path, write: Write) -> None:
    records: list[dict[str, object]] = [
        {"distinct_id": f"u{n % 30}", "time": 1700000000000 + n * 3_600_000, "type": "track", "event": ("ViewProduct", "AddToShoppingCart", "PayOrder")[n % 3],
         "properties": {"product_id": f"p{n % 11}", "product_name": f"商品{n % 11}", "$os": "iOS", "product_price": 9.5}}
        for n in range(300)
    ]  # fmt: skip
    records += [
        {
            "distinct_id": f"u{n}",
            "original_id": f"cookie{n}",
            "time": 1700000000000,
            "type": "track_signup",
            "event": "$SignUp",
        }
        for n in range(30)
    ]
    path = write("events.jsonl", "\n".join(json.dumps(record, ensure_ascii=False) for record in records))
    proposal = propose(tmp_path / "shop", [str(path)])
    found = tables(proposal)
    events = found["events"]
    assert events.where == "type == 'track'"
    assert events.map["event"].values["AddToShoppingCart"] == "add_to_cart"
    assert (events.map["ts"].column, events.map["ts"].unit) == ("time", "ms")
    assert columns(events)["item_id"] == "properties.product_id"
    assert columns(found["items"])["title"] == "properties.product_name"
    assert columns(found["identifiers"])["anonymous_id"] == "original_id"
    assert proposal.settings.shop.timezone == "Asia/Shanghai"


def test_a_ga4_style_export_is_understood(tmp_path: Path, write: Write) -> None:
    records = [
        {"event_date": "20240105", "event_timestamp": 1704412800000000 + n * 10**9, "event_name": ("view_item", "add_to_cart", "purchase")[n % 3],
         "user_id": None if n % 2 else f"u{n % 20}", "user_pseudo_id": f"{n % 25}.17", "device": {"category": "mobile"}, "geo": {"country": "Germany"},
         "items": [{"item_id": f"i{n % 9}", "item_name": "Mug", "item_category": "Home", "price": 5.5, "quantity": 1}]}
        for n in range(300)
    ]  # fmt: skip
    proposal = propose(tmp_path / "shop", [str(write("ga4.json", "\n".join(map(json.dumps, records))))])
    events = tables(proposal)["events"]
    assert {
        "user_id": "user_id", "anonymous_id": "user_pseudo_id", "event": "event_name", "item_id": "items.0.item_id", "price": "items.0.price",
        "device": "device.category",
    }.items() <= columns(events).items()  # fmt: skip
    assert (events.map["ts"].column, events.map["ts"].unit) == ("event_timestamp", "us")
    assert "first_of_list" in [key for _, key, _ in proposal.warnings]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_chinese_headers_are_mapped(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "订单.csv"
    text = (
        "订单编号,会员编号,商品编号,商品名称,一级类目,二级类目,数量,实付金额,下单时间,订单状态,收货人姓名,手机号,收货地址\n"
        + "".join(
            f"D{n},m{n % 30},g{n % 8},连衣裙,女装,裙子,1,¥{n % 90 + 10}.00,2023年{n % 12 + 1}月5日 10:00:00,{'交易关闭' if n % 7 == 0 else '交易成功'},王小{'明红刚'[n % 3]},1381234{n:04d},上海市某路{n}号\n"
            for n in range(300)
        )
    )
    path.write_bytes(text.encode(encoding))
    proposal = propose(tmp_path / "shop", [str(path)], lang="zh")
    found = tables(proposal)
    events = columns(found["events"])
    assert events == {
        "user_id": "会员编号", "ts": "下单时间", "event": "订单状态", "item_id": "商品编号", "order_id": "订单编号", "quantity": "数量", "amount": "实付金额",
    }  # fmt: skip
    assert found["events"].map["ts"].format == "%Y年%m月%d日 %H:%M:%S"
    assert found["events"].map["event"].values == {"交易关闭": "cancel", "交易成功": "purchase"}
    assert columns(found["items"])["category"] == ("一级类目", "二级类目")
    assert {"name": "收货人姓名", "phone": "手机号", "address": "收货地址"}.items() <= columns(found["users"]).items()
    assert found["users"].where == '"会员编号" is not null'
    assert (proposal.settings.shop.language, proposal.settings.shop.currency) == ("zh", "CNY")
    for secret in ("王小", "1381234", "某路"):
        assert secret not in proposal.toml


def test_semicolons_and_decimal_commas_are_read(tmp_path: Path, write: Write) -> None:
    path = write(
        "bestellungen.csv",
        "order_id;customer_id;date;amount\n"
        + "".join(f"{n};k{n % 9};{n % 28 + 1:02d}.03.2024;{n},50\n" for n in range(100)),
    )
    proposal = propose(tmp_path / "shop", [str(path)])
    source = proposal.settings.collect[0]
    assert source.delimiter == ";"
    assert columns(source.to[0]) == {
        "user_id": "customer_id",
        "ts": "date",
        "event": "purchase",
        "order_id": "order_id",
        "amount": "amount",
    }
    assert source.to[0].map["ts"].format == "%d.%m.%Y"


def test_users_relations_and_identifiers_are_told_apart(tmp_path: Path, write: Write) -> None:
    users = write("members.csv", "id,full_name,email,gender,birth_year,signup_date,plan\n" + "".join(f"{n},Ann B{n},a{n}@x.com,{'FM'[n % 2]},19{n % 40 + 50},2022-01-0{n % 9 + 1},basic\n" for n in range(80)))  # fmt: skip
    ties = write("friends.csv", "user_id,friend_id,since\n" + "".join(f"{n},{n + 1},2023-01-01\n" for n in range(50)))
    devices = write("devices.csv", "user_id,device_id\n" + "".join(f"{n},d{n}x\n" for n in range(50)))
    proposal = propose(tmp_path / "shop", [str(users), str(ties), str(devices)])
    found = tables(proposal)
    assert columns(found["users"]) == {
        "user_id": "id", "birth_year": "birth_year", "gender": "gender", "email": "email", "registered_at": "signup_date", "name": "full_name",
    }  # fmt: skip
    assert found["users"].map["gender"].values == {"F": "female", "M": "male"}
    assert found["users"].extra == ("plan",)
    assert columns(found["relations"]) == {
        "user_id": "user_id",
        "other_id": "friend_id",
        "kind": "friend",
        "since": "since",
    }
    assert columns(found["identifiers"]) == {
        "kind": "device",
        "value": "device_id",
        "user_id": "user_id",
        "anonymous_id": "device_id",
    }
    assert "no_events" in [key for _, key, _ in proposal.warnings]


def test_third_party_attributes_are_joined_by_id_and_marked(tmp_path: Path, write: Write) -> None:
    orders = write(
        "orders.csv",
        "order_id,user_id,total,created_at\n" + "".join(f"{n},{n % 9},5.5,2024-01-0{n % 9 + 1}\n" for n in range(90)),
    )
    geo = write("geo.csv", "user_id,city,interest\n" + "".join(f"{n},Paris,tea\n" for n in range(9)))
    proposal = propose(tmp_path / "shop", [str(orders)], third_party=[str(geo)])
    source = proposal.settings.collect[1]
    assert (source.third_party, source.to[0].table, source.to[0].extra) == (True, "users", ("interest",))


def test_an_unnamed_id_is_known_by_another_files_values(tmp_path: Path, write: Write) -> None:
    orders = write(
        "orders.csv",
        "order_id,user_id,total,created_at\n"
        + "".join(f"{n},C-{n % 40},5.5,2024-01-0{n % 9 + 1}\n" for n in range(200)),
    )
    survey = write("survey.csv", "ref,answer,income\n" + "".join(f"C-{n},yes,high\n" for n in range(40)))
    proposal = propose(tmp_path / "shop", [str(orders), str(survey)])
    assert columns(proposal.settings.collect[1].to[0])["user_id"] == "ref"
    assert "id_by_values" in [key for _, key, _ in proposal.warnings]


def test_files_of_one_shape_become_one_source(tmp_path: Path, write: Write) -> None:
    for month in (1, 2, 3):
        write(
            f"log_2024{month:02d}.csv",
            "user_id,item_id,action,ts\n"
            + "".join(f"{n % 9},{n},view,2024-0{month}-0{n % 9 + 1}\n" for n in range(60)),
        )
    by_glob = propose(tmp_path / "shop", [str(tmp_path / "log_*.csv")]).settings.collect
    assert [(source.name, source.from_) for source in by_glob] == [("log", ("../log_*.csv",))]
    by_name = propose(
        tmp_path / "shop", [str(tmp_path / f"log_20240{month}.csv") for month in (1, 2, 3)]
    ).settings.collect
    assert by_name[0].from_ == ("../log_202401.csv", "../log_202402.csv", "../log_202403.csv")


def test_a_repeated_header_is_read_by_position(tmp_path: Path, write: Write) -> None:
    path = write(
        "orders.csv",
        "user_id,time,total,total\n" + "".join(f"{n % 7},2024-01-0{n % 9 + 1},5.5,6.5\n" for n in range(50)),
    )
    source = propose(tmp_path / "shop", [str(path)]).settings.collect[0]
    assert (source.header, source.skip, source.columns) == (False, 1, ("user_id", "time", "total", "total_2"))


def test_sqlite_tables_become_sources(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (order_id INTEGER, customer_id INTEGER, total REAL, created_at TEXT)")
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?)", [(n, n % 9, n / 2, f"2024-01-0{n % 9 + 1}") for n in range(90)]
        )
        connection.execute("CREATE TABLE customers (customer_id INTEGER, gender TEXT, city TEXT)")
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?)", [(n, "FM"[n % 2], "Paris") for n in range(9)])
    connection.close()
    for origin in (f"sqlite:///{path}", str(path)):
        sources = propose(tmp_path / "shop", [origin]).settings.collect
        assert [(source.format, source.db_table) for source in sources] == [
            ("database", "orders"),
            ("database", "customers"),
        ]
        assert sources[0].from_ == (f"sqlite:///{path.resolve()}",)
    with pytest.raises(SourceError, match="no database huaxiang knows"):
        propose(tmp_path / "shop", ["mongodb://x/y"])


def test_no_user_column_is_an_error_that_shows_how_to_map_by_hand(tmp_path: Path, write: Write) -> None:
    path = write("sessions.csv", "pages,duration,bounce\n" + "1,2.5,0.1\n3,4.5,0.2\n" * 20)
    with pytest.raises(SourceError, match=r"pages \(int\), duration \(float\)") as caught:
        init_shop(tmp_path / "shop", [str(path)])
    sample = caught.value.mend().split(":\n", 1)[1]
    assert tomllib.loads(sample)["collect"][0]["name"] == "log"
    assert not (tmp_path / "shop").exists()


def test_no_time_column_is_an_error(tmp_path: Path, write: Write) -> None:
    path = write("baskets.csv", "user_id,item_id,quantity\n" + "1,2,3\n4,5,6\n" * 20)
    with pytest.raises(SourceError, match="no column tells when"):
        propose(tmp_path / "shop", [str(path)])


def test_a_useless_file_beside_a_good_one_is_left_out_and_named(tmp_path: Path, write: Write) -> None:
    orders = write(
        "orders.csv",
        "order_id,user_id,total,created_at\n" + "".join(f"{n},{n % 9},5.5,2024-01-0{n % 9 + 1}\n" for n in range(90)),
    )
    other = write("weather.csv", "station,rain\n" + "x,2.5\ny,1.5\n" * 20)
    proposal = propose(tmp_path / "shop", [str(orders), str(other)])
    assert len(proposal.settings.collect) == 1
    assert "# CHECK: weather.csv was left out" in proposal.toml


def test_an_existing_shop_is_kept_unless_forced(tmp_path: Path, write: Write) -> None:
    orders = str(write("orders.csv", "order_id,user_id,total,created_at\n" + "1,2,5.5,2024-01-01\n" * 20))
    target = tmp_path / "shop" / "huaxiang.toml"
    init_shop(target.parent, [orders])
    target.write_text("mine")
    with pytest.raises(ShopError, match="--force"):
        init_shop(target.parent, [orders])
    assert target.read_text() == "mine"
    with pytest.raises(SourceError, match="there is no file"):
        init_shop(target.parent, [str(tmp_path / "gone.parquet")], force=True)
    assert target.read_text() == "mine"
    init_shop(target.parent, [orders], force=True)
    assert load_settings(target, {}).collect[0].name == "orders"
    with pytest.raises(SourceError, match="no file was named"):
        init_shop(tmp_path / "new", [])


def test_strange_names_survive_the_round_trip_through_toml(tmp_path: Path, write: Write) -> None:
    odd = 'to"tal #1 = [x]'
    text = (
        f'user id,order id,created at,"{odd.replace(chr(34), chr(34) * 2)}",back\\slash\n'
        + "1,2,2024-01-01,5.5,a\n" * 30
    )
    path = write('it\'s "odd" #1.csv', text)
    proposal = propose(tmp_path / "shop", [str(path)])
    assert proposal.settings.collect[0].from_ == ('../it\'s "odd" #1.csv',)
    assert odd in proposal.toml


@pytest.mark.parametrize("lang", LANGS)
def test_every_doubt_and_error_speaks_both_languages(lang: str) -> None:
    from huaxiang.words import catalogue

    texts = {key: text for key, text in catalogue().items() if key.startswith(("init.", "errors.init."))}
    assert len(texts) > 80
    assert all(text[lang] for text in texts.values())
    assert issubclass(SourceError, HuaxiangError)


def test_names_of_roles_are_found_however_they_are_written() -> None:
    for name in ("user_id", "userId", "User ID", "USER-ID", "user_id:token", "properties.user_id", "用户编号"):
        assert "user_id" in roles_of(name), name
    for role, names in ROLES.items():
        assert all(role in roles_of(name) for name in names.split()), role
    assert plain_name(" Unit Price ") == "unitprice"
    assert ColumnFrom(column="x").column == "x"


@pytest.mark.parametrize(
    ("name", "purpose"),
    [
        ("是否同意", ""),
        ("隐私同意", ""),
        ("privacy_agreed", ""),
        ("opt_in", ""),
        ("同意营销", "marketing"),
        ("Accepts Marketing", "marketing"),
        ("marketing_consent", "marketing"),
        ("consent_email", "email"),
        ("Accepts SMS Marketing", "sms"),
        ("接收短信", "sms"),
        ("newsletter", "email"),
    ],
)
def test_column_that_says_who_agreed_is_consent_and_is_pointed_out(
    tmp_path: Path, write: Write, name: str, purpose: str
) -> None:
    path = write("users.csv", f"user_id,city,{name}\n" + "".join(f"u{n},Lyon,{'是否'[n % 2]}\n" for n in range(40)))
    orders = write(
        "orders.csv",
        "user_id,item_id,order_time\n" + "".join(f"u{n % 40},i{n},2024-01-02 10:00:00\n" for n in range(80)),
    )
    proposal = propose(tmp_path / "shop", [str(orders), str(path)])
    found = tables(proposal)["users"].map["consent"]
    assert (found.columns, found.purposes) == (((name,), (purpose,)) if purpose else ((), ()))
    assert found.column == (None if purpose else name)
    assert ("consent_channels" if purpose else "consent_column") in {key for _, key, _ in proposal.warnings}


def test_consent_for_channels_reaches_the_purposes_that_campaigns_ask_for(tmp_path: Path, write: Write) -> None:
    users = "user_id,consent_email,sms_opt_in,privacy_agreed\nu1,yes,no,yes\nu2,no,,yes\nu3,yes,yes,no\nu4,no,yes,yes\n"
    rows = "".join(f"u{n % 4 + 1},i{n},2024-01-02 10:00:00\n" for n in range(80))
    orders = str(write("orders.csv", f"user_id,item_id,order_time\n{rows}"))
    fewer = "\n".join(line.rsplit(",", 1)[0] for line in users.splitlines()) + "\n"
    asked = propose(tmp_path / "asked", [orders, str(write("users.csv", users))])
    silent = propose(tmp_path / "silent", [orders, str(write("fewer.csv", fewer))])
    assert "consent_asked" in {key for _, key, _ in asked.warnings}
    found = {}
    for name, proposal in (("asked", asked), ("silent", silent)):
        (made := tmp_path / name).mkdir()
        (made / "huaxiang.toml").write_text(proposal.toml, encoding="utf-8")
        with Shop.open(tmp_path / name, environ={}) as shop:
            shop.collect()
            rows = shop.lake.engine.rows(shop.lake.engine.sql(shop.lake.table("raw.users")))
            told = {row["user_id"]: sorted(row["consent"]) for row in rows}
            found[name] = [told.get(shop.pseudonyms().of(user)) for user in ("u1", "u2", "u3", "u4")]
    assert found["asked"] == [
        ["email", "profiling"],
        ["profiling"],
        None,
        ["profiling", "sms"],
    ]  # u3 refuses the profile
    assert found["silent"] == [
        ["email", "profiling"],
        ["profiling"],
        ["email", "profiling", "sms"],
        ["profiling", "sms"],
    ]


def test_column_that_only_sounds_like_consent_stays_an_attribute(tmp_path: Path, write: Write) -> None:
    path = write(
        "users.csv", "user_id,city,licence_agreement\n" + "".join(f"u{n},Lyon,v{n % 3}.{n}\n" for n in range(40))
    )
    orders = write(
        "orders.csv",
        "user_id,item_id,order_time\n" + "".join(f"u{n % 40},i{n},2024-01-02 10:00:00\n" for n in range(80)),
    )
    assert "consent" not in columns(tables(propose(tmp_path / "shop", [str(orders), str(path)]))["users"])


def test_times_written_in_several_ways_are_taken_and_the_unreadable_share_said(tmp_path: Path, write: Write) -> None:
    ways = [
        "2023-04-04 22:41:00",
        "2023/10/20 15:36",
        "2023年5月6日 10:11",
        "1696118400",
        "2023-07-01T10:00:00+08:00",
        "08.06.2023 01:42",
    ]
    path = write(
        "orders.csv",
        "买家编号,商品编号,下单时间,数量\n"
        + "".join(f"u{n % 9},i{n % 5},{ways[n % 12 % 6 if n % 12 > 6 else 0]},1\n" for n in range(240)),
    )
    proposal = propose(tmp_path / "shop", [str(path)])
    made = tables(proposal)["events"].map["ts"]
    assert (made.column, made.format, made.unit) == ("下单时间", None, None)
    doubts = {key: values for _, key, values in proposal.warnings}
    assert doubts["mixed_types"]["column"] == "下单时间"


def test_one_impossible_birth_year_is_left_to_cleaning(tmp_path: Path, write: Write) -> None:
    path = write(
        "users.csv",
        "user_id,city,birth_year\n" + "".join(f"u{n},Lyon,{1844 if n == 7 else 1970 + n % 30}\n" for n in range(60)),
    )
    orders = write(
        "orders.csv",
        "user_id,item_id,order_time\n" + "".join(f"u{n % 40},i{n},2024-01-02 10:00:00\n" for n in range(80)),
    )
    assert columns(tables(propose(tmp_path / "shop", [str(orders), str(path)]))["users"])["birth_year"] == "birth_year"


def test_header_without_rows_is_called_that(tmp_path: Path, write: Write) -> None:
    path = write("orders.csv", "customer_id,item_id,order_time\n")
    with pytest.raises(SourceError, match="has no rows"):
        propose(tmp_path / "shop", [str(path)])


def test_prices_of_which_some_have_a_sign_raise_no_doubt(tmp_path: Path, write: Write) -> None:
    prices = ["36.24", "12.00", "¥36.24", "¥1,234.50", "￥8.5", "99"]
    path = write(
        "items.csv",
        "商品编号,商品名称,类目,售价\n" + "".join(f'S{n},茶 {n},茶叶,"{prices[n % 6]}"\n' for n in range(60)),
    )
    proposal = propose(tmp_path / "shop", [str(path)])
    assert columns(tables(proposal)["items"])["price"] == "售价"
    assert "mixed_types" not in {key for _, key, _ in proposal.warnings}


HEADER = "订单号,买家编号,商品编号,数量,付款时间,交易状态\n"


def test_lines_that_are_no_utf_8_are_no_states(tmp_path: Path) -> None:
    lines = [f"D{n},K{n % 40},S{n % 9},1,2025-03-{n % 28 + 1:02d} 10:00:00,交易成功\n".encode() for n in range(400)]
    lines[70] = "D70,K1,S1,1,2025-03-02 10:00:00,已退款\n".encode("gb18030")
    lines[80] = "D80,K1,S1,1,2025-03-02 10:00:00,已拼单\n".encode()
    path = tmp_path / "订单.csv"
    path.write_bytes(HEADER.encode() + b"".join(lines))
    doubts = {key: values for _, key, values in propose(tmp_path / "shop", [str(path)]).warnings}
    assert "broken_lines" in doubts
    assert doubts["unknown_states"]["values"] == "已拼单"


@pytest.mark.parametrize(
    ("customers", "dates", "doubt", "said"),
    [
        (1, 9, "few_customers", {"days": 252, "active": 9, "customers": 1}),
        (200, 9, "sparse", {"days": 252, "active": 9, "customers": 200}),
        (200, 1, "gaps", {"days": 1, "active": 1, "customers": 200}),
    ],
    ids=["one customer", "nine days in nine months", "one day"],
)
def test_why_no_outcome_is_proposed_is_said_as_it_is(
    tmp_path: Path, write: Write, customers: int, dates: int, doubt: str, said: dict[str, int]
) -> None:
    rows = "".join(
        f"D{n},K{n % customers},S{n % 5},1,2025-{n % dates + 1:02d}-{n % dates + 5:02d} 10:00:00,交易成功\n"
        for n in range(600)
    )  # 5 January to 13 September: 27 + 28 + 31 + 30 + 31 + 30 + 31 + 31 + 13 = 252 days
    proposal = propose(tmp_path / "shop", [str(write("orders.csv", HEADER + rows))])
    assert proposal.warnings == [("", doubt, said)]
    assert not proposal.settings.outcomes


def test_a_path_with_ups_is_written_without_them_but_not_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "far" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "below")
    shop = tmp_path / "a" / "b" / "shop"
    assert path_from(f"{tmp_path}/far/../data/o.csv", shop) == f"{tmp_path}/data/o.csv"
    assert path_from(f"{tmp_path}/far/../data/o-*.csv", shop) == f"{tmp_path}/data/o-*.csv"
    assert path_from(f"{tmp_path}/link/../o.csv", shop) == f"{tmp_path}/link/../o.csv"  # that is far/o.csv


@pytest.mark.parametrize(("named", "device"), [(True, True), (False, False)], ids=["always named", "visitors too"])
def test_the_device_of_named_users_is_an_identifier_and_of_visitors_is_them(
    tmp_path: Path, write: Write, named: bool, device: bool
) -> None:
    users = [f"K{n % 40}" if named or n % 4 else "" for n in range(400)]
    rows = "".join(
        f"D{n},{user},S{n % 9},1,2025-03-{n % 28 + 1:02d} 10:00:00,dev{n % 50}\n" for n, user in enumerate(users)
    )
    found = tables(propose(tmp_path / "shop", [str(write("orders.csv", HEADER.replace("交易状态", "设备号") + rows))]))
    assert ("anonymous_id" in found["events"].map, "identifiers" in found) == (not device, device)
    if device:
        assert columns(found["identifiers"]) == {
            "kind": "device",
            "value": "设备号",
            "user_id": "买家编号",
            "ts": "付款时间",
        }
        assert found["identifiers"].where == '"设备号" is not null'
    else:
        assert columns(found["events"])["anonymous_id"] == "设备号"
