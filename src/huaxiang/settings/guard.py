"""[guard]: from which risk on a customer is looked at, and the shop's own rules."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from huaxiang.settings.base import Section


class RuleSettings(Section):
    """[guard.rules.serial_returner]: what to do where `when` holds. Rules are asked in their order; the first that holds decides."""

    when: str = Field(
        min_length=1,
        description="a condition on the guard's signals and risks, such as refund_share > 0.5 and orders >= 5",
    )
    action: Literal["allow", "review", "block"] = Field(description="allow, review or block")
    reason: str = Field(default="", description="the code the decision carries; default: the rule's name")
    en: str = Field(default="", description="the reason in English")
    zh: str = Field(default="", description="the reason in Chinese")


class GuardSettings(Section):
    days: int = Field(default=365, ge=7, description="how far back the guard looks, in days")
    review_at: float = Field(
        default=0.6, gt=0, le=1, description="a customer of this risk or more is reviewed where no rule decides"
    )
    queue_most: int = Field(default=500, ge=1, description="open cases the review queue holds at most, the riskiest")
    rules: dict[str, RuleSettings] = Field(default_factory=dict, description="the shop's own rules, the first first")
