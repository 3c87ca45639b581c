"""How good the recommendations are as HTML: the list beside each source, and what each source adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from huaxiang.apply.recommend.known import CHOSEN, PROFILE
from huaxiang.apply.recommend.show import exam_notes, exam_rows, fakes_line
from huaxiang.look import charts
from huaxiang.look.charts import Bar
from huaxiang.look.numbers import Numbers
from huaxiang.look.page import render
from huaxiang.words import Lang, Words


def recommend_body(found: Mapping[str, Any], lang: Lang) -> Markup:
    """The exam of the last `huaxiang recommend` (the lake's note "recommend")."""
    words, numbers = Words(lang), Numbers(lang)
    exam = found["exam"]
    bars = [
        Bar(
            label,
            exam["figures"][name]["ndcg@10"],
            numbers.number(exam["figures"][name]["ndcg@10"], 3),
            colour=2 if name == "ranker" else 8,
        )
        for name, label, _ in exam_rows(exam, lang)
        if name in exam["figures"] and not name.startswith("without ")
    ]
    gains = sorted(exam["gains"].items(), key=lambda pair: -pair[1])[:8]
    return render(
        "recommend.html",
        "huaxiang.report",
        lang=lang,
        head=words(
            "recommend.exam", asked=numbers.number(exam["asked"]), days=exam["window"], reach=numbers.percent(exam["reach"]), mean=f"{exam['candidates_mean']:.0f}"
        ),
        chart=charts.bars(bars, lang=lang, title=words("recommend.figure")),
        gains=charts.bars([Bar(_measure(name, words), share, numbers.percent(share)) for name, share in gains], lang=lang, title=words("recommend.gains")),
        columns=[words(f"recommend.column.{name}") for name in ("recall", "ndcg", "new_recall", "new_ndcg", "reach")],
        rows=[(label, row) for _, label, row in exam_rows(exam, lang)],
        note=words("recommend.note"),
        fakes=fakes_line(found.get("fakes", {"orders": 0}), words, numbers),
        beaten=" ".join(exam_notes(exam, lang)),
    )  # fmt: skip


def _measure(name: str, words: Words) -> str:
    source, _, what = name.rpartition("_")
    if what in ("score", "rank"):
        return words(f"recommend.{what}", source=words(f"recommend.source.{source}"))
    feature = name.removeprefix(f"{PROFILE}_")
    return words("recommend.measure.profile", name=feature) if feature in CHOSEN else words(f"recommend.measure.{name}")
