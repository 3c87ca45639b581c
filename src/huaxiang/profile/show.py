"""A profile in the terminal: who, the story, key numbers, tastes, rhythm, what comes next and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from huaxiang.look.numbers import Numbers
from huaxiang.profile.document import Profile
from huaxiang.profile.say import leaf
from huaxiang.profile.wrap import wrap_cells
from huaxiang.words import Lang, Words

Row = dict[str, Any]
KEY_NUMBERS = (
    "spend_365d",
    "orders_365d",
    "recency_days",
    "basket_value_mean_90d",
    "gap_days_mean",
    "rfm",
    "views_30d",
    "sessions_30d",
    "active_days_30d",
)
STAGE_STYLES = {
    "active": "green",
    "new": "cyan",
    "won_back": "cyan",
    "at_risk": "yellow",
    "dormant": "magenta",
    "lost": "red",
    "prospect": "blue",
}
_BLOCKS = " ▁▂▃▄▅▆▇█"
BAR = 18
PANEL = 6  # columns the frame takes


def show_profile(profile: Profile, console: Console, lang: Lang) -> None:
    """Print the profile, fitted to the console's width."""
    document, words = profile.to_dict(), Words(lang)
    numbers = Numbers(lang, document["currency"])
    traits = {trait["name"]: trait for section in document["sections"].values() for trait in section["traits"]}
    width = max(console.width - PANEL, 20)
    parts: list[RenderableType] = [_heading(document, traits, width, lang), _story(document, width, lang)]
    key = [_stat(traits[name], lang) for name in KEY_NUMBERS if name in traits][:6]
    if key:
        parts.append(Padding(Columns(key, padding=(0, 3)), (1, 0, 0, 0)))
    who = _pairs(document["sections"]["basic"]["traits"], lang, skip=("lifecycle", "value_tier"))
    if who is not None:
        parts += [_title(words("profile.show.who")), who]
    parts += _tastes(traits, words, lang)
    parts += _rhythm(traits, words, lang)
    parts += _predictions(document["sections"]["predictions"]["traits"], words, numbers, lang)
    risk = _pairs(document["sections"]["risk"]["traits"], lang)
    if risk is not None:
        parts += [_title(words("profile.show.risk")), risk]
    parts += _why(traits, width, words, lang)
    parts.append(Text(words("profile.show.more").replace("`", ""), style="dim"))
    console.print(Panel(Group(*parts), border_style="dim", padding=(1, 2)))


def _heading(document: Row, traits: dict[str, Row], width: int, lang: Lang) -> RenderableType:
    words, head = Words(lang), document["headline"]
    stage = traits["lifecycle"]["text"][lang] if "lifecycle" in traits else head["lifecycle"]
    line = Text.assemble((stage, f"bold {STAGE_STYLES.get(head['lifecycle'], 'white')}"))
    if "value_tier" in traits:
        line.append(f"  {traits['value_tier']['text'][lang]}", style="bold yellow")
    line.append(f"   {document['user_id']}", style="dim")
    moment = datetime.fromisoformat(document["as_of"]).astimezone(ZoneInfo(document["timezone"]))
    day = Numbers(lang, document["currency"]).date(moment)
    line.append(f"   {words('profile.show.as_of', shop=document['shop'], date=day)}", style="dim")
    chips = [Text(f" {tag[lang]} ", style="black on bright_white") for tag in document["tags"]]
    return Group(line, Text(""), *_flow(chips, width)) if chips else line


def _flow(chips: Sequence[Text], width: int) -> list[Text]:
    """The chips on as many lines as they need, none broken."""
    lines: list[Text] = []
    for chip in chips:
        if lines and lines[-1].cell_len + 2 + chip.cell_len <= width:
            lines[-1].append("  ").append_text(chip)
        else:
            lines.append(chip.copy())
    return lines


def _story(document: Row, width: int, lang: Lang) -> RenderableType:
    said = ("" if lang == "zh" else " ").join(sentence[lang] for sentence in document["persona"])
    absent = document["sections"]["persona"]["absent"]
    return Padding(Text(wrap_cells(said or absent[lang], width), style="" if said else "dim"), (1, 0, 0, 0))


def _stat(trait: Row, lang: Lang) -> RenderableType:
    return Group(Text(trait["label"][lang], style="dim"), Text(trait["text"][lang], style="bold"))


def _title(text: str) -> RenderableType:
    return Padding(Text(text, style="bold underline"), (1, 0, 0, 0))


def _pairs(traits: Sequence[Row], lang: Lang, skip: Sequence[str] = ()) -> RenderableType | None:
    shown = [trait for trait in traits if trait["name"] not in skip]
    if not shown:
        return None
    table = Table.grid(padding=(0, 3))
    for trait in shown:
        table.add_row(Text(trait["label"][lang], style="dim"), Text(trait["text"][lang]))
    return table


