"""The published JSON Schema (2020-12) of a profile document."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def profile_schema() -> dict[str, Any]:
    """The schema, as parsed JSON."""
    found: dict[str, Any] = json.loads(
        files("huaxiang.profile").joinpath("profile.schema.json").read_text(encoding="utf-8")
    )
    return found
