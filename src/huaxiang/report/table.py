"""The exam of a plain table (`huaxiang table`) as a page: which model won, by how much, and what it looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from huaxiang.look import charts
from huaxiang.look.charts import Bar
from huaxiang.look.numbers import Numbers, is_number
from huaxiang.look.page import page, render
from huaxiang.report.cards import LESS_IS_BETTER, SHOWN, card_body
from huaxiang.words import LANGS, Lang, Words

if TYPE_CHECKING:
    from huaxiang.models.table import TableReport

SHEETS = ("sheet.css", "report.css")


def table_page(report: TableReport, lang: Lang) -> str:
    """The page of a table's exam, in both languages, opened in `lang`."""
    headings: dict[Lang, tuple[str, str]] = {
        each: (report.name, Words(each)("report.table.label", label=report.label)) for each in LANGS
    }
    bodies = {each: table_body(report, each) for each in LANGS}
    return page(f"{report.name}: {report.label}", bodies, lang=lang, headings=headings, sheets=SHEETS)


def table_body(report: TableReport, lang: Lang) -> Markup:
    """The exam of a table without a page around it."""
    words = Words(lang)
    present = {name for scores in report.models.values() for name in scores}
    metrics = [name for name in SHOWN.get(report.card.kind, ()) if name in present] or sorted(present)
    facts = [words("report.table.folds", n=report.folds)]
    if report.positive:
        facts.append(words("report.table.positive", value=report.positive))
    return render(
        "table.html",
        "huaxiang.report",
        lang=lang,
        best=words.either(f"report.model.{report.best}", report.best),
        facts=facts,
        charts_of=[_bars(report, name, lang) for name in metrics[:3]],
        notes=[note.get(lang) or note.get("en") or "" for note in report.notes],
        card=card_body(report.card, lang, currency="", meanings={}, in_shop=False),
    )


def _bars(report: TableReport, metric: str, lang: Lang) -> Any:
    words, numbers = Words(lang), Numbers(lang)
    rows = []
    for name, scores in report.models.items():
        score = scores.get(metric, {})
        shown = numbers.number(score.get("mean"), 3)
        if is_number(score.get("sd")):
            shown += f" ± {numbers.number(score['sd'], 3)}"
        colour = 2 if name == report.best else 8
        rows.append(Bar(words.either(f"report.model.{name}", name), score.get("mean"), shown, colour=colour))
    most = None if metric in LESS_IS_BETTER else 1.0
    return charts.bars(rows, lang=lang, title=words.either(f"report.metric.{metric}", metric), most=most)
