"""What the features and outcomes of a shop are called: the catalogue's name, else what their definition says they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from huaxiang.engine import Lake
from huaxiang.profile.say import Text, label_of, say_feature
from huaxiang.words import LANGS, Words


@dataclass(frozen=True)
class Names:
    """Of the last build. meanings, units: by name, of its features and outcomes."""

    meanings: dict[str, Text] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, lake: Lake) -> Names:
        note = lake.note("build")
        meanings: dict[str, Text] = {}
        units: dict[str, str] = {}
        for about in (*note.get("features", []), *note.get("outcomes", [])):
            name, english = str(about["name"]), str(about.get("meaning_en") or "")
            if english:
                meanings[name] = meanings[f"{name}_predicted"] = {
                    "en": english,
                    "zh": str(about.get("meaning_zh") or "") or english,
                }
            units[name] = str(about.get("unit") or "")
        return cls(meanings, units)

    def label(self, name: str) -> Text:
        """The name a person reads, in both languages."""
        said = self.meanings.get(name)
        if said is None or Words("en").has(f"traits.{name}"):
            return label_of(name)
        return {lang: said[lang][:1].upper() + said[lang][1:] for lang in LANGS}

    def value(self, name: str, value: Any, currency: str) -> Text:
        """A value of the feature as its unit is written."""
        return say_feature(name, value, self.units.get(name, ""), currency)
