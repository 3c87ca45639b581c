"""What the behaviour model adds to a profile: items likely next, customers alike, and the vector itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.look.numbers import Numbers
from huaxiang.profile.context import Context, Row
from huaxiang.profile.say import Text, both
from huaxiang.profile.trait_rows import evidence, made
from huaxiang.profile.traits import SectionName
from huaxiang.words import LANGS, Words

COLUMNS = ("next_items", "similar_customers", "embedding")
SHOWN = 3  # in a trait's text
EXPIRES_DAYS = 7  # what comes next is soon stale


def behaviour_join(engine_sql: str, user_id: str) -> tuple[str, list[str]]:
    """SQL that joins the table `behaviour` (its SQL) to rows with `user_id`, and the columns it adds."""
    picked = 'user_id, next_items, "similar" AS similar_customers, embedding'
    return f"LEFT JOIN (SELECT {picked} FROM ({engine_sql})) b ON b.user_id = {user_id}", [
        f"b.{name}" for name in COLUMNS
    ]


def read_titles(lake: Lake, rows: Iterable[Row]) -> dict[str, str]:
    """item_id -> title (or category and id) of the items that `rows` list."""
    wanted = {one["item_id"] for row in rows for one in row.get("next_items") or []}
    if not wanted or not lake.has("ready.items"):
        return {}
    listed = ", ".join(map(quote, sorted(wanted)))
    items = lake.engine.sql(lake.table("ready.items"))
    found = lake.engine.rows(
        f"SELECT item_id, coalesce(title, category || ' ' || item_id) AS title FROM ({items}) WHERE item_id IN ({listed})"
    )
    return {row["item_id"]: row["title"] for row in found if row["title"]}


def foreseen_traits(context: Context, row: Row, titles: Mapping[str, str]) -> Iterator[tuple[SectionName, Row]]:
    """The traits next_items and similar_customers, where the shop's behaviour model speaks of the customer."""
    about = context.behaviour
    if not about:
        return
    listed = [{**one, "title": titles.get(one["item_id"], one["item_id"])} for one in row.get("next_items") or []]
    model = {"name": about["chosen"], "version": about["version"], "card": None}
    if listed:
        said = {lang: _items(listed, lang) for lang in LANGS}
        exam = about["exam"][about["chosen"]]
        hit = float(exam.get("recall@listed", exam["recall@10"]))
        meaning = both(
            "profile.meaning.next_items", share=f"{hit:.1%}", asked=f"{about['asked']:,}", count=about.get("listed", 10)
        )
        yield "predictions", _foreseen(context, "next_items", listed, said, hit, model, meaning)
    alike = row.get("similar_customers") or []
    if alike:
        reader = {**model, "name": "behaviour"}  # whoever makes the lists, the vectors are the behaviour model's
        said = {lang: _customers(alike, lang) for lang in LANGS}
        nearest = max(0.0, float(alike[0]["similarity"]))
        yield (
            "social",
            _foreseen(
                context, "similar_customers", alike, said, nearest, reader, both("profile.meaning.similar_customers")
            ),
        )


def embedding_of(context: Context, row: Row) -> Row | None:
    """The customer's vector with the model that made it."""
    vector = row.get("embedding")
    if not vector or not context.behaviour:
        return None
    return {
        "model": "behaviour",
        "version": context.behaviour["version"],
        "vector": [round(float(one), 4) for one in vector],
    }


def _foreseen(context: Context, name: str, value: Any, said: Text, confidence: float, model: Row, meaning: Text) -> Row:
    return made(context, name, value, said, confidence=confidence, days=EXPIRES_DAYS, source="predicted", origin=model["name"],
        evidence=evidence(context, name, meaning, 0, []) | {"model": model, "version": model["version"]},
    )  # fmt: skip


def _items(listed: list[Row], lang: str) -> str:
    words = Words(lang)  # type: ignore[arg-type]
    return words("profile.say.comma").join(str(one["title"]) for one in listed[:SHOWN])


def _customers(alike: list[Row], lang: str) -> str:
    words, numbers = Words(lang), Numbers(lang)  # type: ignore[arg-type]
    return words("profile.say.comma").join(
        f"{one['user_id']} {numbers.percent(max(one['similarity'], 0.0), 0)}" for one in alike[:SHOWN]
    )
