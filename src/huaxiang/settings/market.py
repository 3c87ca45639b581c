"""[audiences.NAME]: a group of customers, by a condition over their traits and what they did."""

from __future__ import annotations

from pydantic import Field, field_validator

from huaxiang.settings.base import Section
from huaxiang.settings.every import AFTER_RUN, interval_of, nearest_every, tidy_every


class AudienceSettings(Section):
    """[audiences.leaving_gold]: who belongs is found anew by its schedule; who entered and left is kept."""

    when: str = Field(
        description="the condition, such as churn_30d > 0.6 and value_tier in ('gold', 'platinum') and not bought('coffee', days=30)"
    )
    every: str = Field(
        default=AFTER_RUN,
        description="when it is found anew: after_run (after each `huaxiang run`), by_hand, or an interval such as 15min, 6h, 1d, 2w, "
        "which `huaxiang audience refresh --due` looks after",
    )
    meaning: str = Field(default="", description="what it is for")
    meaning_zh: str = Field(default="", description="the meaning in Chinese; default: as in `meaning`")

    @field_validator("every")
    @classmethod
    def _is_schedule(cls, text: str) -> str:
        every = tidy_every(text)
        try:
            interval_of(every)
        except ValueError as error:
            raise ValueError(
                f"{text!r} is no schedule; did you mean {nearest_every(text)}? (after_run, by_hand, 15min, 6h, 1d, 2w)"
            ) from error
        return every
