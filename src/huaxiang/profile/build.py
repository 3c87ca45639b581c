"""The table `profiles`: one row a customer, one typed column a trait, made in one streaming pass.

What the rules compare with across the shop (the spend that reaches each tier, the quantiles of the tags) is computed first over
single columns and written into the query as constants, so that the pass itself holds no more than its hash joins.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from huaxiang.engine import Engine, Lake, Step
from huaxiang.errors import ShopError
from huaxiang.features.filters import compile_filter
from huaxiang.profile.foreseen import COLUMNS, behaviour_join
from huaxiang.profile.lifecycle import Basis, comeback_sql, find_basis, lifecycle_sql, limits_sql, tier_sql
from huaxiang.profile.predicted import Outcome, find_kinds, find_outcomes, name_sql, pivot_sql, thresholds
from huaxiang.profile.say import both
from huaxiang.profile.tags import find_levels, find_line, tags_sql, usable_tags
from huaxiang.profile.traits import COMPUTED, DECLARED
from huaxiang.progress import SILENT, Progress
from huaxiang.settings import Settings

log = logging.getLogger(__name__)

MADE = ("lifecycle", "value_tier", "active_limit_days", "comeback_days", "tags")
_LISTS = ("top_categories", "top_brands")


@dataclass(frozen=True)
class ProfileReport:
    """What `build_profiles` made. `stages`: customers by lifecycle stage, then value tier."""

    users: int
    as_of: str
    columns: tuple[str, ...]
    outcomes: tuple[str, ...]
    stages: dict[str, dict[str, int]] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)


@dataclass(frozen=True)
class Parts:
    """What the query is made of."""

    features: str
    columns: tuple[str, ...]  # of features that become traits
    declared: tuple[str, ...]  # of ready.users
    users: str
    numbered: bool  # ready.users numbers the customers in the order of their events
    predictions: str
    outcomes: tuple[Outcome, ...]
    as_of: datetime
    ties: bool
    behaviour: str = ""  # SQL of the table `behaviour`, where it has rows


def build_profiles(step: Step, settings: Settings, *, progress: Progress = SILENT) -> ProfileReport:
    """Write `profiles` (user_id, as_of, one column a trait) from features, ready.users and predictions."""
    start = time.perf_counter()
    if not step.has("features"):
        raise ShopError("lake.no_table", name="features", have=", ".join(step.lake.names()) or "-")
    parts = find_parts(step, settings)
    engine, known = step.lake.engine, set(step.table("features").columns)
    basis = find_basis(engine, parts.features, known, settings.profile)
    levels = find_levels(engine, parts.features, usable_tags(known))
    count = max(step.rows("features"), step.rows("ready.users"))
    with progress.task("profile", both("profile.task.build", count=f"{count:,}")[settings.shop.language], 1) as advance:
        rows = step.replace("profiles", _wide_sql(step, parts, basis, levels, settings))
        advance(1)
    report = make_report(rows, parts, tuple(step.table("profiles").columns), _count(step), start)
    step.note |= profile_note(report, parts, basis, levels, _unused(step, parts))
    log.info("profiles: %d features rows in, %d out, %.2f s", step.rows("features"), rows, report.seconds)
    return report


def make_report(
    rows: int, parts: Parts, columns: tuple[str, ...], counted: dict[str, Any], start: float
) -> ProfileReport:
    return ProfileReport(
        users=rows,
        as_of=f"{parts.as_of.isoformat()}Z",
        columns=columns,
        outcomes=tuple(outcome.name for outcome in parts.outcomes),
        seconds=round(time.perf_counter() - start, 3),
        **counted,
    )


def profile_note(
    report: ProfileReport, parts: Parts, basis: Basis, levels: dict[str, float], unused: list[str]
) -> dict[str, Any]:
    """What the profile step's note says."""
    return {
        "as_of": report.as_of,
        "stages": report.stages,
        "tags": report.tags,
        "tiers": basis.tiers,
        "buys": basis.buys,
        "worth": basis.worth,
        "levels": levels,
        "predicted": {outcome.name: {"column": outcome.column, "kind": outcome.kind} for outcome in parts.outcomes},
        "unused": unused,
    }


def as_of_moment(found: date | datetime | None, zone: str) -> datetime:
    """The as-of time in naive UTC: a day is its local midnight."""
    if found is None:
        return datetime(1970, 1, 1)
    if isinstance(found, datetime) and found.time() != datetime.min.time():
        return found.replace(tzinfo=None)
    local = datetime(found.year, found.month, found.day, tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC).replace(tzinfo=None)


