"""Whether the texts that a condition compares traits with are values those traits take: a misspelt one would hold for nobody.

Stages, tiers and answers that the catalogue or the shop declares are closed lists: another value is an error. Of any other trait
what counts is whether some customer has the value: where none has, that is said beside the preview, and the nearest one named.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from huaxiang.engine.duck import quote
from huaxiang.features.nodes import Node
from huaxiang.profile.lifecycle import STAGES
from huaxiang.profile.say import label_of
from huaxiang.profile.traits import BY_NAME, DECLARED
from huaxiang.settings import ProfileSettings
from huaxiang.words import Lang, Words, catalogue

SAID = {"value_tier": "tier"}  # by what name the catalogue keeps the words of its values
LOOKED = 2000  # values of a trait, the most frequent first, among which the nearest is looked for
TOLD = 12  # values that are listed where none is near


@dataclass(frozen=True)
class Unheld:
    """A value that no customer has, or a word of a function that stands for nothing in this shop. trait: or the function; near: the
    nearest that some have (""), else `have` lists a few."""

    trait: str
    value: str
    near: str
    have: tuple[str, ...] = ()
    called: bool = False

    def say(self, lang: Lang) -> str:
        words = Words(lang)
        kind = self.trait if self.trait in ("consents", "on_list") else "item" if self.called else "value"
        said = words(
            f"market.unheld.{kind}",
            trait=self.trait if self.called else label_of(self.trait)[lang],
            value=repr(self.value),
        )
        if self.near:
            return said + words("market.unheld.near", near=repr(self.near))
        return said + (words("market.unheld.have", have=", ".join(self.have)) if self.have else "")


def value_name(trait: str, value: str, words: Words) -> str:
    """A trait's value as the profile says it."""
    return words.either(_key(trait, value), value)


def _key(trait: str, value: str) -> str:
    """Where the catalogue keeps the words of a value."""
    format = BY_NAME[trait].format if trait in BY_NAME else DECLARED.get(trait)
    return f"profile.word.{value.strip().lower()}" if format == "word" else f"profile.{SAID.get(trait, trait)}.{value}"


def closed_values(rules: ProfileSettings) -> dict[str, tuple[str, ...]]:
    """The traits whose values are declared, with these."""
    return {"lifecycle": STAGES, "value_tier": (*rules.tiers, "bronze", "none")}


def compared_texts(node: Node | None) -> Iterator[tuple[str, str]]:
    """Each (trait, text) that the condition compares by ==, != or in."""
    for one in node.walk() if node is not None else ():
        if one.op in ("eq", "ne", "in") and isinstance(one.args[0], Node) and one.args[0].op == "column":
            for other in one.args[1:]:
                if other.op == "const" and isinstance(other.args[1], str):
                    yield one.args[0].args[0], other.args[1]


def nearest(trait: str, value: str, known: Iterable[str]) -> str:
    """The one of `known` that `value` is most like, as it is written or as it is said in either language ("": none)."""
    said = {one.casefold(): one for one in known}
    for one in list(said.values()):
        for text in catalogue().get(_key(trait, one), {}).values():
            said.setdefault(text.casefold(), one)
    close = difflib.get_close_matches(value.casefold(), said, n=1)
    return said[close[0]] if close else next((one for text, one in said.items() if _beside(value, text)), "")


def _beside(value: str, other: str) -> bool:
    """Whether two words of two letters each, no Latin ones, differ in one: 茶也, 茶叶. Of so few the usual measure finds too little alike."""
    if not len(value) == len(other) == 2 or value.isascii():
        return False
    return sum(one != two for one, two in zip(value, other, strict=True)) == 1


def held_sql(trait: str, values: Collection[str], profiles: str) -> str:
    """SQL of those of `values` that a customer has. profiles: SQL of the table."""
    return f'SELECT DISTINCT "{trait}" AS value FROM ({profiles}) WHERE "{trait}" IN ({", ".join(map(quote, values))})'


def words_sql(items: str) -> str:
    """SQL of what items are called, in few words: the levels of their categories, their brands, their titles."""
    levels = f"SELECT unnest(string_split(category, ' > ')) AS value FROM ({items})"
    named = f"SELECT unnest([brand, title]) AS value FROM ({items})"
    return (
        f"SELECT value FROM ({levels} UNION ALL {named}) WHERE value IS NOT NULL GROUP BY 1 "
        f"ORDER BY count(*) DESC, 1 LIMIT {LOOKED}"
    )


def frequent_sql(trait: str, profiles: str) -> str:
    """SQL of the trait's values, the most frequent first."""
    return (
        f'SELECT "{trait}" AS value FROM ({profiles}) WHERE "{trait}" IS NOT NULL GROUP BY 1 '
        f"ORDER BY count(*) DESC, 1 LIMIT {LOOKED}"
    )
