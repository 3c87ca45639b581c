"""[profile]: the rules of lifecycle stage, value tier and tags, and how sure and how fresh a trait is."""

from __future__ import annotations

from pydantic import Field, model_validator

from huaxiang.settings.base import Section


class TagSettings(Section):
    """[profile.tags.coffee_lover]: a tag of the shop's own, given where `when` holds."""

    when: str = Field(
        description="a condition on the columns of `profiles`, such as spend_90d > 100 and orders_90d >= 3"
    )
    en: str = Field(default="", description="its name in English")
    zh: str = Field(default="", description="its name in Chinese")


class ProfileSettings(Section):
    new_days: int = Field(default=30, ge=1, description="first purchase at most this long ago: new")
    active_days: int = Field(default=30, ge=1, description="last purchase at most this long ago: active")
    at_risk_days: int = Field(default=60, ge=1, description="… at most this long ago: at risk")
    dormant_days: int = Field(default=180, ge=1, description="… at most this long ago: dormant; longer: lost")
    rhythm_orders: int = Field(
        default=4, ge=2, description="from this many orders on, the limits follow the customer's own rhythm"
    )
    rhythm_patience: float = Field(
        default=2.0, gt=0, description="active while silent at most this many usual gaps (half to twice active_days)"
    )
    tiers: dict[str, float] = Field(
        default={"platinum": 0.05, "gold": 0.20, "silver": 0.50},
        description="value tiers: share of buyers, by spend of the last year, that reaches each; the rest are bronze",
    )
    expiry_days: int = Field(
        default=30,
        ge=1,
        description="a computed or predicted trait expires this long after its as-of day, or after its own window if shorter",
    )
    confidence_events: float = Field(
        default=5.0, gt=0, description="a habit seen in n events has confidence n / (n + this)"
    )
    third_party_confidence: float = Field(
        default=0.7, ge=0, le=1, description="confidence of an attribute from a third party"
    )
    likes_share: float = Field(
        default=0.15, gt=0, le=1, description="a category with at least this share of a customer's taste becomes a tag"
    )
    tags: dict[str, TagSettings] = Field(default_factory=dict, description="tags of the shop's own")

    @model_validator(mode="after")
    def _in_order(self) -> ProfileSettings:
        if not self.active_days <= self.at_risk_days <= self.dormant_days:
            raise ValueError("active_days, at_risk_days and dormant_days must not fall")
        shares = list(self.tiers.values())
        if shares != sorted(shares) or not all(0 < share <= 1 for share in shares):
            raise ValueError(
                "tiers are shares above 0 and at most 1, each larger than the one before, the best tier first"
            )
        if {"bronze", "none"} & set(self.tiers):
            raise ValueError("bronze and none are what remains: give no share to them")
        return self
