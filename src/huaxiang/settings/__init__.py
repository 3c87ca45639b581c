"""huaxiang.toml, read once at the edge into one frozen `Settings`; unknown names are errors with a "did you mean".

Each section lives in its own module here; `HUAXIANG_SHOP__MEMORY_GB=4` overrides `[shop] memory_gb`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

import tomlkit
from pydantic import BaseModel, Field, ValidationError

from huaxiang.errors import SettingsError
from huaxiang.settings.base import Section
from huaxiang.settings.behaviour import BehaviourSettings
from huaxiang.settings.clean import CleanSettings
from huaxiang.settings.collect import ColumnFrom, DoorSettings, SourceSettings, TableFrom
from huaxiang.settings.contact import ContactSettings
from huaxiang.settings.features import FeatureSettings, FeaturesSection, OutcomeSettings
from huaxiang.settings.guard import GuardSettings, RuleSettings
from huaxiang.settings.live import LiveSettings
from huaxiang.settings.market import AudienceSettings
from huaxiang.settings.models import ModelSettings
from huaxiang.settings.profile import ProfileSettings
from huaxiang.settings.pull import PullSettings
from huaxiang.settings.recommend import RecommendSettings
from huaxiang.settings.shop import ShopSettings
from huaxiang.settings.spark import SparkSettings, SparkTables
from huaxiang.settings.train import TrainSettings

__all__ = [
    "AudienceSettings",
    "BehaviourSettings",
    "CleanSettings",
    "ColumnFrom",
    "ContactSettings",
    "DoorSettings",
    "FeatureSettings",
    "FeaturesSection",
    "GuardSettings",
    "LiveSettings",
    "ModelSettings",
    "OutcomeSettings",
    "ProfileSettings",
    "PullSettings",
    "RecommendSettings",
    "RuleSettings",
    "Settings",
    "ShopSettings",
    "SourceSettings",
    "SparkSettings",
    "SparkTables",
    "TableFrom",
    "TrainSettings",
    "add_entry",
    "drop_entry",
    "load_settings",
]


class Settings(Section):
    shop: ShopSettings = ShopSettings()
    door: DoorSettings = DoorSettings()
    collect: tuple[SourceSettings, ...] = ()
    clean: CleanSettings = CleanSettings()
    features: FeaturesSection = FeaturesSection()
    outcomes: dict[str, OutcomeSettings] = Field(default_factory=dict)
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    train: TrainSettings = TrainSettings()
    behaviour: BehaviourSettings = BehaviourSettings()
    profile: ProfileSettings = ProfileSettings()
    recommend: RecommendSettings = RecommendSettings()
    audiences: dict[str, AudienceSettings] = Field(default_factory=dict)
    guard: GuardSettings = GuardSettings()
    contact: ContactSettings = ContactSettings()
    live: LiveSettings = LiveSettings()
    spark: SparkSettings = SparkSettings()


def load_settings(path: Path, environ: Mapping[str, str], *, text: str | None = None) -> Settings:
    """The settings of the file at `path`, overridden by `HUAXIANG_SECTION__NAME` in `environ`; raises SettingsError.

    text: what to take for the file's content
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8") if text is None else text)
    except FileNotFoundError as error:
        raise SettingsError("settings.missing", path=path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("settings.not_toml", path=path, detail=error) from error
    for name, value in environ.items():
        if name.startswith("HUAXIANG_") and name != "HUAXIANG_LANG":
            if "__" not in name:
                raise SettingsError("settings.unknown_variable", name=name)
            section, _, key = name.removeprefix("HUAXIANG_").lower().partition("__")
            part = given.setdefault(section, {})
            if isinstance(part, dict):
                part[key] = _plain(value)
    return check_settings(given, path)


def add_entry(text: str, place: tuple[str, ...], entry: Mapping[str, Any]) -> str:
    """The TOML `text` with the table at `place` holding `entry` (empty values left out); all else, comments too, as it was."""
    document = tomlkit.parse(text)
    table: Any = document
    for depth, part in enumerate(place):
        if part not in table:
            table[part] = tomlkit.table(is_super_table=depth < len(place) - 1)
        table = table[part]
    table.clear()
    table.update({name: value for name, value in entry.items() if value not in ("", None, ())})
    return tomlkit.dumps(document)


def drop_entry(text: str, place: tuple[str, ...]) -> str:
    """The TOML `text` without the table at `place` (and without those around it that are empty then)."""
    document = tomlkit.parse(text)
    around: list[Any] = [document]
    for part in place[:-1]:
        around.append(around[-1][part])
    for table, part in zip(reversed(around), reversed(place), strict=True):
        if part == place[-1] or not table[part]:
            del table[part]
    return tomlkit.dumps(document)


def check_settings(given: dict[str, Any], path: Path) -> Settings:
    """`given` as Settings; raises SettingsError naming the first wrong name or value."""
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            name = str(first["loc"][-1])
            near = difflib.get_close_matches(name, _names_at(first["loc"][:-1]), n=1)
            if near:
                raise SettingsError("settings.unknown_near", path=path, place=place, near=near[0]) from error
            known = ", ".join(_names_at(first["loc"][:-1]))
            raise SettingsError("settings.unknown", path=path, place=place, known=known) from error
        raise SettingsError(
            "settings.wrong", path=path, place=place, value=first.get("input"), detail=first["msg"]
        ) from error


def _plain(value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _names_at(place: tuple[int | str, ...]) -> list[str]:
    """The names that may stand in the section at `place`."""
    model: Any = Settings
    key_follows = False  # a mapping's key names no field: the next part is inside its value
    for part in place:
        if isinstance(part, int) or key_follows or not (isinstance(model, type) and issubclass(model, BaseModel)):
            key_follows = False
            continue
        field = next((field for name, field in model.model_fields.items() if part in (name, field.alias)), None)
        key_follows = field is not None and get_origin(field.annotation) is dict
        model = _section_in(field.annotation) if field else None
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [field.alias or name for name, field in model.model_fields.items()]
    return []


def _section_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(_section_in, getattr(annotation, "__args__", ())) if found), None)
