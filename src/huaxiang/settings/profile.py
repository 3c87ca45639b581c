"""[profile]: the rules of lifecycle stage and value tier, and how long a trait stays fresh."""

from __future__ import annotations

from pydantic import Field

from huaxiang.settings.base import Section


class ProfileSettings(Section):
    new_days: int = Field(default=30, description="first purchase at most this long ago: new")
    active_days: int = Field(default=30, description="last purchase at most this long ago: active")
    at_risk_days: int = Field(default=60, description="… at most this long ago: at risk")
    dormant_days: int = Field(default=180, description="… at most this long ago: dormant; longer: lost")
    tiers: dict[str, float] = Field(
        default={"platinum": 0.05, "gold": 0.20, "silver": 0.50},
        description="value tiers: share of buyers, by spend of the last year, that reaches each; the rest are bronze",
    )
    expiry_days: int = Field(default=30, description="a computed trait expires this long after its as-of day")
