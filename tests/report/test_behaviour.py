"""What the report says of the behaviour model."""

from __future__ import annotations

import re
from datetime import datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from huaxiang.models.next_item.show import show_foreseen
from huaxiang.models.why import Cited, Foreseen
from huaxiang.report.behaviour import behaviour_body
from huaxiang.words import Lang

FALL = Cited("i1", "tea cup", "purchase", datetime(2025, 1, 1), 0.7)
LIKELY = {"a": [Foreseen("i2", "tea pot", 0.2, False, (FALL,))]}


def note(**changed: Any) -> dict[str, Any]:
    judged = {"recall@10": 0.3, "ndcg@10": 0.2}
    return {
        "status": "trained", "size": "tiny", "parameters": 10_000, "users": 50, "items": 20, "events": 400, "seconds": 3.0, "asked": 9,
        "exam": dict.fromkeys(("behaviour", "neighbours", "again", "popular", "fusion"), judged), "chosen": "fusion",
        "weights": {"behaviour": 0.3, "neighbours": 1.0, "again": 0.0, "popular": 0.1},
        "curve": [{"loss": 3.0, "seconds": 1.0, "ndcg@10": 0.1, "steps": [[0.25, 4.0], [0.5, 3.0], [1.0, 2.0]]}],
    } | changed  # fmt: skip


def shown(lang: Lang = "en", **changed: Any) -> str:
    return str(behaviour_body(note(**changed), [], LIKELY, [], lang))


def test_reasons_are_said_to_be_the_fusions_where_it_lists() -> None:
    text = shown()
    assert "those of the fusion" in text and "co-occurrence (kNN), behaviour model, popular together" in text
    assert "the same again, " not in text.partition("those of the fusion")[2][:90]  # it weighs nothing
    assert "融合模型" in shown("zh")


@pytest.mark.parametrize(("chosen", "name"), [("neighbours", "co-occurrence (kNN)"), ("behaviour", "behaviour model")])
def test_reasons_are_said_to_be_the_chosen_models(chosen: str, name: str) -> None:
    text = shown(chosen=chosen)
    assert f"foresaw best here: {name}." in text and "those of the fusion" not in text


def test_the_loss_of_one_epoch_is_a_line_and_its_one_validation_no_chart() -> None:
    """Three points in one epoch: a path with two legs."""
    text = shown()
    drawn = text.partition("loss, as events were read")[2]
    path = re.search(r'd="M([^"]+)"', drawn)
    assert path is not None and path.group(1).count("L") == 2
    assert "NDCG@10 after each epoch" not in text
    twice = shown(curve=note()["curve"] * 2)
    assert "NDCG@10 after each epoch" in twice


def test_a_training_of_an_older_version_has_no_points_and_is_shown() -> None:
    assert "NDCG@10 after each epoch" in shown(curve=[{"loss": 3.0, "ndcg@10": 0.1}] * 2)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_an_items_part_of_the_score_is_not_shown_beside_confidences_as_if_it_were_a_chance(lang: Lang) -> None:
    likely = [Foreseen("i2", "tea pot", 0.0123, False, (FALL,)), Foreseen("i3", "tea egg", 0.0045, False, ())]
    page = str(behaviour_body(note(), [], {"a": likely}, [], lang))
    console = Console(width=120, record=True, file=StringIO())
    show_foreseen(likely, console, lang)
    for text in (page, console.export_text()):
        assert (
            "tea pot" in text and "tea egg" in text and "1.2" not in text and "0.45" not in text and "0.5 %" not in text
        )


def test_one_event_is_one_event() -> None:
    assert "This event drove this" in shown() and "1 events" not in shown()
    both = [Foreseen("i2", "tea pot", 0.2, False, (FALL, FALL))]
    assert "These 2 events drove this" in str(behaviour_body(note(), [], {"a": both}, [], "en"))
