"""[models.NAME]: a model brought as an ONNX file; `huaxiang model add` writes the entry."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from huaxiang.settings.base import Section


class ModelSettings(Section):
    """[models.mine]: a model of the shop's own, made elsewhere, that takes the exam of an outcome beside the zoo."""

    outcome: str = Field(description="the outcome it predicts, as [outcomes] names it")
    file: str = Field(
        default="", description="the file's name when it was added; what runs is the copy in models/brought"
    )
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$", description="hash of the file: models/brought/<sha256>.onnx, checked before it runs"
    )
    features: tuple[str, ...] = Field(min_length=1, description="the features it takes, in its own order")
    output: Literal["probability", "logit", "number"] = Field(default="probability", description="what it answers")
    labels: tuple[str, ...] = Field(
        default=(), description="of an outcome with classes: the classes in the order of its answers"
    )
    nan: bool = Field(
        default=False, description="it takes missing values (NaN) itself; otherwise they become training medians"
    )
