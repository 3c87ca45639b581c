"""What of a profile is shown as a picture or a large figure: key numbers, tastes, rhythm, predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huaxiang.look import charts
from huaxiang.look.charts import Bar, Effect
from huaxiang.look.numbers import Numbers, as_time, is_number
from huaxiang.look.svg import ticks
from huaxiang.words import Lang, Words

# The first of each row that is known is shown large, what follows it small beneath.
FIGURES = (
    (("spend_365d", "spend_total", "views_90d"), ("spend_trend_30d", "spend_90d", "views_30d")),
    (("orders_365d", "orders_total", "sessions_90d"), ("gap_days_mean", "sessions_trend_30d", "orders_90d")),
    (("recency_days", "idle_days"), ("overdue_ratio", "hour_top")),
    (("basket_value_mean_90d", "session_minutes_mean_90d"), ("basket_items_mean_90d", "session_events_mean_90d")),
    (("rfm", "active_days_30d"), ("price_level_90d", "category_count_90d")),
)
TRENDS = {"spend_trend_30d", "orders_trend_30d", "sessions_trend_30d"}
TASTE_LINES = (
    "price_level_90d",
    "new_item_share_90d",
    "category_count_90d",
    "discount_share_90d",
    "coupon_orders_share_90d",
)
LEAVING = ("churn", "refund", "return", "fraud", "risk")


class Traits:
    """The traits of a document by name."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.by_name: dict[str, Mapping[str, Any]] = {
            trait["name"]: trait
            for section in document["sections"].values()
            for trait in (section or {}).get("traits") or []
        }
        self.predicted = [trait for trait in self.by_name.values() if trait.get("source") == "predicted"]

    def value(self, name: str) -> Any:
        return self.by_name.get(name, {}).get("value")

    def known(self, name: str) -> bool:
        return self.value(name) is not None

    def text(self, name: str, lang: Lang) -> str:
        return str((self.by_name.get(name, {}).get("text") or {}).get(lang) or "")

    def label(self, name: str, lang: Lang) -> str:
        return str((self.by_name.get(name, {}).get("label") or {}).get(lang) or name)


def figures(traits: Traits, numbers: Numbers, lang: Lang) -> list[dict[str, str]]:
    """The key numbers: label, value, a smaller line beneath and its colour."""
    found = []
    for large, small in FIGURES:
        name = next((name for name in large if traits.known(name)), None)
        if name is None:
            continue
        below = next((name for name in small if traits.known(name)), None)
        css = ""
        if below in TRENDS and is_number(traits.value(below)):
            css = "up-text" if traits.value(below) > 0 else "down-text" if traits.value(below) < 0 else ""
        arrow = {"up-text": "↗ ", "down-text": "↘ "}.get(css, "")
        more = f"{arrow}{_beneath(traits, below, lang)}" if below else ""
        found.append(
            {
                "label": traits.label(name, lang),
                "value": traits.text(name, lang),
                "more": more,
                "css": css,
                "name": name,
            }
        )
    return found


def _beneath(traits: Traits, name: str, lang: Lang) -> str:
    text = traits.text(name, lang)
    if name == "overdue_ratio":
        return Words(lang)("look.profile.of_usual_gap", ratio=text)
    if name in TRENDS or name in ("gap_days_mean", "basket_items_mean_90d"):
        return text
    return f"{traits.label(name, lang)}{'：' if lang == 'zh' else ': '}{text}"


def leaf(path: Any) -> str:
    """The last level of a category path, shouting made calm: 'GROCERY > COFFEE' is Coffee."""
    last = str(path).rsplit(" > ", 1)[-1]
    return last.capitalize() if last.isupper() and last.isascii() and len(last) > 3 else last


def pictures(document: Mapping[str, Any], traits: Traits, numbers: Numbers, lang: Lang) -> dict[str, Any]:
    """The charts there is something to draw for, by name; "" for the others."""
    words = Words(lang)
    hours, days = traits.value("hour_hist"), traits.value("weekday_hist")
    stage = traits.text("lifecycle", lang)
    drawn: dict[str, Any] = dict.fromkeys(("clock", "hours", "days", "heat", "tastes", "brands", "spending"), "")
    weekdays = words("look.chart.weekdays").split()
    drawn["clock"] = charts.clock(
        hours if _is_numbers(hours) else [],
        lang=lang,
        title=words("look.profile.portrait"),
        middle=_busiest(hours),
        below=words("look.profile.usual_hour") if _busiest(hours) else "",
    )
    if _is_numbers(hours):
        hour_names = [str(hour) for hour in range(24)]
        drawn["hours"] = charts.columns(
            hours[:24],
            hour_names[: len(hours)],
            lang=lang,
            title=words("look.profile.by_hour"),
            shown=numbers.percent,
            every=3,
        )
    if _is_numbers(days):
        drawn["days"] = charts.columns(
            days[:7], weekdays[: len(days)], lang=lang, title=words("look.profile.by_weekday"), shown=numbers.percent
        )
    grid = traits.value("rhythm")
    if isinstance(grid, list) and grid and all(isinstance(row, list) for row in grid):
        across = [str(hour) for hour in range(24)]
        drawn["heat"] = charts.heat(
            grid[:7], weekdays, across, lang=lang, title=traits.label("rhythm", lang), every=3, cell=20
        )
    tastes = _shares(traits.value("top_categories"), numbers)
    if tastes:
        drawn["tastes"] = charts.treemap(tastes, lang=lang, title=traits.label("top_categories", lang))
    brands = _shares(traits.value("top_brands"), numbers)
    if brands:
        drawn["brands"] = charts.bars(brands, lang=lang, title=traits.label("top_brands", lang))
    drawn["taste_lines"] = [
        (traits.label(name, lang), traits.text(name, lang)) for name in TASTE_LINES if traits.known(name)
    ]
    drawn["spending"] = _spending(document, numbers, lang)
    drawn["stage"] = stage
    return drawn


