"""The language of audiences: a condition over traits and over what customers did, checked and compiled to Ibis, never evaluated.

    churn_30d > 0.6 and value_tier in ('gold', 'platinum') and not bought('coffee', days=30)
    tagged('coupon_user') and likes('GROCERY > COFFEE', share=0.1) or in_audience('vip')

Traits are the columns of `profiles`. Functions:

    bought(what, days=, times=)     and viewed, carted, wished, refunded, reviewed: at least `times` (1) such events of items that
                                    `what` names, in the `days` before the profiles' date (all of them without `days`)
    did(event, what, days=, times=) any other event of the vocabulary
    tagged(tag)                     the tag is one of the customer's
    likes(what, share=)             a top category or brand that `what` names has at least this share of attention (0)
    consents(purpose)               the customer consented to it
    in_audience(name), on_list(name)

`what` names an item by its id, or by a part of its title, category or brand, in any case; without it, every event counts.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import ibis

from huaxiang.apply.market.consent import CHANNELS
from huaxiang.apply.market.values import (
    TOLD,
    Unheld,
    closed_values,
    compared_texts,
    frequent_sql,
    held_sql,
    nearest,
    words_sql,
)
from huaxiang.engine import Lake
from huaxiang.errors import DefinitionError, ShopError
from huaxiang.features.filters import EVENT_CODES, Constant, Function, compile_filter
from huaxiang.features.in_ibis import to_ibis
from huaxiang.features.nodes import Node, column
from huaxiang.profile.tags import BY_NAME as TAGS
from huaxiang.settings import ProfileSettings

DID = {"bought": "purchase", "viewed": "view", "carted": "add_to_cart", "wished": "wish", "refunded": "refund", "reviewed": "review"}  # fmt: skip
_TYPES = {"String": "string", "Boolean": "bool", "Date": "date", "Timestamp": "timestamp"}


@dataclass(frozen=True)
class Condition:
    """A checked condition. node: its tree (None: everybody); sets: what functions stand for, by the name the tree calls them;
    traits: the columns it reads; unheld: the values it compares them with that no customer has."""

    text: str
    node: Node | None
    sets: Mapping[str, Call]
    traits: tuple[str, ...]
    unheld: tuple[Unheld, ...] = ()


@dataclass(frozen=True)
class Call:
    """One call of a function: who it holds for is found by `members`."""

    function: str
    args: tuple[Constant, ...] = ()
    named: tuple[tuple[str, Constant], ...] = ()


@dataclass
class Reader:
    """What conditions are read against. profiles: a row a customer; lake: of the shop; as_of: the date of the profiles;
    others: the conditions of the shop's audiences, for in_audience; rules: by which the profiles got tags and tiers."""

    lake: Lake
    others: Mapping[str, str] = field(default_factory=dict)
    rules: ProfileSettings = field(default_factory=ProfileSettings)

    def __post_init__(self) -> None:
        if not self.lake.has("profiles"):
            raise ShopError("lake.no_table", name="profiles", have=", ".join(self.lake.names()) or "-")
        self.profiles = self.lake.table("profiles")
        self.as_of = date.fromisoformat(str(self.lake.note("build")["as_of"])[:10])
        self.closed = closed_values(self.rules)
        self.traits = {name: kind for name, dtype in self.profiles.schema().items() if (kind := _plain(dtype))}

    def read(self, text: str, *, name: str = "audience", within: tuple[str, ...] = ()) -> Condition:
        """The condition `text`; raises DefinitionError where it cannot be read, naming `name` and the mend.

        within: the audiences that this one is being read for: none may hold itself
        """
        if not text.strip():
            raise DefinitionError("market.empty", name=name)
        calls: dict[str, Call] = {}

        def function(called: str) -> Function:
            def made(args: tuple[Constant, ...], named: dict[str, Constant]) -> tuple[Node, str]:
                call = _checked(name, called, args, named)
                if called == "in_audience":
                    self._check_audience(name, str(call.args[0]), within)
                if called == "tagged":
                    self._check_tag(name, str(call.args[0]))
                place = next((one for one, known in calls.items() if known == call), f"({len(calls)})")
                calls[place] = call
                return column(place), "bool"

            return made

        functions = {called: function(called) for called in _SIGNATURES}
        found = compile_filter(text, self.traits, name=name, functions=functions)
        traits = tuple(sorted(one for one in found.columns if one not in calls))
        unheld = (*self._check_values(name, found.node), *self._check_words(calls.values()))
        return Condition(text.strip(), found.node, calls, traits, unheld)

    def _check_values(self, name: str, node: Node | None) -> tuple[Unheld, ...]:
        """The values compared with that nobody has; raises DefinitionError where a trait cannot take one at all."""
        asked: dict[str, list[str]] = {}
        for trait, value in dict.fromkeys(compared_texts(node)):
            asked.setdefault(trait, []).append(value)
        engine, found = self.lake.engine, []
        profiles = engine.sql(self.profiles)
        for trait, values in asked.items():
            closed = self.closed.get(trait, ())
            held = {row["value"] for row in engine.rows(held_sql(trait, values, profiles))}
            gone = [value for value in values if value not in held and value not in closed]
            if not gone:
                continue
            if closed:
                near = nearest(trait, gone[0], closed)
                key = "market.no_value_near" if near else "market.no_value"
                raise DefinitionError(key, name=name, trait=trait, value=gone[0], near=near, have=", ".join(closed))
            known = [row["value"] for row in engine.rows(frequent_sql(trait, profiles))]
            found += [Unheld(trait, value, nearest(trait, value, known), tuple(known[:TOLD])) for value in gone]
        return tuple(found)

    def _check_words(self, calls: Iterable[Call]) -> list[Unheld]:
        """The words of functions that stand for nothing in this shop: no item is named so, nobody consented to it, no such list."""
        engine, found = self.lake.engine, []
        for call in calls:
            word = str(call.args[-1]) if call.args else ""
            if call.function == "consents":
                users = engine.sql(self.lake.table("ready.users"))
                known = f"SELECT unnest(consent) AS value FROM ({users}) GROUP BY 1 ORDER BY count(*) DESC, 1"
            elif call.function == "on_list":
                if not self.lake.has("audience.lists"):
                    found.append(Unheld("on_list", word, "", called=True))
                    continue
                known = f"SELECT DISTINCT name AS value FROM ({engine.sql(self.lake.table('audience.lists'))})"
            elif call.function in ("tagged", "in_audience") or not word or self._names_items(call, word):
                continue
            else:
                known = words_sql(engine.sql(self.lake.table("ready.items")))
            have = [row["value"] for row in engine.rows(known)]
            if word not in have:
                usual = CHANNELS if call.function == "consents" else ()
                near = nearest(call.function, word, [one for one in (*have, *usual) if one != word])
                found.append(Unheld(call.function, word, near, tuple(have[:TOLD]), True))
        return found

    def _names_items(self, call: Call, word: str) -> bool:
        """Whether an item goes by the word (`did('search')` names an event only)."""
        if call.function == "did" and len(call.args) < 2:
            return True
        return bool(self.lake.engine.value(f"SELECT count(*) FROM ({self.lake.engine.sql(self._items(word))})"))

    def _check_audience(self, name: str, other: str, within: tuple[str, ...]) -> None:
        if other in within:
            raise DefinitionError("market.circle", name=name, other=other)
        if other not in self.others:
            raise no_audience(name, other, [one for one in self.others if one not in within])
        self.read(self.others[other], name=other, within=(*within, other))

    def _check_tag(self, name: str, tag: str) -> None:
        if "tags" not in self.profiles.columns:
            return
        engine = self.lake.engine
        known = [*TAGS, *self.rules.tags]
        if tag in known:  # declared, though perhaps nobody has it today
            return
        told = engine.rows(f"SELECT DISTINCT unnest(tags) AS tag FROM ({engine.sql(self.profiles)})")
        known += [row["tag"] for row in told]
        if tag not in known:
            near = difflib.get_close_matches(tag, known, n=1) or [", ".join(sorted(known)[:20]) or "-"]
            raise DefinitionError("market.no_tag", name=name, tag=tag, near=near[0])

    # ---- who it holds for ------------------------------------------------------------------------------------------

    def members(self, condition: Condition, *, within: tuple[str, ...] = ()) -> ibis.Table:
        """The rows of `profiles` for which the condition holds, as an Ibis expression."""
        if condition.node is None:
            return self.profiles
        return self.profiles.filter(self.over(condition, lambda call: self.holds(call, within)))

    def over(self, condition: Condition, holds: Callable[[Call], Any]) -> Any:
        """Whether the condition holds, as a boolean column over `profiles`; unknown where what it compares is. holds: of each call"""
        if condition.node is None:
            return ibis.literal(True)
        sets = {place: holds(call) for place, call in condition.sets.items()}
        return to_ibis(condition.node, lambda name: sets[name] if name in sets else self.profiles[name])

    def holds(self, call: Call, within: tuple[str, ...] = ()) -> Any:
        """Whether a call holds, as a boolean column over `profiles`, never unknown."""
        named = dict(call.named)
        if call.function == "tagged":
            return self._has("tags", str(call.args[0]))
        if call.function == "likes":
            return self._likes(str(call.args[0]), float(named.get("share", 0.0)))
        if call.function == "consents":
            users = self.lake.table("ready.users")
            held = users.filter(users.consent.contains(str(call.args[0])))
            return self.profiles.user_id.isin(held.user_id)
        if call.function == "on_list":
            if not self.lake.has("audience.lists"):
                return ibis.literal(False)
            lists = self.lake.table("audience.lists")
            return self.profiles.user_id.isin(lists.filter(lists.name == str(call.args[0])).user_id)
        if call.function == "in_audience":
            other = str(call.args[0])
            inner = self.read(self.others[other], name=other, within=(*within, other))
            return self.profiles.user_id.isin(self.members(inner, within=(*within, other)).user_id)
        return self._did(call, named)

    def _has(self, column_name: str, value: str) -> Any:
        if column_name not in self.profiles.columns:
            return ibis.literal(False)
        return self.profiles[column_name].contains(value).fill_null(False)

    def _likes(self, what: str, share: float) -> Any:
        """One of the tops names `what` with at least `share`: read by customer, for a list in a column is not portable."""
        held: Any = ibis.literal(False)
        for name in ("top_categories", "top_brands"):
            if name in self.profiles.columns:
                tops = self.profiles.select("user_id", top=self.profiles[name].unnest())
                told = tops.filter(tops.top["key"].lower().contains(what.lower()) & (tops.top["share"] >= share))
                held = held | self.profiles.user_id.isin(told.user_id)
        return held

    def _did(self, call: Call, named: Mapping[str, Constant]) -> Any:
        event, what = DID.get(call.function, ""), call.args[0] if call.args else ""
        if not event:
            event, what = str(call.args[0]), call.args[1] if len(call.args) > 1 else ""
        events = self.lake.table("ready.events")
        kept = (events.event_no == EVENT_CODES[event]) & (events.day < self.as_of) & (events.known_day < self.as_of)
        if "days" in named:
            kept &= events.day >= self.as_of - timedelta(days=int(named["days"]))
        done = events.filter(kept)
        if what != "":
            done = done.filter(done.item_no.isin(self._items(str(what)).item_no))
        times = int(named.get("times", 1))
        # Whole numbers are several times as fast to look up as ids, where both tables have them.
        who = "user_no" if {"user_no"} <= set(self.profiles.columns) & set(events.columns) else "user_id"
        if times > 1:
            counted = done.group_by(who).agg(n=done.count())
            done = counted.filter(counted.n >= times)
        return self.profiles[who].isin(done.filter(done[who].notnull())[who]).fill_null(False)

    def _items(self, what: str) -> ibis.Table:
        items = self.lake.table("ready.items")
        told = items.item_id == what
        for name in ("title", "category", "brand"):
            told |= items[name].lower().contains(what.lower()).fill_null(False)
        return items.filter(told & items.item_no.notnull())


