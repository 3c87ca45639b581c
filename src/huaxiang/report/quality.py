"""The quality report as HTML: five dimensions before and after, what was set aside and why, every column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from huaxiang.clean.quality import DIMENSIONS, QualityReport, TableQuality
from huaxiang.look import charts
from huaxiang.look.charts import Bar, Series
from huaxiang.look.charts.amounts import meter
from huaxiang.look.numbers import Numbers, as_time, is_number
from huaxiang.look.page import page, render
from huaxiang.tables import TABLES
from huaxiang.words import LANGS, Lang, Words

SHEETS = ("sheet.css", "report.css")


def quality_page(report: QualityReport, lang: Lang) -> str:
    """A quality report as a page of its own, in both languages, opened in `lang`."""
    headings: dict[Lang, tuple[str, str]] = {
        each: (
            Words(each)("report.quality.title"),
            Words(each)("report.made_on", date=Numbers(each).date(report.made_at)),
        )
        for each in LANGS
    }
    bodies = {each: quality_body(report, each) for each in LANGS}
    return page(Words(lang)("report.quality.title"), bodies, lang=lang, headings=headings, sheets=SHEETS)


def quality_body(report: QualityReport, lang: Lang) -> Markup:
    """The quality report without a page around it."""
    numbers, words = Numbers(lang), Words(lang)
    return render(
        "quality.html",
        "huaxiang.report",
        lang=lang,
        numbers=numbers,
        report=report,
        share=report.rows.clean / report.rows.raw if report.rows.raw else None,
        dimensions=[
            {
                "name": words(f"report.dimension.{name}"),
                "meaning": words(f"report.dimension.{name}_means"),
                "before": getattr(report.scores.before, name),
                "after": getattr(report.scores.after, name),
            }
            for name in DIMENSIONS
        ],
        overall=report.scores,
        reasons=_reasons(report, lang),
        tables=[_table(table, lang) for table in report.tables.values()],
        meter=meter,
        set_aside=[(words(f"clean.line.{code}"), count) for code, count in report.set_aside.items()],
        released=[
            (words.either(f"clean.rule.{code}", code), count) for code, count in report.released.items() if count
        ],
    )


def _reasons(report: QualityReport, lang: Lang) -> Any:
    """Bars of the quarantined rows by reason, over all tables; None where nothing was quarantined."""
    words, numbers = Words(lang), Numbers(lang)
    found: dict[str, int] = {}
    for table in report.tables.values():
        for reason in table.reasons:
            found[reason.code] = found.get(reason.code, 0) + reason.rows
    rows = sorted(((code, count) for code, count in found.items() if count), key=lambda pair: -pair[1])
    if not rows:
        return None
    bars = [
        Bar(words.either(f"clean.rule.{code}", code.replace("_", " ")), count, numbers.number(count), colour=4)
        for code, count in rows
    ]
    return charts.bars(bars, lang=lang, room=46)


def _table(table: TableQuality, lang: Lang) -> dict[str, Any]:
    words, numbers = Words(lang), Numbers(lang)
    known = TABLES.get(table.name)
    return {
        "name": table.name,
        "meaning": (known.zh if lang == "zh" else known.en) if known else "",
        "raw": numbers.number(table.rows_raw),
        "clean": numbers.number(table.rows_clean),
        "quarantined": numbers.number(table.rows_quarantined),
        "flow": charts.stacked(
            [("", [table.rows_clean, table.rows_quarantined])],
            [words("report.quality.clean_rows"), words("report.quality.quarantined_rows")],
            lang=lang,
            colours=(2, 4),
        ),
        "scores": table.scores,
        "reasons": [
            (
                words.either(f"clean.rule.{reason.code}", reason.code.replace("_", " ")),
                numbers.number(reason.rows),
                numbers.percent(reason.share),
            )
            for reason in table.reasons
        ],
        "repairs": [
            (
                words.either(f"clean.repair.{repair.code}", repair.code.replace("_", " ")),
                repair.column,
                numbers.number(repair.rows),
            )
            for repair in table.repairs
            if repair.rows
        ],
        "checks": [
            (
                words.either(f"clean.check.{check.code}", check.code.replace("_", " ")),
                check.column,
                numbers.number(check.checked),
                numbers.number(check.broken_before),
                numbers.number(check.broken_after),
            )
            for check in table.checks
        ],
        "columns": [_column(table.name, column, numbers, lang) for column in table.columns if column.supplied],
        "unsupplied": [column.name for column in table.columns if not column.supplied],
        "series": _series(table, lang),
    }


def _column(table: str, column: Any, numbers: Numbers, lang: Lang) -> dict[str, Any]:
    known = TABLES[table].column(column.name) if table in TABLES else None
    after = column.after
    return {
        "name": column.name,
        "meaning": (known.zh if lang == "zh" else known.en) if known else "",
        "before": column.before,
        "after": after,
        "range": _range(after, numbers),
        "top": [(top.value, numbers.percent(top.rows / after.rows if after.rows else None)) for top in after.top[:3]],
        "changed": _changed(column, numbers, lang),
    }


def _range(stats: Any, numbers: Numbers) -> str:
    def say(value: Any) -> str:
        if is_number(value):
            return numbers.compact(value)
        return numbers.date(value) if as_time(value) else str(value)

    if stats.min is None or stats.max is None:
        return ""
    middle = f" · {say(stats.median)} · " if stats.median is not None else " – "
    return f"{say(stats.min)}{middle}{say(stats.max)}"


def _changed(column: Any, numbers: Numbers, lang: Lang) -> str:
    words, parts = Words(lang), []
    if column.filled:
        parts.append(words("report.quality.filled", n=numbers.number(column.filled), how=column.fill or ""))
    if column.trimmed:
        how = column.trim.how if column.trim else ""
        parts.append(words("report.quality.trimmed", n=numbers.number(column.trimmed), how=how))
    return " · ".join(parts)


def _series(table: TableQuality, lang: Lang) -> Any:
    words, numbers = Words(lang), Numbers(lang)
    points: Sequence[Any] = table.time.series if table.time else ()
    if len(points) < 2:
        return None
    name = numbers.month if table.time and table.time.unit == "month" else numbers.day
    return charts.lines(
        [
            Series(words("report.quality.clean_rows"), [point.clean for point in points], 2),
            Series(words("report.quality.raw_rows"), [point.raw for point in points], 8),
        ],
        [name(point.at) for point in points],
        lang=lang,
        title=words("report.quality.over_time"),
        height=140,
    )
