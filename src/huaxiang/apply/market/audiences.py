"""The shop's audiences: previewed before they are saved, found anew by their schedules (schedule.py), with who entered and who left.

audience.members   name, version, user_id, since          who belongs now, and since which date of the profiles
audience.changes   name, version, user_id, change, as_of  every entry and leave, in order
audience.sizes     name, version, as_of, size             one row a date of the profiles
audience.lists     name, user_id                          static lists
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from huaxiang.apply.market.language import Reader, no_audience
from huaxiang.apply.market.schedule import note_refreshed
from huaxiang.apply.market.values import Unheld
from huaxiang.engine import Lake, Step
from huaxiang.engine.duck import quote
from huaxiang.features.filters import named_by
from huaxiang.profile.names import Names
from huaxiang.settings import ProfileSettings
from huaxiang.settings.market import AudienceSettings
from huaxiang.words import Lang

STEP = "audiences"
SHOWN = ("lifecycle", "value_tier", "recency_days", "orders_90d", "spend_90d")
_TEXT, _DAY = pa.string(), pa.date32()
MEMBERS = pa.schema([("name", _TEXT), ("version", _TEXT), ("user_id", _TEXT), ("since", _DAY)])
CHANGES = pa.schema([("name", _TEXT), ("version", _TEXT), ("user_id", _TEXT), ("change", _TEXT), ("as_of", _DAY)])
SIZES = pa.schema([("name", _TEXT), ("version", _TEXT), ("as_of", _DAY), ("size", pa.int64())])
LISTS = pa.schema([("name", _TEXT), ("user_id", _TEXT)])


@dataclass(frozen=True)
class Preview:
    """What a condition would hold for. composition: of each stage and tier how many members, and of all customers; sample: a few
    members (pseudonyms) with the traits the condition reads; unheld: values the condition compares with that no customer has; labels: what
    the traits of the sample are called."""

    text: str
    size: int
    customers: int
    composition: dict[str, list[dict[str, Any]]]
    sample: list[dict[str, Any]]
    unheld: tuple[Unheld, ...] = ()
    labels: dict[str, dict[Lang, str]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        return self.size / self.customers if self.customers else 0.0


@dataclass(frozen=True)
class Audience:
    """One of the shop's audiences as last refreshed (version "" and no date: never)."""

    name: str
    when: str
    meaning: str
    version: str
    as_of: str
    size: int
    entered: int
    left: int


def version_of(when: str, others: Mapping[str, str] | None = None) -> str:
    """Equal text, equal version; a change of an audience it is built on, however far down, changes it too. others: the conditions."""
    others = others or {}
    seen: dict[str, str] = {}
    todo = [when]
    while todo:  # each once, so that a circle, which is refused where it is read, ends
        for name in named_by(todo.pop(), "in_audience"):
            if name in others and name not in seen:
                seen[name] = others[name]
                todo.append(others[name])
    held = [f"{name}:{text}" for name, text in sorted(seen.items())]
    return hashlib.sha256("\n".join([when.strip(), *held]).encode()).hexdigest()[:12]


def preview(reader: Reader, text: str, *, sample: int = 5) -> Preview:
    """Size, composition and a few members of a condition that need not be saved; raises DefinitionError."""
    condition = reader.read(text)
    engine, names = reader.lake.engine, Names.of(reader.lake)
    shown = list(dict.fromkeys([*(name for name in condition.traits), *SHOWN]))
    kept = [name for name in shown if name in reader.traits and name != "user_id"]
    parts = [name for name in ("lifecycle", "value_tier") if name in reader.traits]
    grouped = "".join(f", {name}" for name in parts)
    counted = f"SELECT count(*) AS n{grouped} FROM {{}} GROUP BY {', '.join(parts) or 'ALL'}"
    held = engine.keep(reader.members(condition).select("user_id", *kept))
    try:
        members = engine.rows(counted.format(held.get_name()))
        everyone = engine.rows(counted.format(f"({engine.sql(reader.profiles)})"))
        drawn = engine.rows(f"SELECT * FROM {held.get_name()} ORDER BY hash(user_id), user_id LIMIT {sample}")
    finally:
        engine.drop(held)
    return Preview(
        condition.text,
        sum(row["n"] for row in members),
        sum(row["n"] for row in everyone),
        {name: _composition(name, members, everyone) for name in parts},
        drawn,
        condition.unheld,
        {name: names.label(name) for name in kept},
    )


