"""[features]: features of the shop's own beside the standard set; [outcomes]: what to predict."""

from __future__ import annotations

from pydantic import Field

from huaxiang.settings.base import Section


class FeatureSettings(Section):
    """[features.mine.spend_weekend]: one feature, declared as data."""

    agg: str = Field(
        description="count, sum, mean, min, max, first, last, any, distinct, ratio, share, trend, top, streak … (howto-features)"
    )
    column: str = Field(default="", description="column aggregated")
    where: str = Field(
        default="", description="only events where this holds, such as event == 'purchase' and price > 100"
    )
    window: str = Field(default="", description="such as 30d; empty: all history")
    half_life: str = Field(
        default="", description="age that halves an event's weight, for decayed_sum and top; such as 30d"
    )
    k: int | None = Field(default=None, description="entries of a top list, or of a sequence")
    q: float | None = Field(default=None, description="which quantile, 0 to 1")
    bands: tuple[float, ...] = Field(default=(), description="edges between the bands of price_bands, rising")
    top: str = Field(default="", description="for ratio: the feature above the line")
    bottom: str = Field(default="", description="for ratio: the feature below the line")
    unit: str = Field(default="", description="shown beside the value")
    meaning: str = Field(default="", description="what it says of a customer")
    owner: str = Field(default="", description="who to ask about it")


class OutcomeSettings(Section):
    """[outcomes.churn_30d]: the same algebra looking forward, or a declared attribute of users."""

    agg: str = Field(default="any", description="any, none, count, sum, or first (of the next such event)")
    column: str = Field(default="", description="column summed, or taken of the first event: a text makes classes")
    bands: tuple[float, ...] = Field(
        default=(), description="edges that make classes of a number, such as [5, 20]: below 5, 5 to 20, from 20 on"
    )
    where: str = Field(default="", description="events that count")
    within: str = Field(default="", description="how far ahead, such as 30d")
    among: str = Field(
        default="", description="only users for whom this holds at the as-of time, such as purchases_90d > 0"
    )
    attribute: str = Field(
        default="",
        description="a declared attribute to predict for users who did not declare it, such as users.age_band",
    )
    meaning: str = Field(default="", description="what is predicted")
    meaning_zh: str = Field(default="", description="the meaning in Chinese; default: as in `meaning`")
    value: float | None = Field(
        default=None, description="what acting on a true case brings, in money (for the business figure)"
    )
    cost: float | None = Field(default=None, description="what acting on one user costs, in money")


class FeaturesSection(Section):
    standard: bool = Field(default=True, description="compute the standard shop set")
    skip: tuple[str, ...] = Field(default=(), description="standard features not wanted")
    session_gap_min: int = Field(default=30, ge=1, description="minutes without an event that end a session")
    mine: dict[str, FeatureSettings] = Field(default_factory=dict)
