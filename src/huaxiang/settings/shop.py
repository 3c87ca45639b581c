"""[shop]: name, language, money, zone, and how much of the machine to use."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from huaxiang.settings.base import Section


class ShopSettings(Section):
    name: str = Field(default="My shop", description="the shop, as its reports name it")
    language: Literal["en", "zh"] = Field(default="en", description="of reports: en or zh")
    currency: str = Field(default="CNY", description="ISO 4217 code of every money column")
    timezone: str = Field(default="UTC", description="the shop's zone: hours, weekdays and days are the shop's")
    engine: Literal["duckdb", "spark"] = Field(
        default="duckdb", description="what builds, predicts and profiles: duckdb, or spark (see [spark])"
    )
    memory_gb: float = Field(default=1.5, gt=0.1, description="limit of the query engine")
    threads: int = Field(default=2, ge=1, description="cores to work with")
    as_of: str = Field(
        default="", description="profiles as of this day (YYYY-MM-DD); empty: the day after the last event"
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{zone!r} is no time zone; write one such as Asia/Shanghai or UTC") from error
        return zone
