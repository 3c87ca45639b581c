"""What a condition would hold for, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from huaxiang.apply.market.associations import CATEGORY
from huaxiang.apply.market.audiences import Audience, Preview
from huaxiang.apply.market.grids import FIFTHS
from huaxiang.apply.market.schedule import Scheduled
from huaxiang.apply.market.segments import APART, Difference, Segment, Segments
from huaxiang.apply.market.values import value_name
from huaxiang.look.numbers import Numbers
from huaxiang.profile.lifecycle import STAGES
from huaxiang.profile.say import label_of
from huaxiang.words import Lang, Words

WIDTH = 24  # of a bar
RULE_COLUMNS = ("given", "then", "rows", "support", "confidence", "lift")
SINCE = ("recency_days", "idle_days", "tenure_days", "first_purchase_days")  # days back: more of them is longer ago


def show_preview(found: Preview, out: Console, lang: Lang) -> None:
    """Size, stages and tiers beside everybody's, and a few members."""
    words, numbers = Words(lang), Numbers(lang)
    out.print(
        words("market.size", size=f"{found.size:,}", share=numbers.percent(found.share)), style="bold", highlight=False
    )
    if not found.size:
        out.print(words("market.nobody"), style="yellow")
    elif found.size == found.customers:
        out.print(words("market.everybody"), style="yellow")
    for one in found.unheld:
        out.print(one.say(lang), style="yellow", highlight=False, markup=False)
    for name, rows in found.composition.items():
        table = Table(box=None, header_style="dim", pad_edge=False)
        for column in (name, "members", "of_members", "of_customers"):
            title = label_of(name)[lang] if column == name else words(f"market.column.{column}")
            table.add_column(title, justify="left" if column == name else "right", no_wrap=True)
        table.add_column("")
        for row in rows:
            own = row["members"] / found.size if found.size else 0.0
            value = row["value"] if row["value"] is not None else "none"
            table.add_row(
                value_name(name, str(value), words),
                f"{row['members']:,}",
                numbers.percent(own),
                numbers.percent(row["customers"] / max(found.customers, 1)),
                "█" * round(own * WIDTH),
            )
        out.print(table, highlight=False, markup=False)
    if found.sample:
        table = Table(box=None, header_style="dim", pad_edge=False, title=words("market.sample"), title_justify="left")
        for column in found.sample[0]:
            if column == "user_id":
                table.add_column(column, no_wrap=True)
            else:
                table.add_column(found.labels.get(column, label_of(column))[lang])
        for member in found.sample:
            table.add_row(*(_said(name, value, words, numbers) for name, value in member.items()))
        out.print(table, highlight=False, markup=False)


def _said(name: str, value: object, words: Words, numbers: Numbers) -> str:
    if isinstance(value, str):
        return value_name(name, value, words)
    return numbers.number(value) if isinstance(value, int | float) else str(value)


def show_audiences(listed: Sequence[Audience], timed: Sequence[Scheduled], out: Console, lang: Lang, zone: str) -> None:
    """The audiences, who entered and left, and when each is found anew. timed: in the order of `listed`; zone: the shop's"""
    words = Words(lang)

    def told(at: datetime | None) -> str:
        return "–" if at is None else f"{at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)):%m-%d %H:%M}"

    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("name", "size", "entered", "left", "as_of", "every", "refreshed", "next_due"):
        right = column in ("size", "entered", "left")
        table.add_column(words(f"market.column.{column}"), justify="right" if right else "left", no_wrap=True)
    for one, its in zip(listed, timed, strict=True):
        due = words("market.due_now") if its.is_due else told(its.next_due)
        figures = f"{one.size:,}", f"+{one.entered:,}", f"−{one.left:,}"
        every = words.either(f"market.every.{its.every}", its.every)
        table.add_row(one.name, *figures, one.as_of or "–", every, told(its.refreshed_at), due)
    out.print(table, highlight=False, markup=False)
    for one in listed:  # beside the figures there is no room for them
        out.print(f"{one.name}: {one.when}", style="dim", highlight=False, markup=False)
    for its in timed:
        if its.is_changed:
            out.print(words("market.changed_since", name=its.name), style="yellow", highlight=False, markup=False)


def segment_name(one: Segment, lang: Lang) -> str:
    """What sets a segment apart most, in a few words."""
    words = Words(lang)
    told = [_stands_out(d, lang, words) for d in one.differences[:2] if abs(d.apart) >= APART]
    return words("market.and").join(told) if told else words("market.ordinary")


def _stands_out(one: Difference, lang: Lang, words: Words) -> str:
    """A trait with the end it stands at; days since something are long or short, for "high" would be read as lately."""
    way = "high" if one.apart > 0 else "low"
    if one.trait in SINCE:
        return words(f"market.since.{one.trait}.{way}")
    return words(f"market.{way}", trait=one.name(lang))


def show_segments(found: Segments, out: Console, lang: Lang) -> None:
    """Each segment, its size and what sets it apart from everybody."""
    words, numbers = Words(lang), Numbers(lang)
    line = "market.segments_found" if found.steady else "market.segments_unsteady"
    out.print(
        words(line, count=len(found.segments), customers=f"{found.customers:,}", way=words(f"market.grouping.{found.way}"), stability=f"{found.stability:.2f}"),
        style="" if found.steady else "yellow", highlight=False,
    )  # fmt: skip
    out.print(words("market.segments_made", as_of=found.as_of, version=found.version), style="dim", highlight=False)
    for one in found.segments:
        out.print(
            f"\n{one.number}  {segment_name(one, lang)}   {one.size:,} · {numbers.percent(one.share)}",
            style="bold",
            highlight=False,
            markup=False,
        )
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 3))
        for d in one.differences:
            sign = "+" if d.apart > 0 else "−"
            table.add_row(
                d.name(lang),
                numbers.number(d.typical),
                words("market.against", mean=numbers.number(d.everybody)),
                f"{sign}{abs(d.apart):.1f} σ",
            )
        out.print(table, highlight=False, markup=False)


