"""The profile of one customer, or of many, as documents (`huaxiang.profile/1`, see profile.schema.json)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ShopError, UnknownUserError
from huaxiang.features.users import bucket_of
from huaxiang.profile.because import Behind, Past, finite, pick_users, read_pasts, write_time
from huaxiang.profile.context import Context
from huaxiang.profile.foreseen import embedding_of, foreseen_traits, read_titles
from huaxiang.profile.persona import write_persona
from huaxiang.profile.say import both
from huaxiang.profile.tags import describe_tag, explain_tag
from huaxiang.profile.trait_rows import computed_traits, declared_traits, made_trait, predicted_traits
from huaxiang.profile.traits import SECTIONS
from huaxiang.settings import Settings
from huaxiang.words import LANGS, guess_lang

SCHEMA = "huaxiang.profile/1"
BATCH = 1_000
FEW = 20
Row = dict[str, Any]


@dataclass(frozen=True)
class Profile:
    """One customer's profile. `document`: plain JSON values only."""

    user_id: str
    document: Row

    def to_dict(self) -> Row:
        return self.document

    def to_json(self, indent: int | None = None) -> str:
        return json.dumps(self.document, ensure_ascii=False, indent=indent, allow_nan=False)

    def trait(self, name: str) -> Row | None:
        """The trait named `name`, from whichever section has it."""
        return next(
            (trait for part in self.document["sections"].values() for trait in part["traits"] if trait["name"] == name),
            None,
        )

    def _repr_html_(self) -> str:
        from huaxiang.profile.page import profile_fragment

        return profile_fragment(self.document, guess_lang())


def profile_document(lake: Lake, settings: Settings, user_id: str) -> Profile:
    """The profile of one customer by pseudonym; raises UnknownUserError, or ShopError where no profiles are built yet."""
    found = next(iter(profile_documents(lake, settings, [user_id])), None)
    if found is None:
        raise UnknownUserError("profile.unknown_user")
    return found


def profile_documents(
    lake: Lake, settings: Settings, user_ids: Iterable[str], *, batch: int = BATCH
) -> Iterator[Profile]:
    """The profiles of many customers in the order asked for, those unknown left out; `batch` at a time in memory."""
    if not lake.has("profiles"):
        raise ShopError("lake.no_table", name="profiles", have=", ".join(lake.names()) or "-")
    context = Context.of(lake, settings)
    asked = iter(user_ids)
    while wanted := list(itertools.islice(asked, batch)):
        people = _people(lake, wanted)
        numbers = {user_id: row["user_no"] for user_id, row in people.items() if row.get("user_no") is not None}
        rows = _profiles(lake, wanted, numbers)
        predictions = _predictions(lake, wanted)
        mine = _mine(lake, context, wanted)
        known = [user_id for user_id in wanted if user_id in rows]
        titles = read_titles(lake, rows.values())
        for user_id, past in read_pasts(lake, known, numbers, context.as_of, settings.shop.timezone) if known else ():
            said = (people.get(user_id, {}), predictions.get(user_id, []), mine.get(user_id, {}))
            document = _document(context, rows[user_id], *said, past, titles)
            yield Profile(user_id, document)


