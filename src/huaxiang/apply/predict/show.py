"""Forecasts on the terminal: what is expected, how the same forecast did before, what moved one customer's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from huaxiang.look.numbers import Numbers
from huaxiang.profile.say import say_feature
from huaxiang.words import Lang, Words

if TYPE_CHECKING:
    from huaxiang.apply.predict.what_if import Answer, Moved

PARTS = ("likely", "expected", "bg_nbd", "money")
METRICS = ("mae", "spearman", "ratio")
HELD_LEAST = (
    0.5  # of the 90 % intervals, and the ends of forecast over came: beyond, the figures are said to be of no use
)
RATIO = (0.5, 2.0)


def clv_lines(report: Mapping[str, Any], lang: Lang, currency: str) -> dict[str, list[str]]:
    """The sentences of the report: head (what is expected), choice, holdout, notes. The terminal and the page say the same."""
    words, numbers = Words(lang), Numbers(lang, currency)
    title = words(
        "predict.clv.title",
        days=report["days"],
        customers=numbers.number(report["customers"]),
        date=numbers.date(report["as_of"]),
    )
    total = words("predict.clv.totals", expected=numbers.number(report["expected"], 0))
    if report["value"] is None:
        total += words("predict.clv.no_money")
    else:
        total += words(
            "predict.clv.worth",
            value=numbers.money(report["value"], compact=True),
            discount=numbers.percent(report["discount"]),
        )
    bad = unusable_line(report["holdout"], lang)
    chosen = report["choice"]
    choice = [words("predict.clv.chosen", days=chosen["days"], head=words(f"predict.head.{chosen['head']}"))]
    choice += [
        words("predict.clv.left_out", head=words(f"predict.head.{head}"), why=why[lang])
        for head, why in chosen["left_out"].items()
    ]
    held, notes = report["holdout"], []
    if "why" in held:
        holdout = [words("predict.clv.no_holdout", why=held["why"][lang])]
    else:
        holdout = [
            words("predict.clv.holdout", days=held["days"], customers=numbers.number(held["customers"])),
            coverage_line(held["coverage"], lang),
        ]
    levels = [
        words("predict.clv.next_one", share=numbers.percent(share), level=numbers.percent(float(level)))
        for level, share in report["next"]["levels"].items()
        if share is not None
    ]
    if levels:
        notes.append(words("predict.clv.next", found=words("profile.say.comma").join(levels)))
    tie = report["frequency_and_spend"]
    if tie is not None and abs(tie) >= 0.2:
        way = words("predict.clv.more" if tie > 0 else "predict.clv.less")
        notes.append(words("predict.clv.tied", way=way, value=numbers.number(tie, 2)))
    if report["without_amount"]:
        notes.append(
            words(
                "predict.clv.without_amount",
                count=numbers.number(report["without_amount"]),
                lines=numbers.number(report["lines"]),
            )
        )
    if report["left_out"]:
        notes.append(words("predict.clv.left_out_orders", count=numbers.number(report["left_out"])))
    return {
        "head": [title, *bad, total],
        "choice": choice,
        "holdout": holdout,
        "notes": [*notes, words("predict.clv.note")],
    }


def unusable_line(held: Mapping[str, Any], lang: Lang) -> list[str]:
    """What the hold-out says against the forecast, in one sentence with the rule ([]: nothing)."""
    if "why" in held:
        return []
    words, numbers, found = Words(lang), Numbers(lang), []
    for part, forecast in (("buys", "expected"), ("money", "money")):
        share, ratio = held["coverage"].get(part), held.get(forecast, {}).get("ratio")
        name = words(f"predict.clv.of_{part}")
        if share is not None and share < HELD_LEAST:
            found.append(words("predict.clv.held_few", share=numbers.percent(share), part=name))
        if ratio is not None and not RATIO[0] <= ratio <= RATIO[1]:
            found.append(words("predict.clv.ratio_off", ratio=numbers.number(ratio, 3), part=name))
    if not found:
        return []
    low, high = (numbers.number(end, 1) for end in RATIO)
    least = numbers.percent(HELD_LEAST)
    return [words("predict.clv.unusable", why=words("profile.say.comma").join(found), least=least, low=low, high=high)]


def coverage_line(coverage: Mapping[str, float | None], lang: Lang) -> str:
    words, numbers = Words(lang), Numbers(lang)
    money = coverage.get("money")
    also = "" if money is None else words("predict.clv.coverage_money", share=numbers.percent(money))
    return words("predict.clv.coverage", buys=numbers.percent(coverage["buys"]), money=also)


def show_clv(report: Mapping[str, Any], console: Console, lang: Lang, currency: str) -> None:
    """The report of `Shop.predict.value`."""
    words, numbers, said = Words(lang), Numbers(lang), clv_lines(report, lang, currency)
    console.print(f"[bold]{escape(said['head'][0])}[/]", highlight=False)
    for line in (*said["head"][1:], *said["choice"], *said["holdout"]):
        console.print(line, highlight=False, markup=False)
    held = report["holdout"]
    if "why" not in held:
        table = _table(words("predict.clv.tried_head"), *(words(f"predict.clv.{name}") for name in METRICS))
        for part in PARTS:
            if part in held:
                table.add_row(words(f"predict.clv.{part}"), *(numbers.number(held[part][name], 3) for name in METRICS))
        console.print(table, highlight=False)
        table = _table(words("predict.clv.groups"), *("" for _ in held["groups"]))
        for name in ("predicted", "observed"):
            label = words("predict.clv.expected") if name == "predicted" else words("predict.clv.came")
            table.add_row(label, *(numbers.number(one[name]) for one in held["groups"]))
        console.print(table, highlight=False)
    for line in said["notes"]:
        console.print(line, style="dim", highlight=False, markup=False)


def show_customer(row: Mapping[str, Any] | None, console: Console, lang: Lang, currency: str) -> None:
    """One customer's row of `clv`."""
    words, numbers = Words(lang), Numbers(lang, currency)
    if row is None:
        console.print(words("predict.clv.none"), style="yellow")
        return
    digits = 1

    def told(value: Any) -> str:
        return (
            words("predict.clv.never") if value is None else words("predict.clv.in_days", days=numbers.number(value, 0))
        )

    lines = [
        words("predict.clv.alive", share=numbers.percent(row["p_alive"])),
        words(
            "predict.clv.buys", days=row["days"], expected=numbers.number(row["expected_purchases"], digits),
            low=numbers.number(row["purchases_low"], digits), high=numbers.number(row["purchases_high"], digits),
            likely=numbers.number(row["likely_purchases"], digits),
        ),
        words("predict.clv.next_day", day=told(row["next_days"]), low=told(row["next_days_low"]), high=told(row["next_days_high"])),
        words(
            "predict.clv.because", frequency=numbers.number(row["frequency"]), recency=numbers.number(row["recency_days"]),
            age=numbers.number(row["age_days"]), spend=numbers.money(row["spend_mean"]),
        ),
    ]  # fmt: skip
    if row["value"] is not None:
        low, high = numbers.money(row["value_low"]), numbers.money(row["value_high"])
        lines.insert(
            2,
            words(
                "predict.clv.value",
                value=numbers.money(row["value"]),
                low=low,
                high=high,
                spend=numbers.money(row["spend_per_purchase"]),
            ),
        )
    for line in lines:
        console.print(line, highlight=False, markup=False)
    for one in row["reasons"]:
        feature = words(f"predict.feature.{one['feature']}")
        if one["effect"] is None:
            continue  # told by the line above: nothing but how often, how lately and how much was read
        factor = numbers.number(float(np.exp(one["effect"])), 2)
        console.print(
            "  " + words("predict.clv.effect", factor=factor, feature=feature, value=numbers.number(one["value"])),
            highlight=False,
            markup=False,
        )
    made = words(
        "predict.clv.made_by",
        head=words(f"predict.head.{row['model']}"),
        version=row["version"],
        date=numbers.date(row["as_of"]),
    )
    console.print(made, style="dim", highlight=False, markup=False)


