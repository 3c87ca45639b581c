"""The features of a shop, and the explanation of one value, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from huaxiang.features.explain import Explanation
from huaxiang.words import Lang, Words

_LISTED = 5  # entries of a list shown as part of a step


def show_features(listed: Sequence[Mapping[str, Any]], console: Console, lang: Lang) -> None:
    """Name, unit, group, version, whether live, meaning: one line a feature."""
    words = Words(lang)
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("name", "unit", "version", "live", "meaning"):
        shown.add_column(words(f"features.list.{column}"), no_wrap=column != "meaning")
    for feature in listed:
        live = "●" if feature.get("live", True) else words("features.list.batch")
        meaning = str(feature[f"meaning_{lang}"])
        if feature.get("owner") and feature["group"] == "mine":
            meaning += f" ({feature['owner']})"
        shown.add_row(*map(escape, (feature["name"], feature["unit"], feature["version"][:8], live, meaning)))
    console.print(shown)


def show_explanation(found: Explanation, console: Console, lang: Lang, *, zone: str = "UTC") -> None:
    """zone: of the shop, by whose clock events are told"""
    words = Words(lang)
    feature = found.feature

    def say(key: str, **values: Any) -> str:
        return words(f"features.explain.{key}", **values)

    def written(value: Any) -> str:
        return _written(value, say("unknown"))

    console.print(
        say("title", name=feature.name, user=found.user_id, as_of=found.as_of),
        style="bold",
        highlight=False,
        markup=False,
    )
    head = Table(box=None, show_header=False, pad_edge=False)
    meaning = feature.meaning_zh if lang == "zh" else feature.meaning_en
    for name, text in (
        ("value", f"{written(found.value)} {feature.unit if found.value is not None else ''}"),
        ("meaning", meaning),
        ("definition", feature.text()),
        ("version", feature.version),
        ("owner", feature.owner),
    ):
        if text.strip():
            head.add_row(f"  {say(name)}", escape(text))
    console.print(head, highlight=False)
    if found.history_from is not None:
        console.print(f"  {say('short', first=found.history_from)}", style="yellow", highlight=False)
    console.print(say("arithmetic"), style="bold")
    steps = Table(box=None, show_header=False, pad_edge=False)
    for step in found.steps:
        shown = written(step.value) if step.value is not None else ""
        steps.add_row(f"  {step.name} =", escape(shown), escape(step.what))
    console.print(steps, highlight=False)
    console.print(
        f"  {feature.name} = {found.formula} = {written(found.value)}", highlight=False, soft_wrap=True, markup=False
    )
    console.print(say("events", count=f"{found.evidence.events:,}", shown=len(found.evidence.latest)), style="bold")
    events = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("ts", "event", "item_id", "title", "amount"):
        events.add_column(f"  {column}" if column == "ts" else column)
    for row in found.evidence.latest:
        events.add_row(
            *(
                f"  {_local(row['ts'], zone).isoformat(sep=' ', timespec='seconds')}"
                if name == "ts"
                else escape(_cell(row[name]))
                for name in ("ts", "event", "item_id", "title", "amount")
            )
        )
    console.print(events, highlight=False)


def explanation_json(found: Explanation, zone: str = "UTC") -> dict[str, Any]:
    """As JSON; times of events in ISO 8601 by the clock of `zone`, with its offset."""
    feature = found.feature
    return {
        "feature": feature.name, "user_id": found.user_id, "as_of": found.as_of.isoformat(), "value": found.value,
        "unit": feature.unit, "meaning_en": feature.meaning_en, "meaning_zh": feature.meaning_zh, "owner": feature.owner,
        "definition": feature.text(), "version": feature.version, "formula": found.formula,
        "history_from": found.history_from and found.history_from.isoformat(),
        "steps": [vars(step) for step in found.steps], "events": found.evidence.events, "latest": [row | {"ts": _local(row["ts"], zone).isoformat()} for row in found.evidence.latest],
    }  # fmt: skip


def _local(ts: datetime, zone: str) -> datetime:
    """A time of an event (UTC) by the clock of `zone`."""
    return ts.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))


def _written(value: Any, unknown: str) -> str:
    if value is None:
        return unknown
    if isinstance(value, float | int):
        return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.2f}"
    if isinstance(value, list):
        shown = ", ".join(_entry(entry, unknown) for entry in value[:_LISTED])
        return f"[{shown}{', …' if len(value) > _LISTED else ''}]"
    return str(value)


def _entry(value: Any, unknown: str) -> str:
    if isinstance(value, Mapping):
        return f"{value['key']} {value['share']:.1%}"
    if isinstance(value, tuple):  # a score and its key
        return f"{value[1]} {value[0]:.4g}"
    return _written(value, unknown)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:,.2f}" if isinstance(value, float) else str(value)
