"""The report's pictures of the whole shop: money and customers over time, who the customers are, whether they come back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from huaxiang.look import charts
from huaxiang.look.charts import Bar, Series
from huaxiang.look.numbers import Numbers
from huaxiang.report.gather import Gathered
from huaxiang.words import Lang, Words

STAGES = ("new", "active", "won_back", "at_risk", "dormant", "lost", "prospect")
STAGE_COLOURS = {"new": 6, "active": 2, "won_back": 1, "at_risk": 3, "dormant": 5, "lost": 4, "prospect": 8}
TIERS = ("platinum", "gold", "silver", "bronze", "none")


def overview(found: Gathered, numbers: Numbers, lang: Lang) -> dict[str, Any]:
    """Everything the overview and customers sections show; None for what the lake cannot say."""
    return {
        "figures": _figures(found, numbers, lang),
        "kept_out": _kept_out(found, numbers, lang),
        "revenue": _line(found, "revenue", 1, lambda value: numbers.money(value, compact=True), numbers, lang),
        "customers": _line(found, "customers", 2, numbers.compact, numbers, lang),
        "events": _line(found, "events", 6, numbers.compact, numbers, lang),
        "kinds": _kinds(found, numbers, lang),
        "rhythm": _rhythm(found, numbers, lang),
        "categories": _categories(found, numbers, lang),
        "stages": _stages(found, numbers, lang),
        "matrix": _matrix(found, numbers, lang),
        "rfm": _rfm(found, numbers, lang),
        "cohorts": _cohorts(found, numbers, lang),
    }


def _figures(found: Gathered, numbers: Numbers, lang: Lang) -> list[dict[str, str]]:
    words, totals = Words(lang), found.totals
    if not totals:
        return []
    stages: dict[str, int] = {}
    for row in found.stages:
        stages[row["lifecycle"]] = stages.get(row["lifecycle"], 0) + row["customers"]
    everyone = sum(stages.values()) or totals["customers"]
    rows = [
        (
            words("report.figure.customers"),
            numbers.number(everyone),
            _share(words("report.figure.buyers"), totals["buyers"], everyone, numbers),
        )
    ]
    if stages:
        awake = sum(stages.get(stage, 0) for stage in ("new", "active", "won_back"))
        risk = stages.get("at_risk", 0)
        rows.append(
            (
                words("report.figure.active"),
                numbers.number(awake),
                f"{numbers.percent(awake / everyone if everyone else None, 0)} {words('report.figure.awake')}",
            )
        )
        rows.append(
            (
                words("report.figure.at_risk"),
                numbers.number(risk),
                numbers.percent(risk / everyone if everyone else None, 0),
            )
        )
    if totals["orders"]:
        back = _share(words("report.figure.refunded"), totals["refunded"], totals["revenue"], numbers)
        rows.append(
            (
                words("report.figure.revenue"),
                numbers.money(totals["revenue"], compact=True),
                back if totals["refunded"] else "",
            )
        )
        mean = numbers.money(totals["revenue"] / totals["orders"])
        rows.append(
            (words("report.figure.orders"), numbers.number(totals["orders"]), words("report.figure.each", value=mean))
        )
    rows.append(
        (
            words("report.figure.events"),
            numbers.compact(totals["events"]),
            words("report.figure.items", n=numbers.compact(totals["items"])),
        )
    )
    return [{"label": label, "value": value, "more": more} for label, value, more in rows]


def _kept_out(found: Gathered, numbers: Numbers, lang: Lang) -> str:
    """What of the shop's events no figure here counts, because the guard holds their orders fake ("": nothing)."""
    if not found.fakes.get("orders"):
        return ""
    return Words(lang)("features.kept_out", **{name: numbers.number(count) for name, count in found.fakes.items()})


def _share(name: str, part: float, whole: float, numbers: Numbers) -> str:
    return f"{numbers.percent(part / whole if whole else None)} {name}"


def period(unit: str, numbers: Numbers) -> Callable[[Any], str]:
    """How a day, week, month or quarter is named on an axis."""
    return numbers.month if unit in ("month", "quarter") else numbers.day


def _line(found: Gathered, column: str, colour: int, say: Callable[[Any], str], numbers: Numbers, lang: Lang) -> Any:
    rows = list(found.series)
    if len(rows) < 2 or not any(row[column] for row in rows):
        return None
    words, name = Words(lang), period(found.unit, numbers)
    title = words(f"report.series.{column}", unit=words(f"report.unit.{found.unit}"))
    note = ""
    if found.unit != "day":
        rows, note = _whole_periods(rows, found, words)
    return charts.lines(
        [Series("", [row[column] for row in rows], colour)],
        [name(row["period"]) for row in rows],
        lang=lang,
        title=title,
        shown=say,
        note=note,
    )


def _whole_periods(rows: list[Any], found: Gathered, words: Words) -> tuple[list[Any], str]:
    """The rows without a first or last period that the data covers only in part."""
    days = {"week": 7, "month": 28, "quarter": 89}[found.unit]
    first, last = found.totals["first"], found.totals["last"]
    start, end = rows[0]["period"], rows[-1]["period"]
    late = isinstance(first, datetime) and (first - start).days >= 1
    short = isinstance(last, datetime) and (last - end).days < days - 1
    kept = rows[late : len(rows) - short]
    return (kept, words("report.partial")) if len(kept) > 1 and (late or short) else (rows, "")


def _kinds(found: Gathered, numbers: Numbers, lang: Lang) -> Any:
    words = Words(lang)
    if len(found.kinds) < 2:
        return None
    rows = [
        Bar(
            words.either(f"look.event.{row['event']}", row["event"]),
            row["events"],
            numbers.compact(row["events"]),
            colour=6,
        )
        for row in found.kinds[:8]
    ]
    return charts.bars(rows, lang=lang, title=words("report.kinds"))


