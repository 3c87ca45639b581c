"""`init` on real data sets, without a hand on the result; each skips with its file's name where it is absent."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from huaxiang.collect.preview import preview_rows, show_preview
from huaxiang.collect.propose import Proposal, init_shop
from huaxiang.collect.write_toml import HIDDEN
from huaxiang.errors import SourceError
from huaxiang.settings import load_settings

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def start(tmp_path: Path, *names: str) -> Proposal:
    for name in names:
        if not any(DATA.glob(name)):
            pytest.skip(f"{DATA / name} is absent")
    proposal = init_shop(tmp_path / "shop", [str(DATA / name) for name in names], lang="en")
    assert load_settings(tmp_path / "shop" / "huaxiang.toml", {}) == proposal.settings
    return proposal


def says(proposal: Proposal, source: int = 0) -> dict[str, dict[str, object]]:
    return {
        to.table: {name: origin.column or origin.value or origin.columns for name, origin in to.map.items()}
        for to in proposal.settings.collect[source].to
    }


def test_online_retail_is_purchases_in_pounds(tmp_path: Path) -> None:
    proposal = start(tmp_path, "online_retail/online_retail.csv.gz")
    assert says(proposal) == {
        "events": {
            "user_id": "CustomerID", "ts": "InvoiceDate", "event": "purchase", "item_id": "StockCode", "order_id": "InvoiceNo",
            "quantity": "Quantity", "price": "UnitPrice",
        },
        "items": {"item_id": "StockCode", "title": "Description"},
        "users": {"user_id": "CustomerID", "country": "Country"},
    }  # fmt: skip
    assert (proposal.settings.shop.timezone, proposal.settings.shop.currency) == ("Europe/London", "GBP")
    assert set(proposal.settings.outcomes) == {"churn_30d", "spend_30d"}
    assert proposal.sources[0].look.rows == 541_909
    assert "17850" not in proposal.toml  # the id of the first customer


def test_taobao_is_known_without_a_header(tmp_path: Path) -> None:
    proposal = start(tmp_path, "taobao/UserBehavior.csv")
    source = proposal.settings.collect[0]
    assert (source.header, source.columns) == (False, ("user_id", "item_id", "category", "event", "ts"))
    event = source.to[0].map["event"].values
    assert event == {"pv": "view", "cart": "add_to_cart", "fav": "wish", "buy": "purchase"}
    assert source.to[0].map["ts"].unit == "s"
    assert says(proposal)["items"] == {"item_id": "item_id", "category": "category"}
    assert (proposal.settings.shop.timezone, proposal.settings.shop.currency) == ("Asia/Shanghai", "CNY")
    assert proposal.span is not None
    assert proposal.span.days == 9  # the broken dates of September are left out
    assert list(proposal.settings.outcomes) == ["purchase_2d"]
    train = proposal.settings.train
    assert train.as_of_count * train.as_of_step_days <= 5


def test_jd_is_three_tables_with_codes_and_gbk(tmp_path: Path) -> None:
    names = ("JData_Action_*.csv", "JData_User.csv", "JData_Product.csv", "JData_Comment.csv")
    proposal = start(tmp_path, *(f"jd2016/{name}" for name in names))
    actions, users, products, comments = proposal.settings.collect
    assert actions.from_[0].endswith("JData_Action_*.csv")
    assert actions.to[0].map["event"].values == {
        "1": "view", "2": "add_to_cart", "3": "remove_from_cart", "4": "purchase", "5": "wish", "6": "click",
    }  # fmt: skip
    assert users.encoding == "gb18030"
    assert users.to[0].map["gender"].values == {"0": "male", "1": "female"}
    assert users.to[0].map["gender"].empty == ("2",)
    assert (users.to[0].map["age_band"].column, users.to[0].map["age_band"].empty) == ("age", ("-1",))
    assert says(proposal, 1)["users"]["registered_at"] == "user_reg_tm"
    assert products.to[0].extra == ("a1", "a2", "a3")
    assert (comments.to[0].table, comments.to[0].extra) == (
        "items",
        ("comment_num", "has_bad_comment", "bad_comment_rate"),
    )
    assert {"age_band", "gender"} <= set(proposal.settings.outcomes)
    assert proposal.doubt == "sparse"  # three islands of an hour each: nothing to learn about the days between


def test_cdnow_with_and_without_header(tmp_path: Path) -> None:
    sample = start(tmp_path, "cdnow/CDNOW_sample.txt").settings.collect[0]
    assert (sample.delimiter, sample.header, sample.columns) == (
        " ",
        False,
        ("user_id", "column2", "ts", "quantity", "amount"),
    )
    master = start(tmp_path / "master", "cdnow/CDNOW_master.txt")
    assert says(master)["events"] == {
        "user_id": "customer_id", "ts": "date", "event": "purchase", "quantity": "number_of_cds", "amount": "dollar_value",
    }  # fmt: skip
    assert master.settings.collect[0].to[0].map["ts"].format == "%Y%m%d"


def test_movielens_ratings_users_and_items(tmp_path: Path) -> None:
    proposal = start(tmp_path, "ml-100k/ml-100k.inter", "ml-100k/ml-100k.user", "ml-100k/ml-100k.item")
    assert says(proposal)["events"]["event"] == "review"
    assert says(proposal, 1)["users"] == {
        "user_id": "user_id:token",
        "gender": "gender:token",
        "occupation": "occupation:token",
    }
    assert says(proposal, 2)["items"]["title"] == "movie_title:token_seq"
    assert "gender" in proposal.settings.outcomes


def test_febrl_people_are_users_and_nobody_is_shown(tmp_path: Path) -> None:
    proposal = start(tmp_path, "febrl/dataset1.csv")
    source, guess = proposal.settings.collect[0], proposal.sources[0]
    assert source.delimiter == ","
    users = says(proposal)["users"]
    assert users["name"] == ("given_name", "surname")
    assert users["address"] == ("street_number", "address_1", "address_2", "suburb", "postcode")
    shown = preview_rows(guess, guess.tables[0], source)
    assert {cell for row in shown for cell, name in zip(row, users, strict=True) if name != "region"} <= {HIDDEN, ""}
    text = io.StringIO()
    for lang in ("en", "zh"):
        show_preview(proposal, Console(file=text, width=200), lang)  # type: ignore[arg-type]
    told = (proposal.toml + text.getvalue()).lower()
    for person in ("waller", "lachlan", "berry", "6988048", "19081209", "tullaroop", "rec-223-org"):
        assert person not in told


@pytest.mark.parametrize("name", ["online_shoppers/online_shoppers_intention.csv", "hillstrom/hillstrom.csv"])
def test_a_file_without_users_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="no column tells which user"):
        start(tmp_path, name)


def test_a_matlab_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="MATLAB"):
        start(tmp_path, "ciao/trust.mat")
