"""The events behind a value: how many, the latest few, and the definition that counted them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import DefinitionError, ShopError
from huaxiang.features.algebra import Feature
from huaxiang.features.mine import declared_features
from huaxiang.features.plan import Plan
from huaxiang.features.scores import SCORES
from huaxiang.features.windows import AS_OF
from huaxiang.settings import Settings

SHOWN = ("event_id", "ts", "event", "item_id", "title", "amount")


@dataclass(frozen=True)
class Evidence:
    """Why a feature has its value. `latest`: newest first, each with event_id, ts, event, item_id, title, amount."""

    feature: str
    definition: str
    version: str
    events: int
    latest: tuple[dict[str, Any], ...] = ()


def evidence(lake: Lake, settings: Settings, user_id: str, names: Sequence[str], limit: int = 5) -> dict[str, Evidence]:
    """Feature name -> the events of `user_id` that gave its value, for each of `names`.

    raises: DefinitionError for a name that is no feature; ShopError before the first build
    """
    found = defined_features(lake, settings, names)
    rows = lake.engine.rows(evidence_sql(lake, settings, names, users=[user_id], limit=limit))
    counted = {row["feature"]: row for row in rows}
    return {
        name: Evidence(
            name,
            feature.text(),
            feature.version,
            int(counted[name]["events"]) if name in counted else 0,
            tuple(counted[name]["latest"]) if name in counted else (),
        )
        for name, feature in found.items()
    }


def evidence_sql(
    lake: Lake, settings: Settings, names: Sequence[str], *, users: Sequence[str] | None = None, limit: int = 5
) -> str:
    """SQL of user_id, feature, events (count), latest (list of structs, newest first), for `users` (None: everyone).

    A user with no event behind a feature has no row for it.
    """
    definitions = defined_features(lake, settings, names)
    conditions: dict[str, list[str]] = {}
    for name, feature in definitions.items():
        conditions.setdefault(_condition(feature), []).append(name)
    as_of = date.fromisoformat(lake.note("build")["as_of"])
    source = _rows(lake, as_of, users)
    shown = ", ".join(f"{quote(column)}: {column}" for column in SHOWN)
    lists = ", ".join(
        f"count(*) FILTER (WHERE {kept}) AS n{number}, "
        f"arg_max({{{shown}}}, {{'ts': ts, 'id': event_id}}, {limit}) FILTER (WHERE {kept}) AS l{number}"
        for number, kept in enumerate(conditions)
    )
    grouped = f"SELECT user_id, {lists} FROM ({source}) GROUP BY user_id".replace(AS_OF, f"DATE '{as_of}'")
    parts = [
        f"{{'feature': {quote(name)}, 'events': n{number}, 'latest': l{number}}}"
        for number, members in enumerate(conditions.values())
        for name in members
    ]
    return (
        f"SELECT user_id, t.feature AS feature, t.events AS events, t.latest AS latest "
        f"FROM (SELECT user_id, unnest([{', '.join(parts)}]) AS t FROM ({grouped})) WHERE t.events > 0"
    )


def _rows(lake: Lake, as_of: date, users: Sequence[str] | None) -> str:
    engine = lake.engine
    kept = f"e.known_day < DATE '{as_of}'"
    if users is not None:
        listed = ", ".join(map(quote, users)) or "''"
        numbers = [
            row["user_no"]
            for row in engine.rows(
                f"SELECT user_no FROM ({engine.sql(lake.table('ready.users'))}) WHERE user_id IN ({listed})"
            )
        ]
        kept += f" AND e.user_no IN ({', '.join(map(str, numbers)) or '-1'})"
    return (
        f"SELECT e.*, i.title FROM ({engine.sql(lake.table('ready.events'))}) AS e "
        f"LEFT JOIN (SELECT item_no, title FROM ({engine.sql(lake.table('ready.items'))})) AS i ON e.item_no = i.item_no WHERE {kept}"
    )


def defined_features(lake: Lake, settings: Settings, names: Sequence[str]) -> dict[str, Feature]:
    """The definitions of `names`; raises DefinitionError for a name that is no feature, ShopError before the first build."""
    note = lake.note("build")
    if not note:
        raise ShopError("lake.no_table", name="features", have=", ".join(lake.names()) or "-")
    known = {
        feature.name: feature
        for feature in declared_features(settings.features, note["categories"], sells=note.get("sells", True))
    }
    for name in names:
        if name not in known:
            raise DefinitionError("features.unknown_feature", name=name, known=", ".join(known))
    return {name: known[name] for name in names}


def _condition(feature: Feature) -> str:
    """SQL of the events that count, as-of left open. A score rests on what the feature it ranks rests on: purchases."""
    plan = Plan()
    if feature.name in SCORES:
        return plan.where("event == 'purchase'", feature.name).sql
    return feature.agg.evidence_sql(feature.place(plan)) or "TRUE"
