"""The whole shop on one page: what happened, who the customers are, what comes next, how good the data and the models are."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from huaxiang.clean.quality import QualityReport
from huaxiang.engine import Lake
from huaxiang.engine.lake import write_atomically
from huaxiang.look.numbers import Numbers, as_time
from huaxiang.look.page import page, render
from huaxiang.models.card import ScoreCard
from huaxiang.models.next_item.compare import Leaderboard
from huaxiang.models.vector_table import vector_table
from huaxiang.models.why import Foreseen
from huaxiang.profile.page import portrait
from huaxiang.report.behaviour import behaviour_body
from huaxiang.report.board import board_body
from huaxiang.report.cards import card_body
from huaxiang.report.decided import decided_sections
from huaxiang.report.gather import Gathered, gather
from huaxiang.report.overview import overview
from huaxiang.report.quality import quality_body
from huaxiang.settings import Settings
from huaxiang.words import LANGS, Lang, Words

log = logging.getLogger(__name__)

SHEETS = ("sheet.css", "profile.css", "report.css")
STEPS = ("collect", "clean", "build", "train", "profile")
PARTS = ("overview", "customers", "predictions", "profiles", "quality", "definitions", "made")


def write_report(
    lake: Lake,
    settings: Settings,
    *,
    quality: QualityReport | None,
    cards: list[ScoreCard],
    profiles: list[dict[str, Any]],
    board: Leaderboard | None = None,
    foreseen: Mapping[str, Sequence[Foreseen]] | None = None,
    decided: Mapping[str, Any] | None = None,
    out: Path,
    lang: Lang,
) -> Path:
    """The path of the shop's self-contained HTML report, written in one step."""
    start = time.perf_counter()
    notes = {step: lake.note(step) for step in STEPS}
    text = shop_report(
        gather(lake, settings),
        settings,
        notes=notes,
        quality=quality,
        cards=cards,
        profiles=profiles,
        board=board,
        foreseen=foreseen,
        decided=decided,
        lang=lang,
    )
    write_atomically(out, text)
    log.info(
        "report: %d customers shown, %d bytes, %.1f s", len(profiles), len(text.encode()), time.perf_counter() - start
    )
    return out


def shop_report(
    found: Gathered,
    settings: Settings,
    *,
    notes: Mapping[str, Mapping[str, Any]],
    quality: QualityReport | None,
    cards: Sequence[ScoreCard],
    profiles: Sequence[Mapping[str, Any]],
    board: Leaderboard | None = None,
    foreseen: Mapping[str, Sequence[Foreseen]] | None = None,
    decided: Mapping[str, Any] | None = None,
    lang: Lang,
) -> str:
    """The report as HTML, in both languages, opened in `lang`. notes: what each step noted in the lake."""
    name = settings.shop.name
    bodies = {
        each: _body(
            found,
            settings,
            notes=notes,
            quality=quality,
            cards=cards,
            profiles=profiles,
            board=board,
            foreseen=foreseen or {},
            decided=decided or {},
            lang=each,
        )
        for each in LANGS
    }
    headings: dict[Lang, tuple[str, str]] = {each: (name, _subtitle(notes, found, each)) for each in LANGS}
    title = Words(lang)("report.title", shop=name)
    return page(title, bodies, lang=lang, headings=headings, sheets=SHEETS)


def _body(
    found: Gathered,
    settings: Settings,
    *,
    notes: Mapping[str, Mapping[str, Any]],
    quality: QualityReport | None,
    cards: Sequence[ScoreCard],
    profiles: Sequence[Mapping[str, Any]],
    board: Leaderboard | None,
    foreseen: Mapping[str, Sequence[Foreseen]],
    decided: Mapping[str, Any],
    lang: Lang,
) -> Markup:
    numbers = Numbers(lang, settings.shop.currency)
    features = list(notes.get("build", {}).get("features") or [])
    meanings = {row["name"]: str(row.get(f"meaning_{lang}") or "") for row in features}
    trained = notes.get("train", {}).get("behaviour") or {}
    meanings.setdefault("recent_events", Words(lang)("models.recent_events"))
    return render(
        "report.html",
        "huaxiang.report",
        "huaxiang.profile",
        lang=lang,
        numbers=numbers,
        parts=PARTS,
        shop=settings.shop.name,
        span=_span(found, numbers),
        view=overview(found, numbers, lang),
        cards=[
            {
                "card": card,
                "title": card.meaning.get(lang) or card.outcome,
                "body": card_body(
                    card,
                    lang,
                    currency=settings.shop.currency,
                    meanings=meanings,
                    spread=[row for row in found.predicted if row["outcome"] == card.outcome],
                ),
            }
            for card in cards
        ],
        board=board_body(board, lang) if board is not None else None,
        behaviour=behaviour_body(trained, found.points, foreseen, vector_table(cards), lang) if trained else None,
        decided=decided_sections(decided, lang, settings.shop.currency),
        profiles=[_example(document, lang) for document in profiles],
        quality=quality_body(quality, lang) if quality is not None else None,
        features=_by_group(features, lang),
        feature_count=len(features),
        outcomes=[_outcome(row, lang) for row in notes.get("build", {}).get("outcomes") or []],
        made=_made(found, settings, notes, numbers, lang),
    )