def _rhythm(found: Gathered, numbers: Numbers, lang: Lang) -> Any:
    if not found.rhythm:
        return None
    words = Words(lang)
    grid: list[list[float]] = [[0.0] * 24 for _ in range(7)]
    for row in found.rhythm:
        grid[row["weekday"]][row["hour"]] += row["events"]
    days = words("look.chart.weekdays").split()
    hours = [str(hour) for hour in range(24)]
    return charts.heat(grid, days, hours, lang=lang, title=words("report.rhythm"), every=3, cell=27)


def _categories(found: Gathered, numbers: Numbers, lang: Lang) -> Any:
    from huaxiang.profile.pictures import leaf

    whole = sum(row["amount"] or 0 for row in found.categories)
    if not whole:
        return None
    rows = [
        Bar(leaf(row["category"]), row["amount"], numbers.percent(row["amount"] / whole)) for row in found.categories
    ]
    return charts.treemap(rows, lang=lang, title=Words(lang)("report.categories"), height=230)


def _stages(found: Gathered, numbers: Numbers, lang: Lang) -> Any:
    words = Words(lang)
    counts: dict[str, int] = {}
    for row in found.stages:
        counts[row["lifecycle"]] = counts.get(row["lifecycle"], 0) + row["customers"]
    names = [stage for stage in STAGES if counts.get(stage)] + [stage for stage in counts if stage not in STAGES]
    if not names:
        return None
    rows = [
        Bar(
            _name(words, "lifecycle", stage),
            counts[stage],
            numbers.number(counts[stage]),
            colour=STAGE_COLOURS.get(stage, 8),
        )
        for stage in names
    ]
    return charts.donut(rows, lang=lang, title=words("report.stages"), middle=numbers.compact(sum(counts.values())))


def _name(words: Words, kind: str, code: str) -> str:
    """The words of a lifecycle stage or value tier, to begin a line with."""
    text = words.either(f"profile.{kind}.{code}", str(code).replace("_", " "))
    return text[:1].upper() + text[1:]


def _matrix(found: Gathered, numbers: Numbers, lang: Lang) -> Any:
    words = Words(lang)
    cells = {(row["lifecycle"], row["value_tier"]): row["customers"] for row in found.stages}
    if not cells:
        return None
    stages = [stage for stage in STAGES if any(stage == key[0] for key in cells)]
    tiers = [tier for tier in TIERS if any(tier == key[1] for key in cells)]
    grid = [[cells.get((stage, tier)) for tier in tiers] for stage in stages]
    return charts.heat(
        grid,
        [_name(words, "lifecycle", stage) for stage in stages],
        [_name(words, "tier", tier) for tier in tiers],
        lang=lang,
        title=words("report.matrix"),
        shown=numbers.compact,
        write_cells=True,
        cell=34,
        row_room=16,
    )


def _rfm(found: Gathered, numbers: Numbers, lang: Lang) -> Any:
    words = Words(lang)
    if not found.rfm:
        return None
    cells = {(int(row["r"]), int(row["f"])): row["customers"] for row in found.rfm}
    grid = [[cells.get((r, f)) for f in range(1, 6)] for r in range(5, 0, -1)]
    rows = [words("report.rfm_r", n=r) for r in range(5, 0, -1)]
    return charts.heat(
        grid,
        rows,
        [words("report.rfm_f", n=f) for f in range(1, 6)],
        lang=lang,
        title=words("report.rfm"),
        shown=numbers.compact,
        write_cells=True,
        cell=56,
        note=words("report.rfm_note"),
    )


def _cohorts(found: Gathered, numbers: Numbers, lang: Lang) -> Any:
    words = Words(lang)
    sizes = {row["cohort"]: row["customers"] for row in found.cohorts}
    if len(sizes) < 2:
        return None
    cohorts = sorted(sizes)[-13:]
    share = {(row["cohort"], row["age"]): row["share"] for row in found.cohorts}
    oldest = max(age for cohort, age in share if cohort in cohorts)
    last = max(cohorts)
    grid = []
    for cohort in cohorts:
        seen = [age for own, age in share if own == cohort]
        reach = _periods(cohort, last, found.cohort_unit)
        grid.append(
            [share.get((cohort, age), 0.0) if age <= max(reach, max(seen)) else None for age in range(1, oldest + 1)]
        )
    if oldest < 1:
        return None
    cohorts = [cohort for cohort, row in zip(cohorts, grid, strict=True) if any(cell is not None for cell in row)]
    grid = grid[: len(cohorts)]
    name = period(found.cohort_unit, numbers)
    rows = [f"{name(cohort)} · {numbers.compact(sizes[cohort])}" for cohort in cohorts]
    title = words("report.cohorts", unit=words(f"report.unit.{found.cohort_unit}"))
    return charts.heat(
        grid,
        rows,
        [f"+{age}" for age in range(1, oldest + 1)],
        lang=lang,
        title=title,
        shown=lambda value: numbers.percent(value, 0).removesuffix("%"),
        write_cells=True,
        most=1.0 if max((value for row in grid for value in row if value is not None), default=0) > 0.5 else None,
        cell=28,
        row_room=18,
        note=words("report.cohorts_note", unit=words(f"report.unit.{found.cohort_unit}")),
    )


def _periods(first: datetime, last: datetime, unit: str) -> int:
    months = (last.year - first.year) * 12 + last.month - first.month
    days = (last - first).days
    return {"day": days, "week": days // 7, "month": months, "quarter": months // 3}[unit]
