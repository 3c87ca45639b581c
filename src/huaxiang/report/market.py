"""Segments and audiences as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from huaxiang.apply.market.grids import FIFTHS
from huaxiang.apply.market.segments import Difference, Segment
from huaxiang.apply.market.show import RULE_COLUMNS, held_line, rule_texts, segment_name
from huaxiang.look import charts
from huaxiang.look.charts import Bar
from huaxiang.look.numbers import Numbers
from huaxiang.look.page import render
from huaxiang.profile.lifecycle import STAGES
from huaxiang.words import Lang, Words


def segments_body(found: Mapping[str, Any], lang: Lang) -> Markup:
    """The segments of the last `huaxiang segments` (Segments.to_dict)."""
    words, numbers = Words(lang), Numbers(lang)
    line = "market.segments_found" if found["steady"] else "market.segments_unsteady"
    segments = [
        Segment(**{**one, "differences": tuple(Difference(**row) for row in one["differences"])})
        for one in found["segments"]
    ]
    made = words("market.segments_made", as_of=found["as_of"], version=found["version"]) if found.get("version") else ""
    return render(
        "segments.html",
        "huaxiang.report",
        lang=lang,
        head=words(line, count=len(segments), customers=numbers.number(found["customers"]), way=words(f"market.grouping.{found['way']}"), stability=f"{found['stability']:.2f}"),
        made=made,
        segments=[_segment(one, lang, words, numbers) for one in segments],
    )  # fmt: skip


def _segment(one: Segment, lang: Lang, words: Words, numbers: Numbers) -> dict[str, Any]:
    most = max((abs(row.apart) for row in one.differences), default=1.0)
    bars = [
        Bar(
            row.name(lang), abs(row.apart), ("+" if row.apart > 0 else "−") + f"{abs(row.apart):.1f} σ",
            f"{numbers.number(row.typical)} · {words('market.against', mean=numbers.number(row.everybody))}", colour=2 if row.apart > 0 else 5,
        )
        for row in one.differences
    ]  # fmt: skip
    return {
        "number": one.number, "name": segment_name(one, lang), "size": numbers.number(one.size), "share": numbers.percent(one.share),
        "chart": charts.bars(bars, lang=lang, most=max(most, 2.0)) if bars else "",
        "stages": [(words.either(f"profile.lifecycle.{name}", name), numbers.percent(share)) for name, share in list(one.stages.items())[:3]],
    }  # fmt: skip


def flow_body(found: Mapping[str, Any], lang: Lang) -> Markup:
    """Who moved between lifecycle stages (lifecycle_flow)."""
    words, numbers = Words(lang), Numbers(lang)
    groups = [(stage, words(f"profile.lifecycle.{stage}")) for stage in STAGES]
    drawn = charts.sankey(
        {(row["before"], row["now"]): row["customers"] for row in found["moves"]},
        [*groups, ("", words("market.not_yet"))],
        groups,
        lang=lang,
        title=words("market.flow_chart", before=numbers.date(found["before"]), now=numbers.date(found["now"])),
    )
    return Markup('<div class="card">{}</div>').format(drawn)


def rfm_body(found: Sequence[Mapping[str, Any]], lang: Lang) -> Markup:
    """Where the spend of a year lies, by fifths of recency and frequency (rfm_grid)."""
    words, numbers = Words(lang), Numbers(lang)
    cells = {(row["recency"], row["frequency"]): row["spend_share"] for row in found}
    fifths = range(1, FIFTHS + 1)
    drawn = charts.heat(
        [[cells.get((recency, frequency)) for frequency in fifths] for recency in reversed(fifths)],
        [words("report.rfm_r", n=recency) for recency in reversed(fifths)],
        [words("report.rfm_f", n=frequency) for frequency in fifths],
        lang=lang,
        title=words("market.rfm_chart"),
        shown=numbers.percent,
        write_cells=True,
        cell=56,
        note=words("market.rfm_note"),
    )
    return Markup('<div class="card">{}</div>').format(drawn)


def rules_body(found: Mapping[str, Any], lang: Lang) -> Markup:
    """What goes with what. pairs: categories that the same customers buy (rules); held: each last find_associations"""
    numbers, words = Numbers(lang), Words(lang)
    return render(
        "rules.html",
        "huaxiang.report",
        lang=lang,
        rows=[
            (one["one"], one["other"], numbers.number(one["customers"]), numbers.percent(one["confidence"]), f"{one['lift']:.1f} ({one['low']:.1f}–{one['high']:.1f})")
            for one in found["pairs"]
        ],
        columns=[(words(f"market.column.{name}"), name not in ("given", "then")) for name in RULE_COLUMNS],
        held=[(held_line(one, lang), [rule_texts(row, lang) for row in one["rules"]]) for one in found["held"]],
    )  # fmt: skip


def audiences_body(found: Sequence[Mapping[str, Any]], lang: Lang) -> Markup:
    """The audiences as last refreshed (Audience as dictionaries)."""
    numbers = Numbers(lang)
    return render(
        "audiences.html",
        "huaxiang.report",
        lang=lang,
        rows=[
            (one["name"], numbers.number(one["size"]), numbers.number(one["entered"]), numbers.number(one["left"]), one["when"], one["meaning"])
            for one in found
        ],
    )  # fmt: skip
