"""A row of `profiles` → the document that one key may read; and what its traits are called.

The document holds what changes by customer. Labels, units and meanings are the same for all: `GET /api/v1/traits` tells them once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from huaxiang.engine import Lake
from huaxiang.profile.because import write_time
from huaxiang.profile.context import Context
from huaxiang.profile.foreseen import EXPIRES_DAYS
from huaxiang.profile.names import Names
from huaxiang.profile.say import Text, label_of
from huaxiang.profile.trait_rows import KEPT_UNBOUGHT
from huaxiang.profile.traits import BUYING, DECLARED, SECTIONS, SectionName, expire, grow_confidence
from huaxiang.serve.api.roles import Group, group_of
from huaxiang.serve.profiles import Row
from huaxiang.settings import Settings

DAYS_AT_HAND = 64  # as-of times whose dates are kept: live rows of a day share one


@dataclass(frozen=True, slots=True)
class Described:
    """One trait as all customers have it. days: its window (0: all history; None: it does not expire)"""

    name: str
    section: SectionName
    group: Group
    source: str
    unit: str
    days: int | None
    label: Text
    meaning: Text
    habit: bool = False
    orders: str = ""
    least: int = 0
    confidence: str = ""  # the column that holds it
    unless: str = ""  # not told where the customer has said so themselves
    buying: bool = False  # not told of who never bought


@dataclass(frozen=True)
class Catalogue:
    """The traits of one shop, as of its last build. kinds: column of a prediction → binary, number or class"""

    traits: tuple[Described, ...]
    kinds: Mapping[str, str]
    third_parties: frozenset[str]
    third_party_confidence: float
    half: float
    expiry_days: int
    _by_groups: dict[frozenset[Group], tuple[Described, ...]] = field(default_factory=dict, compare=False)
    _by_day: dict[tuple[frozenset[Group], str], tuple[tuple[Described, str | None, bool], ...]] = field(
        default_factory=dict, compare=False
    )

    @classmethod
    def of(cls, lake: Lake, settings: Settings) -> Catalogue:
        """raises: ShopError where there are no profiles yet"""
        context, names = Context.of(lake, settings), Names.of(lake)
        kinds = {outcome.column: outcome.kind for outcome in context.outcomes}
        return cls(
            tuple(_describe(context, names, kinds, lake.table("profiles").columns)),
            kinds,
            context.third_parties,
            settings.profile.third_party_confidence,
            settings.profile.confidence_events,
            settings.profile.expiry_days,
        )

    def allowed(self, groups: frozenset[Group]) -> tuple[Described, ...]:
        """The traits of these groups."""
        if groups not in self._by_groups:
            self._by_groups[groups] = tuple(trait for trait in self.traits if trait.group in groups)
        return self._by_groups[groups]

    def may_read(self, column: str, groups: frozenset[Group]) -> bool:
        """Whether a column of `profiles` is open to these groups of traits."""
        if column in ("user_id", "as_of"):
            return True
        bare = column.removesuffix("_confidence")
        return group_of(bare if bare in self.kinds else column, self.kinds) in groups

    def document(self, row: Row, groups: frozenset[Group]) -> dict[str, Any]:
        """The profile in `row`, no more than the traits of these groups."""
        sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS[:-1]}
        as_of, sources, filled = str(row["as_of"]), row.get("sources") or {}, row.get("filled") or ()
        never_bought = not row.get("orders_total")
        for trait, expires, habit in self._dated(groups, as_of):
            name = trait.name
            value = row.get(name)
            if value is None or value == [] or value == "" or name in filled:
                continue
            if trait.buying and never_bought:
                continue
            source, confidence = trait.source, 1.0
            if habit:
                if trait.least and (row.get(trait.orders) or 0) < trait.least:
                    continue
                if trait.unless and row.get(trait.unless) not in (None, ""):
                    continue
                confidence = self._confidence(trait, value, row)
            elif source == "declared" and self.third_parties and sources.get(name) in self.third_parties:
                source, confidence = "third_party", self.third_party_confidence
            sections[trait.section][name] = {
                "value": value,
                "unit": trait.unit,
                "source": source,
                "confidence": confidence,
                "expires": expires,
            }
        if "declared" in groups and row.get("extra"):
            sections["basic"] |= self._extra(row["extra"], sources)
        return {
            "user_id": row["user_id"],
            "as_of": as_of,
            "updated_at": row.get("updated_at") or None,
            "sections": sections,
        }

    def _dated(self, groups: frozenset[Group], as_of: str) -> tuple[tuple[Described, str | None, bool], ...]:
        """The traits of these groups, with when each of that day expires, and whether how sure it is goes by the row."""
        found = self._by_day.get((groups, as_of))
        if found is None:
            moment = datetime.fromisoformat(as_of.removesuffix("Z"))
            found = self._by_day[groups, as_of] = tuple(
                (
                    trait,
                    None if trait.days is None else write_time(expire(moment, trait.days, self.expiry_days)),
                    trait.habit or bool(trait.confidence) or bool(trait.least),
                )
                for trait in self.allowed(groups)
            )
            while len(self._by_day) > DAYS_AT_HAND:
                del self._by_day[next(iter(self._by_day))]
        return found

    def _confidence(self, trait: Described, value: Any, row: Row) -> Any:
        if trait.confidence:
            found = row.get(trait.confidence)
            return None if found is None else round(min(max(float(found), 0.0), 1.0), 3)
        if not trait.habit or (trait.name == "lifecycle" and value in ("prospect", "new")):
            return 1.0
        # How many events are behind any other habit, the row does not hold: the explained document counts them.
        return grow_confidence(row.get(trait.orders) or 0, self.half) if trait.orders else None

    def _extra(self, text: Any, sources: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes that the shop has beside the usual ones."""
        held = msgspec.json.decode(text) if isinstance(text, str) else text
        made = {}
        for name, value in held.items() if isinstance(held, dict) else ():
            if value in (None, "") or name in DECLARED:
                continue
            third = sources.get(name) in self.third_parties
            source, confidence = ("third_party", self.third_party_confidence) if third else ("declared", 1.0)
            made[name] = {"value": value, "unit": "", "source": source, "confidence": confidence, "expires": None}
        return made


