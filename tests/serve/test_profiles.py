"""Profiles of the last build, as the API reads them."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from huaxiang.errors import DefinitionError, ShopError
from huaxiang.serve.profiles import BatchProfiles, is_pseudonym
from huaxiang.shop import Shop


@pytest.fixture
def shop(small_shop: Path, tmp_path: Path) -> Iterator[Shop]:
    shutil.copytree(small_shop, tmp_path / "shop")
    with Shop.open(tmp_path / "shop") as opened:
        yield opened


@pytest.fixture
def profiles(shop: Shop) -> Iterator[BatchProfiles]:
    made = BatchProfiles(shop)
    yield made
    made.close()


def test_a_row_is_json_and_holds_every_column_but_the_vector(shop: Shop, profiles: BatchProfiles) -> None:
    user = shop.pseudonym("1007")
    row = profiles.one(user)
    assert row is not None
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert set(shop.lake.table("profiles").columns) - set(row) == {"embedding", "user_no"}
    assert set(row) - set(shop.lake.table("profiles").columns) == {"sources", "filled", "updated_at"}
    assert (row["as_of"], row["sources"]["city"]) == ("2024-10-08T00:00:00Z", "users")


def test_a_row_is_at_hand_after_the_first_look_and_not_before(shop: Shop, profiles: BatchProfiles) -> None:
    user = shop.pseudonym("1007")
    assert profiles.peek(user) is None
    row = profiles.one(user)
    assert profiles.peek(user) == row
    assert profiles.one("nobodynobody") is None and profiles.one("' OR 1=1 --") is None


def test_many_leaves_out_who_is_unknown(shop: Shop, profiles: BatchProfiles) -> None:
    users = [shop.pseudonym(str(1000 + n)) for n in range(5)]
    assert set(profiles.many([*users, "nobodynobody", users[0]])) == set(users)


def test_rows_at_hand_end_with_the_build_they_are_of(shop: Shop, profiles: BatchProfiles) -> None:
    user = shop.pseudonym("1007")
    profiles.one(user)
    with shop.lake.step("test"):
        pass
    assert profiles.peek(user) is not None  # profiles are as they were
    shop.build(as_of=date(2024, 8, 1))
    shop.profiles()
    assert profiles.peek(user) is None
    assert profiles.one(user)["as_of"] == "2024-08-01T00:00:00Z"  # type: ignore[index]


def test_what_is_kept_at_hand_is_bounded(shop: Shop, profiles: BatchProfiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huaxiang.serve.profiles.KEPT_BYTES", 20_000)
    users = [shop.pseudonym(str(1000 + n)) for n in range(20)]
    for user in users:
        profiles.one(user)
    held = [user for user in users if profiles.peek(user) is not None]
    assert 1 <= len(held) < 10
    assert held == users[-len(held) :]


def test_a_visitor_who_became_a_customer_is_found(shop: Shop, profiles: BatchProfiles) -> None:
    user, visitor = shop.pseudonym("1007"), shop.pseudonyms().of("cookie-1")
    links = shop.engine.arrow(shop.lake.table("identity.links").limit(0)).schema
    row = {"anonymous_id": visitor, "user_id": user, "since": datetime(2024, 1, 1)}
    with shop.lake.step("test") as step:
        step.append(
            "identity.links", pa.Table.from_pylist([{name: row.get(name) for name in links.names}], schema=links)
        )
    found = profiles.one(visitor)
    assert found is not None and found["user_id"] == user
    assert profiles.peek(visitor) == found


def test_find_pages_count_and_what_a_condition_reads(profiles: BatchProfiles) -> None:
    where = "lifecycle == 'active' and tagged('overdue') or likes('coffee')"
    assert set(profiles.reads(where)) == {"lifecycle", "tags", "top_categories"}
    every = profiles.find(where, columns=["lifecycle"], limit=1_000)
    assert len(every) == profiles.count(where) > 10
    first = profiles.find(where, columns=["lifecycle"], limit=4)
    rest = profiles.find(where, columns=["lifecycle"], limit=1_000, after=str(first[-1]["user_id"]))
    assert [*first, *rest] == every
    assert profiles.count("") == 60
    with pytest.raises(DefinitionError, match="lifecycl"):
        profiles.find("lifecycl == 'active'", columns=[], limit=1)


def test_a_changed_settings_file_is_read_anew(shop: Shop, profiles: BatchProfiles) -> None:
    with pytest.raises(DefinitionError):
        profiles.count("in_audience('active_ones')")
    shop.market.save("active_ones", "lifecycle == 'active'")
    assert profiles.count("in_audience('active_ones')") == 46


def test_several_threads_may_ask_at_once(shop: Shop, profiles: BatchProfiles) -> None:
    users, found = [shop.pseudonym(str(1000 + n)) for n in range(40)], []
    threads = [threading.Thread(target=lambda part=users[n::4]: found.extend(profiles.many(part))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(users)


def test_a_shop_that_is_not_built_says_so(tmp_path: Path) -> None:
    (tmp_path / "huaxiang.toml").write_text('[shop]\nname = "x"\n', encoding="utf-8")
    with Shop.open(tmp_path) as shop:
        profiles = BatchProfiles(shop)
        for ask in (lambda: profiles.one("a" * 12), lambda: profiles.count("x == 1"), profiles.columns):
            with pytest.raises(ShopError, match="profiles"):
                ask()
        profiles.close()


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("a1B2c3D4e5F6", True), ("a1B2c3D4e5F", False), ("a1B2c3D4e5F'", False), ("１２３４５６７８９０１２", False)],
)
def test_what_could_be_a_pseudonym(text: str, is_one: bool) -> None:
    assert is_pseudonym(text) is is_one