def _subtitle(notes: Mapping[str, Mapping[str, Any]], found: Gathered, lang: Lang) -> str:
    as_of = notes.get("build", {}).get("as_of") or found.totals.get("last")
    return (
        Words(lang)("report.subtitle", date=Numbers(lang).date(as_of))
        if as_of
        else Words(lang)("report.subtitle_plain")
    )


def _span(found: Gathered, numbers: Numbers) -> str:
    first, last = found.totals.get("first"), found.totals.get("last")
    return f"{numbers.date(first)} – {numbers.date(last)}" if first and last else ""


def _example(document: Mapping[str, Any], lang: Lang) -> dict[str, Any]:
    """A customer in a few lines, the whole portrait beneath to unfold."""
    traits = {
        trait["name"]: trait
        for section in document["sections"].values()
        for trait in (section or {}).get("traits") or []
    }

    def text(name: str) -> str:
        return str((traits.get(name, {}).get("text") or {}).get(lang) or "")

    headline = document.get("headline") or {}
    return {
        "user": document["user_id"],
        "stage": headline.get("lifecycle") or "none",
        "stage_text": text("lifecycle") or headline.get("lifecycle"),
        "tier": headline.get("value_tier") or "none",
        "tier_text": text("value_tier") if headline.get("value_tier") not in (None, "none") else "",
        "tags": [tag.get(lang) or tag["name"] for tag in document.get("tags") or []][:6],
        "story": (" " if lang == "en" else "").join(
            sentence.get(lang) or "" for sentence in document.get("persona") or []
        ),
        "portrait": portrait(document, lang),
    }


def _by_group(features: Sequence[Mapping[str, Any]], lang: Lang) -> list[tuple[str, list[dict[str, Any]]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    words = Words(lang)
    for row in features:
        group = str(row.get("group") or "")
        line = {
            "name": row["name"],
            "unit": row.get("unit") or "",
            "meaning": row.get(f"meaning_{lang}") or "",
            "version": row.get("version") or "",
        }
        groups.setdefault(group, []).append(line)
    return [(words.either(f"report.group.{group}", group.replace("_", " ")), rows) for group, rows in groups.items()]


def _outcome(row: Mapping[str, Any], lang: Lang) -> dict[str, Any]:
    return {
        "name": row["name"],
        "meaning": row.get(f"meaning_{lang}") or "",
        "kind": row.get("kind") or "",
        "among": row.get("among") or "",
        "version": row.get("version") or "",
    }


def _made(
    found: Gathered, settings: Settings, notes: Mapping[str, Mapping[str, Any]], numbers: Numbers, lang: Lang
) -> dict[str, Any]:
    from huaxiang import __version__

    words = Words(lang)
    plain = json.dumps(settings.model_dump(mode="json"), sort_keys=True, default=str)
    facts = [
        (words("report.made.version"), f"huaxiang {__version__}"),
        (words("report.made.settings"), hashlib.sha256(plain.encode()).hexdigest()[:12]),
        (words("report.made.zone"), settings.shop.timezone),
        (words("report.made.currency"), settings.shop.currency),
    ]
    as_of = as_time(notes.get("build", {}).get("as_of"))
    if as_of:
        facts.insert(0, (words("report.made.as_of"), numbers.date(as_of)))
    steps = [
        (
            words(f"report.step.{name}"),
            numbers.seconds(note.get("seconds")),
            f"{numbers.date(note.get('finished_at'))} {numbers.clock(note.get('finished_at'))}",
        )
        for name, note in notes.items()
        if note
    ]
    tables = [(name, numbers.number(rows)) for name, rows in found.counts.items()]
    return {"facts": facts, "steps": steps, "tables": tables}
