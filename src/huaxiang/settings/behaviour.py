"""[behaviour]: the model that is pre-trained on every customer's events."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from huaxiang.settings.base import Section

Size = Literal["auto", "off", "tiny", "small", "base", "large"]


class BehaviourSettings(Section):
    size: Size = Field(
        default="auto",
        description="off: no pre-training; auto, by the events that it learns from (those that `reads` leaves): tiny below 50,000, base from 10 million on, small between; large needs a GPU",
    )
    content: Literal["auto", "title", "off"] = Field(
        default="auto",
        description="what items are like, as vectors. auto: the column content_vector of items, where the shop has one; title: made of titles (pip install 'huaxiang[text]'); off: none",
    )
    reads: int = Field(
        default=1_000_000,
        ge=1,
        description="events read in all epochs together, about; where an epoch has more, of each customer the last ones, 50 at least",
    )
    epochs: int = Field(default=20, ge=1, description="epochs at most")
    processes: int = Field(
        default=1,
        ge=1,
        description="training processes on this machine (torchrun); each on a GPU where there are as many, else all on processors",
    )
    threads: int = Field(default=2, ge=1, description="processor threads of each training process")
    next_items: int = Field(default=10, ge=1, le=100, description="items a profile lists as likely next")
    similar: int = Field(default=5, ge=1, le=100, description="customers a profile names as most alike")
