"""The feature algebra: a feature is data, an aggregation over a user's past events.

    Feature("spend_30d", Sum("amount"), where="event == 'purchase'", window="30d", unit="money")
    Feature("top_brands", DecayedTop("brand", half_life="30d", k=5))

Meaning, the same on every engine:
- as-of is a local midnight of the shop; an event counts where it happened *and was known* before it;
- a window is whole local days: "30d" is the 30 local days before as-of ("" = all history);
- an age is counted in local days: something that happened yesterday is 1 day old;
- counts of nothing are 0; sums of nothing 0; means, shares, recencies and tops of nothing are unknown (NULL).

Each aggregation is a small frozen class that says which measures it needs of the events (`plan`) and how the value is finished
from them. It so knows four things: its Ibis expression (compile.py), how one event is folded in, how two partial states merge,
and how the value is finished (live/fold.py: `Fold(features)`). One that has no exact fold is marked `live = False`.
"""

from __future__ import annotations

import hashlib
import json
import keyword
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from huaxiang.errors import DefinitionError
from huaxiang.features.filters import Expression
from huaxiang.features.nodes import Node, known
from huaxiang.features.plan import How, Plan, measure
from huaxiang.features.windows import Window

FeatureType = Literal["number", "list", "text"]
RESERVED = frozenset({"user_id", "as_of", "user_no", "as_of_no", "registered_no"})  # columns beside the features


@dataclass(frozen=True)
class Place:
    """Where an aggregation is planned: for which feature, over which events and window."""

    plan: Plan
    name: str
    where: Expression
    window: Window

    def narrowed(self, text: str) -> Place:
        """The same place with a further condition."""
        return Place(self.plan, self.name, self.where & self.plan.where(text, self.name), self.window)

    def having(self, node: Node) -> Place:
        """The same place, only events for which `node` has a value."""
        return Place(self.plan, self.name, self.where & Expression(known(node)), self.window)

    def over(self, window: Window) -> Place:
        return Place(self.plan, self.name, self.where, window)

    def value(self, text: str) -> Node:
        """The value `text`; raises DefinitionError for a time or a date, which no aggregation gives back."""
        found = self.plan.value(text, self.name)
        if found.type in ("timestamp", "date"):
            raise DefinitionError("features.value_time", name=self.name, text=text)
        return found.value

    def amount(self, text: str) -> Node:
        """The value `text`, a number (a condition counts as 1 or 0); raises DefinitionError for anything else."""
        found = self.plan.value(text, self.name)
        if found.type not in ("int", "float", "bool"):
            raise DefinitionError("features.value_number", name=self.name, text=text, type=found.type)
        return found.value

    def total(self, how: How, value: Node | None = None, half_life: float = 0.0) -> Node:
        """The column with `how` of `value` over the events kept in the window."""
        return self.plan.total(measure(how, self.where, value, half_life), self.window)


@dataclass(frozen=True)
class Aggregation:
    """The base: `plan` writes the measures it needs into the plan and gives the tree of the finished value.

    live: whether it folds exactly, event by event, into a small state
    """

    live: ClassVar[bool] = True
    type: ClassVar[FeatureType] = "number"

    def plan(self, at: Place) -> Node:
        raise NotImplementedError

    def evidence(self, at: Place) -> Expression:
        """The condition that picks the events the value came from, of those in the window."""
        return at.where

    def evidence_sql(self, at: Place) -> str:
        """DuckDB text of the events the value came from, the window among it ("": all)."""
        return " AND ".join(part for part in (self.evidence(at).sql, at.window.sql()) if part)


@dataclass(frozen=True)
class Feature:
    """One definition. `where` is a filter (filters.py), `window` a duration in whole days ("" = all history)."""

    name: str
    agg: Aggregation
    where: str = ""
    window: str = ""
    unit: str = ""
    meaning_en: str = ""
    meaning_zh: str = ""
    group: str = "mine"
    owner: str = ""

    def __post_init__(self) -> None:
        if (
            not (self.name.isidentifier() and self.name.isascii())
            or keyword.iskeyword(self.name)
            or self.name.lower() in RESERVED
        ):
            raise DefinitionError("features.name", name=self.name)

    @property
    def version(self) -> str:
        """A hash of what decides the value: aggregation, filter and window; wording plays no part."""
        return hashlib.sha256(json.dumps(self.definition(), sort_keys=True).encode()).hexdigest()[:12]

    def definition(self) -> dict[str, Any]:
        return {"agg": _described(self.agg), "where": self.where, "window": self.window}

    def text(self) -> str:
        """The definition as one readable line."""
        where = f" where {self.where}" if self.where else ""
        return f"{_written(self.agg)}{where} over {self.window or 'all history'}"

    def place(self, plan: Plan) -> Place:
        return Place(plan, self.name, plan.where(self.where, self.name), Window.parse(self.window, name=self.name))

    def compile(self, plan: Plan) -> None:
        """Writes what the feature needs into `plan`; raises DefinitionError where it is not well declared."""
        if self.name.lower() in map(str.lower, plan.finals):  # columns are the same whatever their case
            raise DefinitionError("features.twice", name=self.name)
        plan.finals[self.name] = self.agg.plan(self.place(plan))

    def note(self) -> dict[str, Any]:
        """What the build step's note says of it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "meaning_en": self.meaning_en,
            "meaning_zh": self.meaning_zh,
            "group": self.group,
            "version": self.version,
            "type": self.agg.type,
            "owner": self.owner,
            "definition": self.text(),
        }


def _described(agg: Aggregation) -> dict[str, Any]:
    found = {field.name: getattr(agg, field.name) for field in fields(agg)}
    return {"name": type(agg).__name__} | {
        name: _described(value)
        if isinstance(value, Aggregation)
        else value.definition()
        if isinstance(value, Feature)
        else value
        for name, value in found.items()
    }


def _written(agg: Aggregation) -> str:
    parts = []
    for field in fields(agg):
        value = getattr(agg, field.name)
        if value != field.default:
            said = (
                _written(value)
                if isinstance(value, Aggregation)
                else value.text()
                if isinstance(value, Feature)
                else repr(value)
            )
            parts.append(said)
    return f"{type(agg).__name__}({', '.join(parts)})"