def _document(
    context: Context,
    row: Row,
    person: Row,
    predictions: Sequence[Row],
    mine: Mapping[str, Behind],
    past: Past,
    titles: Mapping[str, str],
) -> Row:
    row = {name: finite(value) for name, value in row.items()}
    sections: dict[str, list[Row]] = {name: [] for name in SECTIONS}
    for section, trait in itertools.chain(
        computed_traits(context, row, past, mine),
        declared_traits(context, row, person),
        predicted_traits(context, row, predictions),
        foreseen_traits(context, row, titles),
    ):
        sections[section].append(trait)
    sections["basic"].sort(key=lambda trait: trait["name"] not in ("lifecycle", "value_tier"))
    traits = {trait["name"]: trait for part in sections.values() for trait in part}
    meanings = {outcome.name: outcome.meaning for outcome in context.outcomes}
    columns = {outcome.name: outcome.column for outcome in context.outcomes}
    tags = [
        {
            "name": name,
            **describe_tag(name, context.settings.profile, meanings),
            "because": [cited for cited in explain_tag(name, context.settings.profile, columns) if cited in traits],
        }
        for name in row.get("tags") or []
    ]
    persona = write_persona(traits)
    if tags:
        said = {lang: both("profile.say.comma")[lang].join(tag[lang] for tag in tags) for lang in LANGS}
        sections["tags"].append(made_trait(context, "tags", [tag["name"] for tag in tags], said))
    if persona:
        said = {"en": " ".join(part["en"] for part in persona), "zh": "".join(part["zh"] for part in persona)}
        sections["persona"].append(made_trait(context, "persona", [part["en"] for part in persona], said))
    return {
        "schema": SCHEMA,
        "user_id": row["user_id"],
        "shop": context.settings.shop.name,
        "currency": context.settings.shop.currency,
        "as_of": write_time(context.as_of),
        "timezone": context.settings.shop.timezone,
        "headline": {"lifecycle": row["lifecycle"], "value_tier": row["value_tier"]},
        "sections": {
            name: {"traits": part, "absent": None if part else both(f"profile.absent.{name}")}
            for name, part in sections.items()
        },
        "tags": tags,
        "persona": persona,
        "embedding": embedding_of(context, row),
        "timeline": past.timeline(),
        "spending": past.spending(),
    }


def _people(lake: Lake, user_ids: Sequence[str]) -> dict[str, Row]:
    """user_id -> user_no, sources and filled of ready.users ({} where the lake lacks it)."""
    if not lake.has("ready.users"):
        return {}
    table = lake.table("ready.users")
    columns = ", ".join(name for name in ("user_id", "user_no", "sources", "filled") if name in table.columns)
    where = f"user_id IN ({', '.join(map(quote, user_ids))})"
    if "bucket" in table.columns and len(user_ids) <= FEW:  # sorted by bucket: few rows are read
        where += f" AND bucket IN ({', '.join(sorted({str(bucket_of(user_id)) for user_id in user_ids}))})"
    rows = lake.engine.rows(f"SELECT {columns} FROM ({lake.engine.sql(table)}) WHERE {where}")
    return {row["user_id"]: row for row in rows}


def _profiles(lake: Lake, user_ids: Sequence[str], numbers: Mapping[str, int]) -> dict[str, Row]:
    """user_id -> its row of `profiles`."""
    table = lake.table("profiles")
    where = pick_users(user_ids, numbers if "user_no" in table.columns else {})
    rows = lake.engine.rows(f"SELECT * FROM ({lake.engine.sql(table)}) WHERE {where}")
    return {row["user_id"]: row for row in rows}


def _mine(lake: Lake, context: Context, user_ids: Sequence[str]) -> dict[str, dict[str, Behind]]:
    """user_id -> the shop's own features and the events behind each: only their definitions know which count."""
    if not context.mine:
        return {}
    from huaxiang.features.evidence import evidence_sql

    found: dict[str, dict[str, Behind]] = {}
    for row in lake.engine.rows(evidence_sql(lake, context.settings, context.mine, users=user_ids)):
        latest = [finite(event) | {"ts": write_time(event["ts"])} for event in row["latest"]]
        found.setdefault(row["user_id"], {})[row["feature"]] = Behind(int(row["events"]), latest)
    return found


def _predictions(lake: Lake, user_ids: Sequence[str]) -> dict[str, list[Row]]:
    if not lake.rows("predictions"):
        return {}
    names = ", ".join(quote(user_id) for user_id in user_ids)
    found: dict[str, list[Row]] = {}
    for row in lake.engine.rows(
        f"SELECT * FROM ({lake.engine.sql(lake.table('predictions'))}) WHERE user_id IN ({names})"
    ):
        found.setdefault(row["user_id"], []).append(row)
    return found