def show_rules(rows: Sequence[Mapping[str, Any]], out: Console, lang: Lang) -> None:
    words, numbers = Words(lang), Numbers(lang)
    if not rows:
        out.print(words("market.no_rules"), style="yellow")
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("one", "other", "customers", "confidence", "lift"):
        table.add_column(words(f"market.column.{column}"), justify="left" if column in ("one", "other") else "right")
    for row in rows:
        lift = f"{row['lift']:.1f} ({row['low']:.1f}–{row['high']:.1f})"
        table.add_row(
            str(row["one"]), str(row["other"]), f"{row['customers']:,}", numbers.percent(row["confidence"]), lift
        )
    out.print(table, highlight=False, markup=False)


def thing_name(thing: Sequence[str], lang: Lang) -> str:
    """[trait or "category", value] in words."""
    trait, value = thing
    if trait == CATEGORY:
        return value
    words = Words(lang)
    return words("market.is", trait=label_of(trait)[lang], value=value_name(trait, value, words))


def rule_texts(row: Mapping[str, Any], lang: Lang) -> tuple[str, str, str, str, str, str]:
    """A rule's two sides, rows, support, confidence, and its lift with the interval."""
    numbers = Numbers(lang)
    given = Words(lang)("market.and").join(thing_name(one, lang) for one in row["given"])
    lift = f"{row['lift']:.1f} ({row['low']:.1f}–{row['high']:.1f})"
    shares = numbers.percent(row["support"], 1), numbers.percent(row["confidence"])
    return given, thing_name(row["then"], lang), f"{row['rows']:,}", *shares, lift


def held_line(found: Mapping[str, Any], lang: Lang) -> str:
    """On how many rows rules were found, and how many of those asked of the other half it held."""
    names = ("found_on", "held_on", "tested", "held")
    what = Words(lang)(f"market.over.{found['over']}")
    if not found["tested"]:
        count = Numbers(lang).number(found["found_on"] + found["held_on"])
        return Words(lang)("market.rules_none", what=what, count=count, as_of=found["as_of"])
    return Words(lang)("market.rules_held", what=what, as_of=found["as_of"], version=found["version"], **{name: f"{found[name]:,}" for name in names})  # fmt: skip


def show_associations(found: Mapping[str, Any], out: Console, lang: Lang) -> None:
    """Rules held on the half of the customers that did not find them (find_associations)."""
    words = Words(lang)
    out.print(held_line(found, lang), highlight=False, markup=False)
    if not found["rules"]:
        if found["tested"]:
            out.print(words("market.no_rules_held"), style="yellow")
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in RULE_COLUMNS:
        table.add_column(words(f"market.column.{column}"), justify="left" if column in ("given", "then") else "right")
    for row in found["rules"]:
        table.add_row(*rule_texts(row, lang))
    out.print(table, highlight=False, markup=False)


def show_rfm(rows: Sequence[Mapping[str, Any]], out: Console, lang: Lang, currency: str) -> None:
    """Customers by fifths of recency (down) and frequency (across), each with its share of the spend."""
    words, numbers = Words(lang), Numbers(lang, currency)
    if not rows:
        out.print(words("market.no_rfm"), style="yellow")
        return
    cells = {(row["recency"], row["frequency"]): row for row in rows}
    table = Table(box=None, header_style="dim", pad_edge=False, title=words("market.rfm_title"), title_justify="left")
    table.add_column("")
    for frequency in range(1, FIFTHS + 1):
        table.add_column(words("report.rfm_f", n=frequency), justify="right", no_wrap=True)
    for recency in range(FIFTHS, 0, -1):
        found = [cells.get((recency, frequency)) for frequency in range(1, FIFTHS + 1)]
        told = [
            "·" if one is None else f"{one['customers']:,} ({numbers.percent(one['spend_share'])})" for one in found
        ]
        table.add_row(words("report.rfm_r", n=recency), *told)
    out.print(table, highlight=False, markup=False)


def show_flow(found: Mapping[str, Any], out: Console, lang: Lang) -> None:
    """Who moved between lifecycle stages: a row a stage of then, a column a stage of now."""
    words, numbers = Words(lang), Numbers(lang)
    if not found["moves"]:
        out.print(words("market.no_flow"), style="yellow")
        return
    moved = {(row["before"], row["now"]): row["customers"] for row in found["moves"]}
    now = [stage for stage in STAGES if any(stage == pair[1] for pair in moved)]
    title = words("market.flow_title", before=numbers.date(found["before"]), now=numbers.date(found["now"]))
    table = Table(box=None, header_style="dim", pad_edge=False, title=title, title_justify="left")
    table.add_column("")
    for stage in now:
        table.add_column(words(f"profile.lifecycle.{stage}"), justify="right", no_wrap=True)
    for before in (*STAGES, ""):
        if any(before == pair[0] for pair in moved):
            name = words(f"profile.lifecycle.{before}") if before else words("market.not_yet")
            table.add_row(name, *(f"{moved.get((before, stage), 0):,}" for stage in now))
    out.print(table, highlight=False, markup=False)