def intent_lines(report: Mapping[str, Any], lang: Lang) -> list[str]:
    words, numbers = Words(lang), Numbers(lang)
    lines = [
        words(
            "predict.intent.title", model=words(f"predict.model.{report['model']}"), train=numbers.number(report["sessions"]["train"]),
            test=numbers.number(report["sessions"]["test"]),
        ),
        words(
            "predict.intent.figures", auc=numbers.number(report["test"]["roc_auc"], 3), loss=numbers.number(report["test"]["log_loss"], 4),
            baseline=numbers.number(report["baseline"]["log_loss"], 4), error=numbers.number(report["calibration"]["error"], 3),
            share=numbers.percent(report["base_rate"]),
        ),
    ]  # fmt: skip
    return [*lines, words("predict.intent.null")] if report["model"] == "prior" else lines


def session_feature(name: str, lang: Lang) -> str:
    """A column of a running session in words."""
    words = Words(lang)
    kind = name.removesuffix("_count")
    if words.has(f"predict.session.{name}"):
        return words(f"predict.session.{name}")
    return words("predict.session.count", event=words.either(f"look.event.{kind}", kind))


def show_intent(report: Mapping[str, Any], console: Console, lang: Lang) -> None:
    """The report of `Shop.predict.learn_intent`."""
    words, numbers = Words(lang), Numbers(lang)
    for place, line in enumerate(intent_lines(report, lang)):
        console.print(line, style="bold" if not place else "", highlight=False, markup=False)
    table = _table(words("predict.intent.after"), words("predict.intent.sessions"), words("predict.intent.auc"))
    for count, one in report["after"].items():
        table.add_row(count, numbers.number(one["sessions"]), numbers.number(one["roc_auc"], 3))
    console.print(table, highlight=False)
    if report["model"] != "prior":
        console.print(words("predict.intent.drivers"), style="dim")
        for one in report["importance"][:5]:
            console.print(
                f"  {numbers.number(one['effect'], 2)}  {session_feature(one['feature'], lang)}",
                highlight=False,
                markup=False,
            )