def _composition(
    name: str, members: Sequence[Mapping[str, Any]], everyone: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One row a value: members and customers who have it, most customers first."""
    total: dict[Any, list[int]] = {}
    for place, rows in enumerate((members, everyone)):
        for row in rows:
            total.setdefault(row[name], [0, 0])[place] += row["n"]
    ordered = sorted(total.items(), key=lambda pair: (-pair[1][1], str(pair[0])))
    return [{"value": value, "members": counts[0], "customers": counts[1]} for value, counts in ordered]


def versions_of(declared: Mapping[str, AudienceSettings]) -> dict[str, str]:
    """The version of each declared audience."""
    texts = {name: one.when for name, one in declared.items()}
    return {name: version_of(text, texts) for name, text in texts.items()}


def refresh(
    step: Step,
    declared: Mapping[str, AudienceSettings],
    rules: ProfileSettings | None = None,
    *,
    now: datetime,
    only: Collection[str] | None = None,
) -> list[Audience]:
    """Finds the members of the declared audiences anew (those of `only`, where it is given), and writes who entered and who left
    since the last time, and that it was done `now` (UTC).

    A changed definition is a new version; who belonged by the old one and does not by the new one left. An audience no longer
    declared loses its members, and keeps its changes.
    """
    every = {name: one.when for name, one in declared.items()}
    texts = {name: text for name, text in every.items() if only is None or name in only}
    versions = {name: version_of(text, every) for name, text in texts.items()}
    reader = Reader(step.lake, every, rules or ProfileSettings())
    conditions = {name: reader.read(text, name=name, within=(name,)) for name, text in texts.items()}
    engine, day = step.lake.engine, f"DATE '{reader.as_of}'"
    for table, schema in (("members", MEMBERS), ("changes", CHANGES), ("sizes", SIZES)):
        if not step.has(f"audience.{table}"):
            step.replace(f"audience.{table}", schema.empty_table())
    before = engine.sql(step.table("audience.members"))
    resting = ", ".join(quote(name) for name in every if name not in texts) or "''"
    parts = [
        f"SELECT {quote(name)} AS name, {quote(versions[name])} AS version, user_id "
        f"FROM ({engine.sql(reader.members(condition, within=(name,)).select('user_id'))})"
        for name, condition in conditions.items()
    ]
    parts.append(f"SELECT name, version, user_id FROM ({before}) WHERE name IN ({resting})")
    held = engine.keep(" UNION ALL ".join(parts))
    try:
        found = f"SELECT * FROM {held.get_name()}"
        cases = "".join(f" WHEN {quote(name)} THEN {quote(version)}" for name, version in versions.items())
        now_version = f"CASE b.name{cases} ELSE b.version END" if cases else "b.version"
        gone = (
            f"SELECT b.name, {now_version} AS version, b.user_id, 'leave' AS change, {day} AS as_of FROM ({before}) AS b "
            f"ANTI JOIN ({found}) AS n USING (name, user_id)"
        )
        came = (
            f"SELECT n.name, n.version, n.user_id, 'enter' AS change, {day} AS as_of FROM ({found}) AS n "
            f"ANTI JOIN ({before}) AS b USING (name, user_id)"
        )
        changes = engine.arrow(f"SELECT * FROM ({gone} UNION ALL {came}) ORDER BY name, change, user_id")
        members = engine.arrow(
            f"SELECT n.name, n.version, n.user_id, coalesce(b.since, {day}) AS since FROM ({found}) AS n "
            f"LEFT JOIN ({before}) AS b USING (name, user_id) ORDER BY name, user_id"
        )
        counted = {
            row["name"]: row["n"] for row in engine.rows(f"SELECT name, count(*) AS n FROM ({found}) GROUP BY name")
        }
    finally:
        engine.drop(held)
    step.append("audience.changes", changes.cast(CHANGES))
    step.replace("audience.members", members.cast(MEMBERS))
    made = [(name, version, reader.as_of, counted.get(name, 0)) for name, version in versions.items()]
    sizes = pa.Table.from_pylist([dict(zip(SIZES.names, row, strict=True)) for row in made], schema=SIZES)
    earlier = engine.arrow(
        f"SELECT * FROM ({engine.sql(step.table('audience.sizes'))}) WHERE as_of <> {day} OR name NOT IN "
        f"({', '.join(map(quote, texts)) or quote('')})"
    )
    step.replace("audience.sizes", pa.concat_tables([earlier.cast(SIZES), sizes]))
    note_refreshed(step, versions, every, now=now)
    return audiences(step, declared)


def audiences(lake: Lake | Step, declared: Mapping[str, AudienceSettings]) -> list[Audience]:
    """The shop's audiences as last refreshed, in the order they are declared."""
    engine = lake.lake.engine if isinstance(lake, Step) else lake.engine
    last: dict[str, dict[str, Any]] = {}
    moved: dict[str, dict[str, int]] = {}
    if lake.has("audience.sizes"):
        sizes, changes = (engine.sql(lake.table(f"audience.{name}")) for name in ("sizes", "changes"))
        for row in engine.rows(
            f"SELECT name, arg_max(version, as_of) AS version, max(as_of) AS as_of, arg_max(size, as_of) AS size FROM ({sizes}) GROUP BY name"
        ):
            last[row["name"]] = row
        for row in engine.rows(f"SELECT name, version, change, as_of, count(*) AS n FROM ({changes}) GROUP BY ALL"):
            now = last.get(row["name"])
            if now is not None and (row["as_of"], row["version"]) == (now["as_of"], now["version"]):
                moved.setdefault(row["name"], {})[row["change"]] = row["n"]
    return [
        Audience(
            name,
            one.when,
            one.meaning,
            str(last[name]["version"]) if name in last else "",
            str(last[name]["as_of"]) if name in last else "",
            int(last[name]["size"]) if name in last else 0,
            moved.get(name, {}).get("enter", 0),
            moved.get(name, {}).get("leave", 0),
        )
        for name, one in declared.items()
    ]


def member_ids(reader: Reader, name: str) -> list[str]:
    """The customers (pseudonyms) that an audience holds for now, sorted; raises DefinitionError where there is none of the name."""
    others = reader.others
    if name not in others:
        raise no_audience("members", name, others)
    engine = reader.lake.engine
    found = reader.members(reader.read(others[name], name=name, within=(name,)), within=(name,)).select("user_id")
    return [
        str(value)
        for value in engine.arrow(f"SELECT user_id FROM ({engine.sql(found)}) ORDER BY 1").column("user_id").to_pylist()
    ]


def put_list(step: Step, name: str, users: Iterable[str]) -> tuple[int, int]:
    """Keeps a static list of customers (pseudonyms), instead of what the list held before; gives how many are customers of the shop,
    and how many are not (and are left out)."""
    engine = step.lake.engine
    given = engine.load(pa.table({"user_id": pa.array(sorted(set(users)), pa.string())}))
    profiles = engine.sql(step.table("profiles"))
    kept = engine.arrow(
        f"SELECT {quote(name)} AS name, user_id FROM {given.get_name()} SEMI JOIN ({profiles}) AS p USING (user_id) ORDER BY 2"
    ).cast(LISTS)
    asked = int(engine.value(f"SELECT count(*) FROM {given.get_name()}"))
    engine.drop(given)
    if step.has("audience.lists"):
        others = engine.arrow(
            f"SELECT * FROM ({engine.sql(step.table('audience.lists'))}) WHERE name <> {quote(name)}"
        ).cast(LISTS)
        kept_all = pa.concat_tables([others, kept])
    else:
        kept_all = kept
    step.replace("audience.lists", kept_all)
    return kept.num_rows, asked - kept.num_rows


def overlaps(lake: Lake) -> list[dict[str, Any]]:
    """Of each pair of audiences as last refreshed: the members of both, and their share of the smaller one."""
    if not lake.has("audience.members"):
        return []
    members = lake.engine.sql(lake.table("audience.members"))
    sizes = f"SELECT name, count(*) AS n FROM ({members}) GROUP BY 1"
    return lake.engine.rows(
        f"SELECT a.name AS one, b.name AS other, count(*) AS both, count(*) / least(any_value(x.n), any_value(y.n)) AS share "
        f"FROM ({members}) a JOIN ({members}) b ON a.user_id = b.user_id AND a.name < b.name "
        f"JOIN ({sizes}) x ON x.name = a.name JOIN ({sizes}) y ON y.name = b.name GROUP BY 1, 2 ORDER BY 1, 2"
    )