def predictions(traits: Traits, numbers: Numbers, lang: Lang) -> list[dict[str, Any]]:
    """One entry a predicted trait: value, range, reasons and the model behind it."""
    return [_prediction(trait, traits, numbers, lang) for trait in traits.predicted]


def _prediction(trait: Mapping[str, Any], traits: Traits, numbers: Numbers, lang: Lang) -> dict[str, Any]:
    words, evidence, value = Words(lang), trait.get("evidence") or {}, trait.get("value")
    low, high, line = evidence.get("low"), evidence.get("high"), evidence.get("threshold")
    chance = trait.get("unit") == "probability"
    label = (trait.get("label") or {}).get(lang) or trait["name"]
    bar, verdict, css = "", "", ""
    sure = words("look.profile.sure", share=numbers.percent(trait.get("confidence"), 0))
    if chance:
        bar = charts.range_bar(value, low, high, lang=lang, threshold=line, shown=numbers.percent)
        if is_number(line) and is_number(value):
            likely = value >= line
            verdict = words("look.profile.likely" if likely else "look.profile.unlikely")
            css = "warn" if likely and trait["name"].startswith(LEAVING) else "good" if likely else ""
    elif is_number(value):
        most = max(number for number in (value, high, 0.0) if is_number(number))
        end = ticks(0.0, most * 1.15 or 1.0, 4)[-1]
        least = min(0.0, *(number for number in (value, low) if is_number(number)))
        say = (
            (lambda amount: numbers.money(amount, compact=True))
            if trait.get("unit") == numbers.currency
            else numbers.compact
        )
        bar = charts.range_bar(value, low, high, lang=lang, start=least, end=end, shown=say)
        if is_number(low) and is_number(high):
            sure = words("look.profile.between", low=say(low), high=say(high))
    elif is_number(trait.get("confidence")):
        bar = charts.range_bar(trait["confidence"], low, high, lang=lang, shown=numbers.percent)
    reasons = [reason for reason in evidence.get("reasons") or [] if is_number(reason.get("effect"))]
    model, card = evidence.get("model") or {}, (evidence.get("model") or {}).get("card") or {}
    good = 0 if isinstance(value, str) else -1 if trait["name"].startswith(LEAVING) else 1
    baseline = evidence.get("baseline")
    return {
        "name": trait["name"],
        "label": label,
        "text": value if isinstance(value, str) else (trait.get("text") or {}).get(lang) or "–",
        "verdict": verdict,
        "css": css,
        "bar": bar,
        "sure": sure,
        "baseline": words("look.profile.baseline", value=numbers.percent(baseline))
        if chance and is_number(baseline)
        else "",
        "waterfall": charts.waterfall([_effect(reason, traits, lang) for reason in reasons], lang=lang, good=good)
        if len(reasons) > 1
        else "",
        "says": [(reason.get("text") or {}).get(lang) for reason in reasons if (reason.get("text") or {}).get(lang)],
        "model": words("look.profile.model", name=model.get("name"), version=str(model.get("version"))[:12])
        if model
        else "",
        "card": (card.get("text") or {}).get(lang) or "",
        "until": words("look.profile.until", date=numbers.date(trait["expires"])) if trait.get("expires") else "",
    }


def _effect(reason: Mapping[str, Any], traits: Traits, lang: Lang) -> Effect:
    value = reason.get("value")
    known = traits.text(str(reason.get("feature")), lang)
    shown = known or (Numbers(lang).number(value) if is_number(value) else str(value or ""))
    return Effect((reason.get("label") or {}).get(lang) or str(reason.get("feature")), reason.get("effect"), shown)


def _shares(value: Any, numbers: Numbers) -> list[Bar]:
    if not isinstance(value, list):
        return []
    rows = [
        row for row in value if isinstance(row, Mapping) and is_number(row.get("share")) and row.get("key") is not None
    ]
    return [Bar(leaf(row["key"]), row["share"], numbers.percent(row["share"], 0), str(row["key"])) for row in rows[:8]]


def _spending(document: Mapping[str, Any], numbers: Numbers, lang: Lang) -> Any:
    """Spending by month where the document gives it: [{"month", "spend"}]."""
    rows = [row for row in document.get("spending") or [] if is_number(row.get("spend"))]
    if len(rows) < 2:
        return ""
    labels = [numbers.month(as_time(f"{row.get('month')}-01")) for row in rows]
    title = Words(lang)("look.profile.spending")
    return charts.lines(
        [charts.Series(title, [row["spend"] for row in rows])],
        labels,
        lang=lang,
        shown=lambda amount: numbers.money(amount, compact=True),
    )


def _busiest(hours: Any) -> str:
    if not _is_numbers(hours) or not any(hours):
        return ""
    return f"{max(range(len(hours)), key=lambda hour: hours[hour] or 0)}:00"


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(item is None or is_number(item) for item in value)