@dataclass(frozen=True)
class _Signature:
    """How a function is called: its arguments in order (those from `least` on may be left out), and its named numbers."""

    args: tuple[str, ...]
    least: int
    named: tuple[str, ...] = ()


_SIGNATURES: dict[str, _Signature] = {
    **{name: _Signature(("what",), 0, ("days", "times")) for name in DID},
    "did": _Signature(("event", "what"), 1, ("days", "times")),
    "tagged": _Signature(("tag",), 1),
    "likes": _Signature(("what",), 1, ("share",)),
    "consents": _Signature(("purpose",), 1),
    "in_audience": _Signature(("name",), 1),
    "on_list": _Signature(("name",), 1),
}
_WHOLE: Mapping[str, Callable[[Constant], bool]] = {
    "days": lambda value: isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 36_500,
    "times": lambda value: isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000,
    "share": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1,
}


def no_audience(name: str, other: str, known: Iterable[str]) -> DefinitionError:
    """The error of an audience that is not declared, with the nearest that is. name: where it was asked for"""
    listed = list(known)
    if not listed:
        return DefinitionError("market.no_audience_yet", name=name, other=other)
    near = difflib.get_close_matches(other, listed, n=1) or [", ".join(listed)]
    return DefinitionError("market.no_audience", name=name, other=other, near=near[0])


def _checked(name: str, called: str, args: tuple[Constant, ...], named: dict[str, Constant]) -> Call:
    """The call, if it is one; raises DefinitionError that says how the function is called."""
    wanted = _SIGNATURES[called]
    usage = f"{called}({', '.join([*wanted.args, *(f'{one}=' for one in wanted.named)])})"
    right = wanted.least <= len(args) <= len(wanted.args) and all(isinstance(value, str) for value in args)
    if not right or not set(named) <= set(wanted.named) or not all(_WHOLE[one](value) for one, value in named.items()):
        raise DefinitionError("market.call", name=name, function=called, usage=usage)
    if called == "did" and args[0] not in EVENT_CODES:
        near = difflib.get_close_matches(str(args[0]), EVENT_CODES, n=1) or [", ".join(EVENT_CODES)]
        raise DefinitionError("features.unknown_event", name=name, value=args[0], near=near[0])
    return Call(called, args, tuple(sorted(named.items())))


def _plain(dtype: Any) -> str:
    """The language's type of a column ("": it has none, as a list)."""
    if dtype.is_integer():
        return "int"
    if dtype.is_numeric():
        return "float"
    return _TYPES.get(type(dtype).__name__, "")
