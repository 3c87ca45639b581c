"""[contact]: whom a campaign may reach, over which channel, how often and when."""

from __future__ import annotations

from datetime import time

from pydantic import Field, field_validator

from huaxiang.settings.base import Section


class ContactSettings(Section):
    purposes: tuple[str, ...] = Field(
        default=("marketing", "marketing_{channel}", "{channel}"),
        description="consents any one of which allows a message; {channel} is the campaign's channel",
    )
    unknown: bool = Field(default=False, description="whether customers whose consent is not recorded may be reached")
    most: int = Field(default=2, ge=0, description="messages a customer gets at most within within_days")
    within_days: int = Field(default=7, ge=1, description="days that `most` counts over")
    quiet_from: str = Field(default="21:00", description="no message is sent from this hour, in the shop's zone …")
    quiet_until: str = Field(default="09:00", description="… until this one; the same hour twice: never quiet")
    suppress: str = Field(
        default="", description="file of customers never to reach, one id a line, relative to the shop folder"
    )

    @field_validator("quiet_from", "quiet_until")
    @classmethod
    def _is_hour(cls, text: str) -> str:
        try:
            time.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no time of day; write one such as 21:00") from error
        return text
