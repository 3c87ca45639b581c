"""[train]: as-of dates, folds and the seed of the exam; what acting on a user is worth."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from huaxiang.settings.base import Section

Zoo = Literal["quick", "full"]


class TrainSettings(Section):
    seed: int = Field(default=20260101, description="of every split and model")
    zoo: Zoo = Field(
        default="quick",
        description="quick: models on features, and a head on the behaviour model's vector; full: also networks over events and gradient boosting over features and vector, several times as long",
    )
    as_of_count: int = Field(default=6, ge=2, description="training dates before the validation date")
    as_of_step_days: int = Field(default=28, ge=1, description="days from one training date to the next")
    folds: int = Field(default=5, ge=2, description="of the cross-validation, whole users together")
    max_rows: int = Field(default=200_000, ge=100, description="rows of a training set; more are sampled by user")
    min_labels: int = Field(default=50, ge=10, description="labels below which an outcome is skipped")
    margin: float = Field(
        default=0.01, ge=0, lt=1, description="share of the baseline's loss a model must save on validation data"
    )
    interval: float = Field(
        default=0.9, gt=0.5, lt=1, description="share of users whose true number the interval should hold"
    )
    value: float = Field(default=10.0, description="default value of acting on a true case, in money")
    cost: float = Field(default=1.0, description="default cost of acting on one user, in money")
