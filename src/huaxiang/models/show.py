"""Score cards on a terminal: who won and by how much, how sure that is, and what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from huaxiang.words import Words

if TYPE_CHECKING:
    from rich.console import Console

    from huaxiang.models.card import ModelScore, ScoreCard
    from huaxiang.models.table import TableReport
    from huaxiang.models.vector_table import VectorRow
    from huaxiang.words import Lang

METRICS = {
    "binary": ("roc_auc", "pr_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1"),
    "number": ("rmse", "mae", "r2", "spearman", "mse"),
    "class": ("accuracy", "macro_f1", "log_loss", "roc_auc"),
}
COLOURS = {"trained": "green", "null": "yellow", "skipped": "bright_black"}
WIDE = 118  # columns from which HEADLINES metrics fit with their intervals; fewer show two
HEADLINES = 4
BAR = 18
DRIVERS = 6


def show_card(card: ScoreCard, console: Console, lang: Lang, *, name_of: Callable[[str], str] = str) -> None:
    """Print one outcome's score card. name_of: what a feature is called"""
    words = Words(lang)
    colour = COLOURS[card.status]
    title = f"[bold]{escape(card.outcome)}[/] · {escape(card.meaning.get(lang, ''))} · [{colour}]{words(f'models.status.{card.status}')}[/]"
    parts: list[RenderableType] = [Text(card.why.get(lang, ""), style="italic" if card.worth_using else "yellow")]
    if card.models:
        parts += [
            Text(),
            _models(card, words, console.width),
            *(Text("• " + line, style="yellow") for line in [card.brought_note(lang)] if line),
            *(Text("• " + line) for line in _rest(card, words, console.width)),
            *_facts(card, words),
            *_drivers(card, words, name_of),
            Text(_made(card, words), style="dim"),
        ]
    console.print(Panel(Group(*parts), title=title, title_align="left", border_style=colour, padding=(0, 1)))


def show_table(report: TableReport, console: Console, lang: Lang) -> None:
    """Print the cross-validated exam of a plain table."""
    words, card = Words(lang), report.card
    rows = card.data["rows"]["all"]
    head = words(
        "models.show.table_head", rows=rows, columns=card.data["features"], label=report.label, folds=report.folds
    )
    if report.positive:
        head += " · " + words(
            "models.show.positive", value=report.positive, share=f"{card.data['base_rate']['all']:.1%}"
        )
    parts: list[RenderableType] = [
        Text(head),
        Text(card.why[lang], style="italic"),
        Text(),
        _folds(card, words),
    ]
    parts += [
        Text("• " + note[lang], style="yellow" if note["en"].startswith("WARNING") else "dim") for note in report.notes
    ]
    parts += [*_facts(card, words), *_drivers(card, words, str)]
    title = f"[bold]{escape(report.name)}[/]"
    console.print(Panel(Group(*parts), title=title, title_align="left", border_style="green", padding=(0, 1)))


def show_vector_table(
    found: Sequence[VectorRow], console: Console, lang: Lang, *, trained: bool = False, why: str = ""
) -> None:
    """Print what the behaviour model's vector knows of each outcome, beside the features and with them.

    trained: whether the shop's outcomes were; why: why there is no behaviour model ("": there is one, or it is not known)
    """
    words = Words(lang)
    if not found:
        said = (words("models.vector.without"), why) if trained else (words("models.vector.none"),)
        console.print(" ".join(filter(None, said)), style="dim", highlight=False)
        return
    table = Table(
        box=None, header_style="dim", padding=(0, 2, 0, 0), title=words("models.vector.title"), title_justify="left", title_style="bold"
    )  # fmt: skip
    table.add_column(words("models.vector.outcome"))
    table.add_column(words("models.vector.metric"), no_wrap=True)
    for side in found[0].sides:
        table.add_column(words(f"models.vector.{side}"), justify="right", no_wrap=True)
    for row in found:
        cells = [
            Text(_spanned(one.value, one.low, one.high), style="bold" if side == row.best else "")
            for side, one in row.sides.items()
        ]
        table.add_row(escape(row.outcome), words(f"models.metric.{row.metric}"), *cells)
    console.print(table)
    console.print(words("models.vector.note"), style="dim")


