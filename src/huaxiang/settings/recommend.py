"""[recommend]: what may be shown, where."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from huaxiang.settings.base import Section


class RecommendSettings(Section):
    count: int = Field(default=10, ge=1, le=100, description="items of a list")
    window_days: int = Field(default=14, ge=1, description="what is learned: what customers buy within so many days")
    owned: Literal["auto", "show", "drop"] = Field(
        default="auto",
        description="what a customer bought before: drop leaves it to the place `again`; auto: show where a tenth of purchases or more repeat",
    )
    again_from: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="the place `again` leaves out what is less likely than this to be bought again within two weeks (0: nothing)",
    )
    per_category: int = Field(default=3, ge=0, description="items of one category in a list, at most (0: any number)")
    variety: float = Field(
        default=0.1, ge=0, le=1, description="how much an item loses for being like those above it (0: nothing)"
    )
    explore: float = Field(
        default=0.0, ge=0, le=0.5, description="share of places left to chance, so that one can learn from them"
    )
    price_from: float | None = Field(default=None, description="cheaper items are not shown, in money")
    price_to: float | None = Field(default=None, description="dearer items are not shown, in money")
    never: tuple[str, ...] = Field(default=(), description="ids of items that are never shown")