def _describe(context: Context, names: Names, kinds: Mapping[str, str], columns: Iterable[str]) -> Iterator[Described]:
    for trait in context.traits:
        unit, habit = context.unit(trait.unit), trait.rule == "habit"
        label, meaning = names.label(trait.name), context.meaning(trait.name)
        group = group_of(trait.name, kinds)
        buying = trait.name in BUYING and trait.name not in KEPT_UNBOUGHT
        yield Described(trait.name, trait.section, group, "computed", unit, trait.days, label, meaning, habit, trait.orders, trait.least, buying=buying)  # fmt: skip
    empty: Text = {"en": "", "zh": ""}
    held = set(columns)
    for name in DECLARED:
        if name in held:
            unit = "year" if name == "birth_year" else ""
            yield Described(name, "basic", "declared", "declared", unit, None, label_of(name), empty)
    for outcome in context.outcomes:
        column = outcome.column
        label = label_of(outcome.name) if outcome.kind == "class" else outcome.meaning
        unit = context.unit(outcome.unit)
        unless = outcome.name if outcome.kind == "class" and column != outcome.name else ""
        yield Described(column, "predictions", group_of(column, kinds), "predicted", unit, outcome.within_days, label, outcome.meaning, confidence=f"{column}_confidence", unless=unless)  # fmt: skip
    if context.behaviour:
        for name, section in (("next_items", "predictions"), ("similar_customers", "social")):
            if name in held:
                yield Described(name, section, group_of(name, kinds), "predicted", "", EXPIRES_DAYS, label_of(name), empty, habit=True)  # type: ignore[arg-type] # fmt: skip
    if "tags" in held:
        yield Described("tags", "tags", "tags", "computed", "", 0, label_of("tags"), empty)