def trait_columns(lake: Lake, known: Sequence[str], *, ties: bool) -> tuple[str, ...]:
    """The columns of features that become traits, and the shop's own. known: the columns of features; ties: whether there are any."""
    mine = [feature["name"] for feature in lake.note("build").get("features", []) if feature.get("group") == "mine"]
    wanted = [trait.name for trait in COMPUTED if trait.name not in MADE] + mine
    return tuple(name for name in dict.fromkeys(wanted) if name in known or (ties and name == "ties"))


def declared_columns(users: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of ready.users that become traits. columns: those that profiles has already."""
    return tuple(name for name in (*DECLARED, "extra") if name in users and name not in columns)


def find_parts(step: Step, settings: Settings) -> Parts:
    engine, table = step.lake.engine, step.table("features")
    features, known = engine.sql(table), table.columns
    ties = step.rows("clean.relations") > 0
    columns = trait_columns(step.lake, known, ties=ties)
    users, declared, numbered = "", tuple[str, ...](), False
    if step.has("ready.users"):
        found = step.table("ready.users")
        users, numbered = engine.sql(found), "user_no" in found.columns
        declared = declared_columns(found.columns, columns)
    predictions, outcomes = "", tuple[Outcome, ...]()
    if step.rows("predictions"):
        predictions = engine.sql(step.table("predictions"))
        outcomes = used_outcomes(step.lake, find_kinds(step.lake, predictions), columns, declared)
    as_of = as_of_moment(engine.value(f"SELECT max(as_of) FROM ({features})"), settings.shop.timezone)
    behaviour = engine.sql(step.table("behaviour")) if step.rows("behaviour") else ""
    return Parts(features, columns, declared, users, numbered, predictions, outcomes, as_of, ties, behaviour)


def used_outcomes(
    lake: Lake, kinds: Mapping[str, str], columns: Sequence[str], declared: Sequence[str]
) -> tuple[Outcome, ...]:
    """The outcomes with predictions worth using. kinds: outcome -> kind"""
    return tuple(find_outcomes(lake, kinds, {"user_id", "as_of", *MADE, *columns, *declared}))


def _wide_sql(step: Step, parts: Parts, basis: Basis, levels: dict[str, float], settings: Settings) -> str:
    """SQL of the whole table."""
    known = step.table("features").columns
    lines = thresholds(step.lake, parts.predictions) if parts.outcomes else {}
    base = base_sql(step, parts, settings, buys=basis.buys)
    made = finish_sql(step.lake.engine, base, known, parts, basis, levels, lines, settings)
    return f"{made}{' ORDER BY user_no' if parts.numbered else ''}"


def base_sql(step: Step, parts: Parts, settings: Settings, *, buys: bool) -> str:
    """SQL of one row a customer with all that is known of them: what `finish_sql` reads."""
    as_of = f"TIMESTAMP '{parts.as_of.isoformat(sep=' ')}'"
    known = step.table("features").columns
    joins, picked = [], [f"f.{name_sql(name)}" for name in known if name not in ("user_id", "as_of", "user_no")]
    user_id, numbered = "f.user_id", ("user_no",) if parts.numbered else ()
    if parts.users:
        joins.append(
            f"FULL JOIN (SELECT {_list(('user_id', *numbered, *parts.declared))} FROM ({parts.users})) u ON u.user_id = f.user_id"
        )
        picked += [f"u.{name_sql(name)}" for name in (*numbered, *parts.declared)]
        user_id = "coalesce(f.user_id, u.user_id)"
    comeback = step.has("ready.events") and {"event", "ts", "user_id"} <= set(step.table("ready.events").columns)
    if comeback:
        events = step.lake.engine.sql(step.table("ready.events"))
        joins.append(
            f"LEFT JOIN ({comeback_sql(events, settings.profile, as_of, buys=buys)}) c ON c.user_id = f.user_id"
        )
    picked.append("c.comeback_days" if comeback else "NULL::BIGINT AS comeback_days")
    if parts.ties:
        joins.append(f"LEFT JOIN ({_ties_sql(step)}) t ON t.user_id = {user_id}")
        picked.append("coalesce(t.ties, 0) AS ties")
    if parts.outcomes:
        joins.append(f"LEFT JOIN ({pivot_sql(parts.predictions, parts.outcomes)}) p ON p.user_id = {user_id}")
        for outcome in parts.outcomes:
            picked += [f"p.{name_sql(outcome.column)}", f"p.{name_sql(outcome.column + '_confidence')}"]
    if parts.behaviour:
        join, more = behaviour_join(parts.behaviour, user_id)
        joins.append(join)
        picked += more
    return f"SELECT {user_id} AS user_id, {as_of} AS as_of, {', '.join(picked)} FROM ({parts.features}) f {' '.join(joins)}"


def finish_sql(
    engine: Engine,
    base: str,
    known: Sequence[str],
    parts: Parts,
    basis: Basis,
    levels: dict[str, float],
    lines: dict[str, float],
    settings: Settings,
) -> str:
    """SQL of the finished rows over `base`, one row a customer with all that is known: no joins, no look at other rows.

    known: the columns of features; lines: outcome -> the threshold its model chose
    """
    profile, numbered = settings.profile, ("user_no",) if parts.numbered else ()
    limited = f"SELECT *, {limits_sql(known, profile, basis)} AS active_limit_days FROM ({base})"
    staged = f"SELECT *, {lifecycle_sql(profile, basis, comeback=True)} AS lifecycle, {tier_sql(basis)} AS value_tier FROM ({limited})"
    out = [
        "user_id",
        "as_of",
        "lifecycle",
        "value_tier",
        "tags",
        *parts.columns,
        "active_limit_days",
        "comeback_days",
        *parts.declared,
        *numbered,
    ]
    for outcome in parts.outcomes:
        out += [outcome.column, f"{outcome.column}_confidence"]
    out += COLUMNS if parts.behaviour else ()
    tags = _tags(engine, set(known), parts.outcomes, staged, levels, lines, settings)
    return f"SELECT {_list(tuple(out))} FROM (SELECT *, {tags} AS tags FROM ({staged}))"


def _ties_sql(step: Step) -> str:
    """SQL of the other customers each is tied to, whichever of the two the row names first."""
    relations = step.lake.engine.sql(step.table("clean.relations"))
    both_ways = f"SELECT user_id, other_id FROM ({relations}) UNION ALL SELECT other_id, user_id FROM ({relations})"
    return f"SELECT user_id, count(DISTINCT other_id) AS ties FROM ({both_ways}) WHERE user_id <> other_id GROUP BY user_id"


def _tags(
    engine: Engine,
    known: set[str],
    outcomes: tuple[Outcome, ...],
    staged: str,
    levels: dict[str, float],
    lines: dict[str, float],
    settings: Settings,
) -> str:
    likely = {
        outcome.name: f"{name_sql(outcome.column)} >= {find_line(outcome.name, lines[outcome.name], outcome.baseline)!r}"
        for outcome in outcomes
        if outcome.kind == "binary" and outcome.name in lines
    }
    types: dict[str, str] = {}
    if settings.profile.tags:
        types = {field.name: _kind(str(field.type)) for field in engine.schema(staged)}
    mine = {
        name: compile_filter(tag.when, types, name=f"profile.tags.{name}").sql
        for name, tag in settings.profile.tags.items()
    }
    return tags_sql(known, levels, settings.profile, predicted=likely, mine=mine)


def _kind(arrow: str) -> str:
    """The filter language's type of an Arrow type."""
    for kind, names in (
        ("float", ("double", "float", "decimal")),
        ("bool", ("bool",)),
        ("timestamp", ("timestamp", "date")),
    ):
        if arrow.startswith(names):
            return kind
    return "int" if arrow.startswith(("int", "uint")) else arrow if arrow.startswith(("list", "struct")) else "string"


def _count(step: Step) -> dict[str, Any]:
    """Customers by stage and tier, and by tag."""
    engine, sql = step.lake.engine, step.lake.engine.sql(step.table("profiles"))
    stages: dict[str, dict[str, int]] = {}
    for row in engine.rows(f"SELECT lifecycle, value_tier, count(*) AS n FROM ({sql}) GROUP BY ALL ORDER BY ALL"):
        stages.setdefault(row["lifecycle"], {})[row["value_tier"]] = row["n"]
    tagged = f"SELECT unnest(tags) AS tag FROM ({sql})"
    rows = engine.rows(f"SELECT tag, count(*) AS n FROM ({tagged}) GROUP BY tag ORDER BY n DESC, tag LIMIT 100")
    return {"stages": stages, "tags": {row["tag"]: row["n"] for row in rows}}


def _unused(step: Step, parts: Parts) -> list[str]:
    """Traits that say the same nothing (null, 0 or an empty list) of every customer: not worth a line in a profile."""
    types = {field.name: str(field.type) for field in step.lake.engine.schema(step.table("profiles"))}
    columns = [name for name in parts.columns if name in types]
    if not columns:
        return []
    tests = ", ".join(f"bool_or({_says(name, types[name])}) AS {name_sql(name)}" for name in columns)
    found = step.lake.engine.rows(f"SELECT {tests} FROM ({step.lake.engine.sql(step.table('profiles'))})")[0]
    return [name for name in columns if not found[name]]


def _says(name: str, type: str) -> str:
    column = name_sql(name)
    if type.startswith("list"):
        return f"len({column}) > 0"
    return f"{column} IS NOT NULL" if type in ("string", "large_string") else f"{column} <> 0"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(name_sql(name) for name in names)