def _tastes(traits: dict[str, Row], words: Words, lang: Lang) -> list[RenderableType]:
    grids: list[RenderableType] = []
    for name, color in (("top_categories", "cyan"), ("top_brands", "blue")):
        if name not in traits:
            continue
        grid = Table.grid(padding=(0, 1))
        most = max((top["share"] for top in traits[name]["value"]), default=0) or 1
        for top in traits[name]["value"][:5]:
            label = Text(leaf(str(top["key"])))
            label.truncate(24, overflow="ellipsis")
            grid.add_row(
                label,
                Text("█" * max(1, round(BAR * top["share"] / most)), style=color),
                Text(f"{top['share']:.0%}", style="dim"),
            )
        grids.append(grid)
    return [_title(words("profile.show.tastes")), Columns(grids, padding=(0, 4))] if grids else []


def _rhythm(traits: dict[str, Row], words: Words, lang: Lang) -> list[RenderableType]:
    lines = []
    for name, key in (("weekday_hist", "weekdays"), ("hour_hist", "hours")):
        if name in traits:
            lines.append(
                Text.assemble(
                    (_spark(traits[name]["value"]), "green"),
                    f"  {words(f'profile.show.{key}')} · {traits[name]['text'][lang]}",
                )
            )
    return [_title(words("profile.show.rhythm")), *lines] if lines else []


def _spark(shares: Sequence[float]) -> str:
    most = max(shares, default=0) or 1
    return "".join(_BLOCKS[round(8 * share / most)] for share in shares)


def _predictions(traits: Sequence[Row], words: Words, numbers: Numbers, lang: Lang) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for trait in traits:
        evidence = trait["evidence"]
        line = Text.assemble((trait["label"][lang], ""), "  ", (trait["text"][lang], "bold"))
        if trait["unit"] == "probability":
            line.append("  ")
            line.append_text(_gauge(trait["value"], evidence["threshold"]))
        if evidence["low"] is not None and evidence["high"] is not None and not isinstance(trait["value"], str):
            write = _writer(trait["unit"], numbers)
            line.append(
                f"  {words('profile.show.range', low=write(evidence['low']), high=write(evidence['high']))}",
                style="dim",
            )
        parts.append(line)
        parts += [
            Text.assemble(
                "   ",
                ("▲ " if reason["effect"] > 0 else "▼ ", "red" if reason["effect"] > 0 else "green"),
                (reason["text"][lang], "dim"),
            )
            for reason in evidence["reasons"][:3]
        ]
        card = (evidence["model"] or {}).get("card")
        parts.append(
            Text(
                f"   {trait['origin']} · {card['text'][lang]}" if card else f"   {trait['origin']}", style="dim italic"
            )
        )
    return [_title(words("profile.show.predictions")), *parts] if parts else []


def _writer(unit: str, numbers: Numbers) -> Callable[[Any], str]:
    if unit == numbers.currency:
        return numbers.money
    return numbers.percent if unit == "probability" else numbers.number


def _gauge(value: float, threshold: float | None) -> Text:
    """A chance as a bar, the model's threshold a notch in it; bold beyond it."""
    filled = round(BAR * value)
    beyond = threshold is not None and value >= threshold
    gauge = Text()
    for place in range(BAR):
        notch = threshold is not None and place == min(round(BAR * threshold), BAR - 1)
        gauge.append(
            "┃" if notch else "━" if place < filled else "╌",
            style="bold" if notch or (beyond and place < filled) else "cyan" if place < filled else "dim",
        )
    return gauge


def _why(traits: dict[str, Row], width: int, words: Words, lang: Lang) -> list[RenderableType]:
    """The headline traits with what they rest on."""
    names = [
        name
        for name in (
            "lifecycle",
            "value_tier",
            "spend_90d",
            "overdue_ratio",
            "top_categories",
            "discount_share_90d",
            "sessions_30d",
        )
        if name in traits
    ]
    if not names:
        return []
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    widths = {"trait": 22, "value": 22, "confidence": 5, "rests": max(width - 22 - 22 - 5 - 7, 16)}
    for key in widths:
        table.add_column(words(f"profile.show.{key}"))
    for name in names:
        trait = traits[name]
        evidence = trait["evidence"]
        rests = evidence["meaning"][lang][:1].upper() + evidence["meaning"][lang][1:]
        if evidence["count"]:
            key = "one" if evidence["count"] == 1 else "many"
            rests = words(
                "profile.show.rests_on", meaning=rests, events=words(f"profile.unit.records.{key}", n=evidence["count"])
            )
        cells = {
            "trait": trait["label"][lang],
            "value": trait["text"][lang],
            "confidence": f"{trait['confidence']:.0%}",
            "rests": rests,
        }
        table.add_row(*(Text(wrap_cells(text, widths[key])) for key, text in cells.items()))
    return [_title(words("profile.show.why")), table]
