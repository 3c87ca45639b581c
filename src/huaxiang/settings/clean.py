"""[clean]: what is impossible, what is a robot, how holes are filled and outliers drawn in."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import Literal

from pydantic import Field, field_validator, model_validator

from huaxiang.errors import SettingsError
from huaxiang.settings.base import Section
from huaxiang.tables import TABLES, Column

Fill = Literal["leave", "constant", "mean", "median", "mode", "most_recent", "interpolate", "model"]
Trim = Literal["none", "quantile", "iqr", "mad"]

NUMERIC = ("int", "float")
# Rules a shop may turn off; the others keep the promises of clean.* and always hold.
OPTIONAL_RULES = (
    "duplicate_event_id",
    "duplicate_row",
    "impossible_time",
    "impossible_birth_year",
    "negative_price",
    "test_account",
    "robot",
    "self_relation",
)


class FillSettings(Section):
    """[clean.missing."users.birth_year"]"""

    how: Fill = Field(description="leave, constant, mean, median, mode, most_recent, interpolate or model")
    value: str | float | None = Field(default=None, description="for how = constant")


class TrimSettings(Section):
    """[clean.outliers."events.price"]: values beyond the bound become the bound."""

    how: Trim = Field(description="quantile, iqr or mad")
    by: float = Field(
        default=3.0, gt=0, description="quantile: share cut on each side (0.001); iqr, mad: how many of them"
    )


class CleanSettings(Section):
    earliest: str = Field(default="1995-01-01", description="events before this day are impossible")
    latest: str = Field(default="", description="events after this day are impossible; empty: the moment of cleaning")
    max_age: int = Field(default=110, description="birth years that make an older user are impossible")
    robot_per_minute: int = Field(default=120, ge=1, description="more acts in one minute than a person can make")
    robot_per_day: int = Field(default=5000, ge=1, description="more acts in one day than a person can make")
    drop_test: bool = Field(default=True, description="quarantine the events of test accounts")
    drop_robots: bool = Field(default=True, description="quarantine the events of users faster than a person can be")
    duplicate_by: tuple[str, ...] = Field(
        default=(
            "user_id",
            "anonymous_id",
            "event",
            "item_id",
            "order_id",
            "quantity",
            "amount",
            "coupon_id",
            "campaign_id",
            "text",
            "rating",
            "ts",
        ),
        description="events alike in all of these (ts to the second; an order line also where one export cut it to the minute) are one event; shorten to be stricter",
    )
    unknown_items: Literal["keep", "quarantine"] = Field(
        default="keep", description="events on items that are not in the items table: keep and report, or quarantine"
    )
    skip: tuple[str, ...] = Field(default=(), description="rules not applied, such as duplicate_row")
    timely_hours: float = Field(default=24.0, gt=0, description="an event learned of within this time is timely")
    missing: dict[str, FillSettings] = Field(default_factory=dict)
    outliers: dict[str, TrimSettings] = Field(default_factory=dict)

    @field_validator("earliest", "latest")
    @classmethod
    def _a_day(cls, day: str) -> str:
        if day:
            try:
                datetime.fromisoformat(day)
            except ValueError as error:
                raise ValueError(f"{day!r} is no day; write one such as 2015-01-31") from error
        return day

    @model_validator(mode="after")
    def _possible(self) -> CleanSettings:
        for rule in self.skip:
            if rule not in OPTIONAL_RULES:
                raise SettingsError("clean.rule_not_optional", rule=rule, known=", ".join(OPTIONAL_RULES))
        for name in self.duplicate_by:
            _find("clean.duplicate_by", f"events.{name}")
        for place, fill in self.missing.items():
            _check_fill(place, fill)
        for place, trim in self.outliers.items():
            column = _find("clean.outliers", place)
            if trim.how != "none" and column.type not in NUMERIC:
                raise SettingsError("clean.how_impossible", place=place, how=trim.how, type=column.type, can="none")
            if trim.how == "quantile" and trim.by >= 0.5:
                raise SettingsError("clean.quantile_impossible", place=place, by=trim.by)
        return self


def fills_for(table: str, column: Column) -> tuple[str, ...]:
    """The ways in which holes of this column can be filled."""
    ways = ["leave"]
    if column.required or column.pseudonym or column.type in ("json", "strings", "floats"):
        return tuple(ways)
    ways += ["mode"] if column.type == "timestamp" else ["constant", "mode"]
    if column.type in NUMERIC:
        ways += ["mean", "median", "model"]
    if table in ("events", "users"):
        ways.append("most_recent")
    if table == "events" and column.type in NUMERIC:
        ways.append("interpolate")
    return tuple(ways)


def _check_fill(place: str, fill: FillSettings) -> None:
    column = _find("clean.missing", place)
    can = fills_for(place.partition(".")[0], column)
    if fill.how not in can:
        raise SettingsError("clean.how_impossible", place=place, how=fill.how, type=column.type, can=", ".join(can))
    if fill.how == "constant":
        fits = fill.value is not None and (column.type not in NUMERIC or isinstance(fill.value, float))
        if not fits:
            raise SettingsError("clean.constant_wrong", place=place, value=fill.value, type=column.type)


def _find(section: str, place: str) -> Column:
    table, _, name = place.partition(".")
    column = TABLES[table].column(name) if table in TABLES else None
    if column is None or column.personal:
        known = [f"{found.name}.{stored.name}" for found in TABLES.values() for stored in found.stored]
        near = difflib.get_close_matches(place, known, n=1, cutoff=0.5)
        raise SettingsError(
            "clean.unknown_column", section=section, place=place, near=near[0] if near else "users.birth_year"
        )
    return column
