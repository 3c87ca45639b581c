"""Holes filled and outliers drawn in, as huaxiang.toml asks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from huaxiang.errors import SettingsError
from huaxiang.settings import CleanSettings


def born(*years: int | None) -> list[dict[str, Any]]:
    return [{"user_id": f"u{number}", "birth_year": year} for number, year in enumerate(years)]


@pytest.mark.parametrize(
    ("how", "value"),
    [
        pytest.param({"how": "constant", "value": 1999}, 1999, id="constant"),
        pytest.param({"how": "mean"}, 1984, id="mean"),  # (1980 + 1980 + 1992) / 3
        pytest.param({"how": "median"}, 1980, id="median"),
        pytest.param({"how": "mode"}, 1980, id="mode"),
        pytest.param({"how": "leave"}, None, id="leave"),
    ],
)
def test_hole_is_filled_as_asked_and_flagged(shop: Any, how: dict[str, Any], value: int | None) -> None:
    shop.collect(users=born(1980, 1980, 1992, None))
    report = shop.clean(missing={"users.birth_year": how})
    rows = shop.rows("clean.users")
    assert [row["birth_year"] for row in rows] == [1980, 1980, 1992, value]
    assert [row["filled"] for row in rows] == [[], [], [], ["birth_year"] if value else []]
    column = report.tables["users"].column("birth_year")
    assert (column.filled, column.before.missing, column.after.missing) == ((1, 1, 0) if value else (0, 1, 1))


def test_impossible_value_is_emptied_before_holes_are_filled(shop: Any) -> None:
    shop.collect(users=born(1980, 1984, 1700))
    shop.clean(missing={"users.birth_year": {"how": "mean"}})
    assert [row["birth_year"] for row in shop.rows("clean.users")] == [1980, 1984, 1982]


def test_words_take_a_constant_or_the_mode(shop: Any) -> None:
    shop.collect(
        users=[
            {"user_id": "a", "city": "Bath"},
            {"user_id": "b", "city": "O'Hare"},
            {"user_id": "c", "city": "Bath"},
            {"user_id": "d"},
        ]
    )
    shop.clean(missing={"users.city": {"how": "mode"}, "users.country": {"how": "constant", "value": "Côte d'Ivoire"}})
    assert [(row["city"], row["country"]) for row in shop.rows("clean.users")][3] == ("Bath", "Côte d'Ivoire")


def test_most_recent_and_interpolation_follow_the_user_in_time(shop: Any, make_event: Any) -> None:
    def rated(user: str, hour: int, rating: float | None, device: str | None = None) -> dict[str, Any]:
        return make_event(user_id=user, event="review", ts=datetime(2024, 5, 1, hour), rating=rating, device=device)

    shop.collect(
        events=[
            rated("ada", 0, None),
            rated("ada", 2, 1.0, "phone"),
            rated("ada", 3, None),
            rated("ada", 6, 5.0, "desk"),
            rated("ada", 9, None),
            rated("bob", 4, None),
        ]
    )
    shop.clean(missing={"events.rating": {"how": "interpolate"}, "events.device": {"how": "most_recent"}})
    rows = shop.rows("clean.events")
    # a quarter of the way from 1 to 5; nothing is invented before the first value or after the last
    assert [row["rating"] for row in rows] == [None, 1.0, 2.0, 5.0, None, None]
    assert [row["device"] for row in rows] == [None, "phone", "phone", "desk", "desk", None]
    assert rows[2]["filled"] == ["device", "rating"] or rows[2]["filled"] == ["rating", "device"]


def test_model_fills_from_the_other_columns(shop: Any) -> None:
    # students are young and retirees old: a model must tell them apart, which a mean cannot
    users = [
        {
            "user_id": f"u{n}",
            "occupation": "student" if n % 2 else "retired",
            "birth_year": (2003 if n % 2 else 1950) + n % 3,
        }
        for n in range(60)
    ]
    holes = [{"user_id": "s", "occupation": "student"}, {"user_id": "r", "occupation": "retired"}]
    shop.collect(users=users + holes)
    shop.clean(missing={"users.birth_year": {"how": "model"}})
    found = {row["user_id"]: row["birth_year"] for row in shop.rows("clean.users")}
    assert 2003 <= found["s"] <= 2005 and 1950 <= found["r"] <= 1952
    assert isinstance(found["s"], int)


def test_model_of_a_column_nobody_filled_leaves_it_empty(shop: Any) -> None:
    shop.collect(users=born(None, None))
    shop.clean(missing={"users.birth_year": {"how": "model"}})
    assert [row["birth_year"] for row in shop.rows("clean.users")] == [None, None]


@pytest.mark.parametrize(
    ("trim", "high"),
    [
        pytest.param({"how": "quantile", "by": 0.1}, 18.1, id="quantile"),  # place 8.1 of 0 … 9: 9 + 0.1 × (100 - 9)
        pytest.param({"how": "iqr", "by": 1.5}, 14.5, id="iqr"),  # q1 3.25, q3 7.75: 7.75 + 1.5 × 4.5
        pytest.param({"how": "mad", "by": 2.0}, 12.913, id="mad"),  # median 5.5, MAD 2.5: 5.5 + 2 × 1.4826 × 2.5
    ],
)
def test_outlier_becomes_the_bound_and_is_counted(shop: Any, trim: dict[str, Any], high: float) -> None:
    prices = [1.0, 2, 3, 4, 5, 6, 7, 8, 9, 100]
    shop.collect(items=[{"item_id": f"i{n}", "price": price} for n, price in enumerate(prices)])
    report = shop.clean(outliers={"items.price": trim})
    column = report.tables["items"].column("price")
    assert column.after.max == pytest.approx(high)
    assert column.trimmed == (2 if trim["how"] == "quantile" else 1)  # a quantile cuts on both sides
    assert column.trim is not None and column.trim.high == pytest.approx(high)


def test_outlier_bounds_that_would_flatten_everything_are_not_applied(shop: Any) -> None:
    shop.collect(items=[{"item_id": f"i{n}", "price": price} for n, price in enumerate([1.0, 1, 1, 1, 50])])
    report = shop.clean(outliers={"items.price": {"how": "mad"}})
    assert report.tables["items"].column("price").after.max == 50


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param({"missing": {"users.birthyear": {"how": "mean"}}}, "users.birth_year", id="unknown column"),
        pytest.param({"missing": {"users.phone": {"how": "mode"}}}, "no table has", id="personal column"),
        pytest.param(
            {"missing": {"users.city": {"how": "mean"}}}, "cannot be treated by how = 'mean'", id="mean of words"
        ),
        pytest.param(
            {"missing": {"items.price": {"how": "interpolate"}}}, "use one of", id="no time to interpolate over"
        ),
        pytest.param(
            {"missing": {"users.birth_year": {"how": "constant", "value": "old"}}},
            "is no int",
            id="constant of another type",
        ),
        pytest.param({"outliers": {"users.city": {"how": "iqr"}}}, "cannot be treated", id="outliers of words"),
        pytest.param({"outliers": {"events.price": {"how": "quantile"}}}, "by = 0.001", id="quantile of 3"),
        pytest.param({"skip": ("no_user",)}, "cannot be turned off", id="a rule that must hold"),
        pytest.param({"duplicate_by": ("user",)}, "events.user", id="duplicates by an unknown column"),
    ],
)
def test_impossible_setting_says_what_is_possible(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        CleanSettings.model_validate(settings)


def test_what_a_third_party_does_not_tell_is_not_filled(shop: Any) -> None:
    bought = {"source": "geo", "third_party": True, "user_id": "u0", "income_band": "high"}
    shop.collect(users=[*born(1980, 1992, None), bought])
    report = shop.clean(missing={"users.birth_year": {"how": "mean"}})
    assert [row["birth_year"] for row in shop.rows("clean.users")] == [1980, 1992, 1986, None]
    assert report.tables["users"].column("birth_year").filled == 1
