"""Which audiences each of a few profiles belongs to, now: the conditions of the shop's audiences as one SQL over rows of `profiles`.

    live = follow_live(reader)                     # once after each build
    live.memberships(rows)                         # rows of `profiles`, as Arrow -> {user: the audiences}

What a condition reads must stand in the profile: traits, tagged, likes, and in_audience of another such one. consents and on_list are taken as of
when this was made. bought, viewed … and did read events, which no profile holds: such audiences are found by `refresh` alone, and
`unfollowed` says so.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import compress
from typing import Any

import ibis
import pyarrow as pa

from huaxiang.apply.market.audiences import version_of
from huaxiang.apply.market.language import Call, Condition, Reader
from huaxiang.engine import Engine
from huaxiang.errors import DefinitionError
from huaxiang.words import Lang, Words

ROWS = "live_profiles"  # what the rows are called in the SQL
_READ = {"tagged": ("tags",), "likes": ("top_categories", "top_brands")}
_KEPT = ("consents", "on_list")


@dataclass(frozen=True)
class Unfollowed:
    """Why an audience is not followed live. reason: function (it reads events), trait (it is not kept live) or unreadable"""

    reason: str
    what: str

    def say(self, lang: Lang) -> str:
        return Words(lang)(f"market.unfollowed.{self.reason}", what=self.what)


@dataclass(frozen=True)
class LiveAudiences:
    """versions: of those followed; columns: of profiles that they read; unfollowed: the others, and why; kept: tables of the engine"""

    versions: Mapping[str, str]
    columns: tuple[str, ...]
    unfollowed: Mapping[str, Unfollowed]
    engine: Engine
    sql: str
    schema: pa.Schema
    kept: tuple[ibis.Table, ...] = ()

    def memberships(self, rows: pa.Table) -> dict[str, frozenset[str]]:
        """user -> the audiences that it belongs to, of every row. rows: at least `columns`; a user once"""
        if not self.versions or not rows.num_rows:
            return {user: frozenset() for user in rows.column("user_id").to_pylist()}
        found = self.engine.over(ROWS, rows.select(self.columns).cast(self.schema), self.sql)
        users, *flags = (column.to_pylist() for column in found.columns)
        names = tuple(self.versions)
        known: dict[tuple[bool, ...], frozenset[str]] = {}
        made = {}
        for user, *held in zip(users, *flags, strict=True):
            key = tuple(held)
            if key not in known:
                known[key] = frozenset(compress(names, key))
            made[user] = known[key]
        return made

    def close(self) -> None:
        """Lets go of what was kept in the engine."""
        for one in self.kept:
            self.engine.drop(one)


def follow_live(reader: Reader, columns: Collection[str] | None = None) -> LiveAudiences:
    """The audiences of `reader` that can be followed live. columns: of profiles that are kept live (None: all)"""
    follower = _Follower(reader, columns)
    conditions: dict[str, Condition] = {}
    unfollowed: dict[str, Unfollowed] = {}
    for name, text in reader.others.items():
        try:
            condition = reader.read(text, name=name, within=(name,))
        except DefinitionError:  # said where it is refreshed; the others are followed all the same
            unfollowed[name] = Unfollowed("unreadable", name)
            continue
        why = follower.lacks(condition)
        if why is None:
            conditions[name] = condition
        else:
            unfollowed[name] = why
    return follower.compile(conditions, unfollowed)


class _Follower:
    """Reads conditions over rows that are given later, instead of the table `profiles`."""

    def __init__(self, reader: Reader, columns: Collection[str] | None) -> None:
        self._reader = reader
        self._schema = reader.profiles.schema()
        self._live = set(self._schema) if columns is None else set(columns) & set(self._schema)
        self._kept: dict[Call, ibis.Table] = {}

    def lacks(self, condition: Condition) -> Unfollowed | None:
        """What of the condition cannot be followed live."""
        for trait in condition.traits:
            if trait not in self._live:
                return Unfollowed("trait", trait)
        for call in condition.sets.values():
            if call.function == "in_audience":
                why = self.lacks(self._other(call))
            elif call.function in _READ:
                away = [name for name in _READ[call.function] if name in self._schema and name not in self._live]
                why = Unfollowed("trait", away[0]) if away else None
            else:
                why = None if call.function in _KEPT else Unfollowed("function", call.function)
            if why is not None:
                return why
        return None

    def compile(self, conditions: Mapping[str, Condition], unfollowed: Mapping[str, Unfollowed]) -> LiveAudiences:
        needed = set[str]().union(*map(self._columns, conditions.values()))
        columns = ("user_id", *sorted(needed - {"user_id"}))
        schema = ibis.Schema({name: self._schema[name] for name in columns})
        over = copy.copy(self._reader)
        over.profiles = ibis.table(schema, name=ROWS)
        flags = {f"m{place}": self._holds(over, one) for place, one in enumerate(conditions.values())}
        engine = self._reader.lake.engine
        sql = engine.sql(over.profiles.select("user_id", **flags)) if flags else ""
        versions = {name: version_of(self._reader.others[name], self._reader.others) for name in conditions}
        kept = tuple(self._kept.values())
        return LiveAudiences(versions, columns, unfollowed, engine, sql, schema.to_pyarrow(), kept)

    def _columns(self, condition: Condition) -> set[str]:
        found = set(condition.traits)
        for call in condition.sets.values():
            if call.function == "in_audience":
                found |= self._columns(self._other(call))
            found |= {name for name in _READ.get(call.function, ()) if name in self._schema}
        return found

    def _holds(self, over: Reader, condition: Condition) -> Any:
        """Never unknown: who is not known to belong does not."""

        def holds(call: Call) -> Any:
            if call.function == "in_audience":
                return self._holds(over, self._other(call))
            if call.function in _KEPT:
                return over.profiles.user_id.isin(self._members(call).user_id)
            return over.holds(call)

        return over.over(condition, holds).fill_null(False)

    def _members(self, call: Call) -> ibis.Table:
        """Who it holds for as of now, kept: tables of the lake are too slow to ask for a few rows."""
        if call not in self._kept:
            profiles = self._reader.profiles
            held = profiles.filter(self._reader.holds(call)).select("user_id")
            self._kept[call] = self._reader.lake.engine.keep(held)
        return self._kept[call]

    def _other(self, call: Call) -> Condition:
        name = str(call.args[0])
        return self._reader.read(self._reader.others[name], name=name, within=(name,))