def show_moved(found: Moved, console: Console, lang: Lang, currency: str) -> None:
    """The answer of `Shop.predict.what_if`."""
    words, numbers = Words(lang), Numbers(lang, currency)

    def figure(value: float) -> str:
        return numbers.number(value, 2) if found.kind == "number" else numbers.percent(value, 1)

    def said(one: Answer) -> str:
        return words("profile.say.class", label=one.label, share=figure(one.value)) if one.label else figure(one.value)

    def known(name: str, value: float | None) -> str:
        if value is None:
            return words("predict.whatif.unknown")
        return say_feature(name, value, found.units.get(name, ""), currency)[lang]

    def label(name: str) -> str:
        return found.labels.get(name, {}).get(lang, name)

    title = words(
        "predict.whatif.title", outcome=label(found.outcome), before=said(found.before), after=said(found.after)
    )
    console.print(title, style="bold", highlight=False, markup=False)
    for name, (before, after) in found.changed.items():
        values = {"before": known(name, before), "after": known(name, after)}
        console.print(
            "  " + words("predict.whatif.changed", feature=label(name), **values), highlight=False, markup=False
        )
    for name, (before, after) in found.followed.items():
        values = {"before": known(name, before), "after": known(name, after)}
        line = words("predict.whatif.followed", feature=label(name), **values)
        console.print("  " + line, style="dim", highlight=False, markup=False)
    ends = {
        "low": found.before.low,
        "high": found.before.high,
        "new_low": found.after.low,
        "new_high": found.after.high,
    }
    console.print(
        words("predict.whatif.interval", **{name: figure(end) for name, end in ends.items()}), highlight=False
    )
    for kind in ("outside", "unread", "flat"):
        if names := getattr(found, kind):
            listed = words("profile.say.comma").join(map(label, names))
            console.print(
                words(f"predict.whatif.{kind}", features=listed), style="yellow", highlight=False, markup=False
            )
    if found.tries:
        console.print(words("predict.whatif.tries"), style="dim")
    for one in found.tries:
        line = f"{one.feature}={one.value:g}  {label(one.feature)}: {figure(one.prediction)}"
        console.print(f"  {line}", highlight=False, markup=False)
    console.print(words("predict.whatif.reasons"), style="dim")
    for name, value, effect in found.after.reasons:
        console.print(f"  {effect:+.3f}  {label(name)}: {known(name, value)}", highlight=False, markup=False)
    note = words(
        "predict.whatif.note",
        model=words.either(f"models.name.{found.model}", found.model),
        version=found.version,
        date=found.as_of,
    )
    console.print(note, style="dim", highlight=False, markup=False)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=place > 0)
    return table
