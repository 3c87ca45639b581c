"""What the profiles of one shop have in common: as-of, definitions, outcomes; read once, not once a customer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from huaxiang.engine import Lake
from huaxiang.profile.predicted import Outcome, find_outcomes
from huaxiang.profile.say import Text
from huaxiang.profile.traits import BY_NAME, Trait, format_by_unit
from huaxiang.settings import Settings

Row = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """The shop behind a profile. `definitions`: feature -> its entry in the build's note; `note`: of the profile step."""

    settings: Settings
    as_of: datetime
    definitions: Mapping[str, Row]
    outcomes: tuple[Outcome, ...]
    note: Row
    traits: tuple[Trait, ...]
    mine: tuple[str, ...]  # the shop's own features among the traits
    third_parties: frozenset[str]
    rules: str  # the [profile] settings as text: what this room makes changes with them
    behaviour: Row  # what the training says of the behaviour model ({}: there is none)

    @classmethod
    def of(cls, lake: Lake, settings: Settings) -> Context:
        """The context of the profiles in `lake`."""
        note, table = lake.note("profile"), lake.table("profiles")
        definitions = {feature["name"]: feature for feature in lake.note("build").get("features", [])}
        as_of = datetime.fromisoformat(note["as_of"].removesuffix("Z"))
        unused = set(note.get("unused", []))
        about = lake.note("train").get("behaviour", {})
        mine = [
            Trait(
                name,
                "behaviour",
                format_by_unit(str(about.get("unit") or "")),
                str(about.get("unit") or ""),
                "habit",
                days=0,
            )
            for name, about in definitions.items()
            if about.get("group") == "mine" and name not in BY_NAME and name in table.columns
        ]
        return cls(
            settings=settings,
            as_of=as_of,
            definitions=definitions,
            outcomes=tuple(_outcomes(lake, note)),
            note=note,
            traits=tuple(
                trait
                for trait in (*BY_NAME.values(), *mine)
                if trait.name in table.columns and trait.name not in unused
            ),
            mine=tuple(trait.name for trait in mine if trait.name not in unused),
            third_parties=frozenset(source.name for source in settings.collect if source.third_party),
            rules=json.dumps(settings.profile.model_dump(mode="json"), sort_keys=True),
            behaviour=about if about.get("status") == "trained" and "embedding" in table.columns else {},
        )

    @property
    def currency(self) -> str:
        return self.settings.shop.currency

    def unit(self, unit: str) -> str:
        """A unit as the document writes it: money in the shop's currency."""
        return self.currency if unit == "money" else unit

    def meaning(self, name: str) -> Text:
        """What a feature means, as its definition says ("" where it does not)."""
        about = self.definitions.get(name, {})
        english = str(about.get("meaning_en") or "")
        return {"en": english, "zh": str(about.get("meaning_zh") or "") or english}

    def version(self, name: str) -> str:
        """The version of a definition; of what this room makes, a hash of its rules."""
        about = self.definitions.get(name)
        if about is not None and about.get("version"):
            return str(about["version"])
        return hashlib.sha256(f"{name} {self.rules}".encode()).hexdigest()[:12]


def _outcomes(lake: Lake, note: Row) -> list[Outcome]:
    """The outcomes as the profile step found them: only those that have a column."""
    made = note.get("predicted", {})
    kinds = {name: about["kind"] for name, about in made.items()}
    return [replace(outcome, column=made[outcome.name]["column"]) for outcome in find_outcomes(lake, kinds, ())]
