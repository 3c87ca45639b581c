"""[clean]: what is impossible, what is a robot, how holes are filled and outliers drawn in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from huaxiang.settings.base import Section

Fill = Literal["leave", "constant", "mean", "median", "mode", "most_recent", "interpolate", "model"]
Trim = Literal["none", "quantile", "iqr", "mad"]


class FillSettings(Section):
    """[clean.missing."users.birth_year"]"""

    how: Fill
    value: str | float | None = Field(default=None, description="for how = constant")


class TrimSettings(Section):
    """[clean.outliers."events.price"]: values beyond the bound become the bound."""

    how: Trim
    by: float = Field(default=3.0, description="quantile: share cut on each side (0.001); iqr, mad: how many of them")


class CleanSettings(Section):
    earliest: str = Field(default="1995-01-01", description="events before this day are impossible")
    latest: str = Field(default="", description="events after this day are impossible; empty: the moment of cleaning")
    max_age: int = Field(default=110, description="birth years that make an older user are impossible")
    robot_per_minute: int = Field(default=120, description="more events in one minute than a person can make")
    robot_per_day: int = Field(default=5000, description="more events in one day than a person can make")
    drop_test: bool = True
    drop_robots: bool = True
    missing: dict[str, FillSettings] = Field(default_factory=dict)
    outliers: dict[str, TrimSettings] = Field(default_factory=dict)
