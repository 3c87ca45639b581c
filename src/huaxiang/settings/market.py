"""[audiences.NAME]: a group of customers, by a condition over their traits and what they did."""

from __future__ import annotations

from pydantic import Field

from huaxiang.settings.base import Section


class AudienceSettings(Section):
    """[audiences.leaving_gold]: who belongs is found anew after each `huaxiang profile`; who entered and left is kept."""

    when: str = Field(
        description="the condition, such as churn_30d > 0.6 and value_tier in ('gold', 'platinum') and not bought('coffee', days=30)"
    )
    meaning: str = Field(default="", description="what it is for")
    meaning_zh: str = Field(default="", description="the meaning in Chinese; default: as in `meaning`")