def _spanned(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return _short(value) if low is None or high is None else f"{_short(value)} ({_short(low)}–{_short(high)})"


def _models(card: ScoreCard, words: Words, width: int) -> Table:
    """One row a model, its first metrics on the test date with their intervals; the rest of the winner's follow below."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    headlines = METRICS[card.kind][: HEADLINES if width >= WIDE else 2]
    table.add_column(words("models.show.model"), no_wrap=True)
    for metric in headlines:
        table.add_column(words(f"models.metric.{metric}"), justify="right", no_wrap=True)
    table.add_column(words("models.show.seconds"), justify="right", no_wrap=True)
    for score in card.models:
        mark, style = _standing(card, score)
        cells = [_figure(score, metric) for metric in headlines]
        table.add_row(
            mark + words.either(f"models.name.{score.name}", score.name), *cells, f"{score.seconds:.1f}", style=style
        )
    return table


def _folds(card: ScoreCard, words: Words) -> Table:
    """One row a metric, one column a model: the mean over the folds and its spread."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    for score in card.models:
        mark, style = _standing(card, score)
        table.add_column(
            mark.strip() + words.either(f"models.name.{score.name}", score.name), justify="right", style=style
        )
    for metric in METRICS[card.kind]:
        table.add_row(words(f"models.metric.{metric}"), *(_figure(score, metric) for score in card.models))
    table.add_row(words("models.show.seconds"), *(f"{score.seconds:.1f}" for score in card.models))
    return table


def needs_of(name: str) -> tuple[str, ...]:
    """What a model of outcomes takes: features, events, the behaviour model's vector, PyTorch."""
    if name in ("prior", "mean", "majority"):
        return ()
    if name.startswith("seq_"):
        return ("features", "events", "torch")
    known = {"vector": ("vector",), "mlp": ("features", "torch")}
    return known.get(name, ("features", "vector") if name.startswith("vector_") else ("features",))


def _standing(card: ScoreCard, score: ModelScore) -> tuple[str, str]:
    """The mark and the style of a model: the winner's, the baseline's, another's."""
    if score.name == card.model and card.worth_using:
        return "★ ", "bold"
    return "  ", "dim" if score.name == card.baseline else ""


def _rest(card: ScoreCard, words: Words, width: int) -> list[str]:
    """The winner's other metrics in one line."""
    rest = METRICS[card.kind][HEADLINES if width >= WIDE else 2 :]
    found = [score for score in card.models if score.name == card.model and score.test]
    figures = [
        f"{words(f'models.metric.{metric}')} {_figure(score, metric)}"
        for score in found
        for metric in rest
        if score.test.get(metric, {}).get("value") is not None
    ]
    return [f"{words.either(f'models.name.{card.model}', card.model)}: {', '.join(figures)}"] if figures else []


def _figure(score: ModelScore, metric: str) -> str:
    tested = score.test.get(metric)
    if tested is not None and tested["value"] is not None:
        return _spanned(tested["value"], tested["low"], tested["high"])
    spread = score.cv.get(metric)
    return f"{_short(spread['mean'])} ± {_short(spread['sd'])}" if spread else "–"


def _facts(card: ScoreCard, words: Words) -> list[Text]:
    """What the figures mean, one line each."""
    found: list[str] = []
    if card.models and card.models[0].test:
        found.append(
            words("models.show.test", date=", ".join(card.data["dates"]["test"]), rows=card.data["rows"]["test"])
        )
    if card.lift.get("value") is not None:
        key = "models.show.lift" if card.kind == "binary" else "models.show.lift_number"
        found.append(
            words(key, lift=_short(card.lift["value"]), low=_short(card.lift["low"]), high=_short(card.lift["high"]))
        )
    if card.calibration.get("ece"):
        ece = card.calibration["ece"]
        found.append(
            words(
                "models.show.ece",
                ece=f"{ece['value']:.1%}",
                method=_calibration(card, words),
            )
        )
    if card.threshold:
        key = f"models.show.threshold_{card.threshold['rule']}" + (
            "_inner" if card.threshold["chosen_on"] == "inner" else ""
        )
        found.append(words(key, threshold=f"{card.threshold['value']:.3f}"))
    if card.business:
        found.append(_business(card.business, words))
    if card.interval.get("coverage") is not None:
        found.append(
            words(
                "models.show.coverage",
                level=f"{card.interval['level']:.0%}",
                coverage=f"{card.interval['coverage']:.1%}",
            )
        )
    return [Text("• " + line) for line in found]


def _calibration(card: ScoreCard, words: Words) -> str:
    """The method's name; "none" says whether others were tried."""
    tried = card.calibration.get("valid_log_loss")
    return words(f"models.calibration.{card.calibration['method'] if tried else 'untried'}")


def _business(business: dict[str, Any], words: Words) -> str:
    return words(
        "models.show.business_assumed" if business.get("assumed") else "models.show.business",
        value=f"{business['value']:g}",
        cost=f"{business['cost']:g}",
        share=f"{business['share']:.0%}",
        top=f"{business['top']['value']:.2f}",
        low=f"{business['top']['low']:.2f}",
        high=f"{business['top']['high']:.2f}",
        all=f"{business['all']['value']:.2f}",
        random=f"{business['random']['value']:.2f}",
    )


def _drivers(card: ScoreCard, words: Words, name_of: Callable[[str], str]) -> list[RenderableType]:
    """The features that move the score most, as bars; ▲ more of it raises the score, ▼ lowers it."""
    top = card.importance[:DRIVERS]
    if not top or not card.worth_using:
        return []
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    for one in top:
        length = max(1, round(BAR * one["effect"] / top[0]["effect"]))
        arrow = "▲" if one["direction"] > 0.2 else "▼" if one["direction"] < -0.2 else "◆"
        table.add_row(escape(name_of(one["feature"])), Text("█" * length, style="cyan"), arrow, f"{one['share']:.0%}")
    return [Text(), Text(words("models.show.drivers"), style="dim"), table]


def _made(card: ScoreCard, words: Words) -> str:
    dates = card.data["dates"]["train"]
    span = dates[0] if len(dates) == 1 else f"{dates[0]} … {dates[-1]}"
    return words(
        "models.show.made",
        rows=card.data["rows"]["train"],
        dates=span,
        valid=", ".join(card.data["dates"]["valid"]),
        features=card.data["features"],
        seconds=f"{card.seconds:.1f}",
        seed=card.seed,
    )


def _short(value: float) -> str:
    """Three digits that matter, without exponents."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
