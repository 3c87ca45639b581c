"""What a condition would hold for, on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from huaxiang.apply.market.audiences import Preview
from huaxiang.look.numbers import Numbers
from huaxiang.profile.say import label_of
from huaxiang.words import Lang, Words

WIDTH = 24  # of a bar
SAID = {"value_tier": "tier"}  # where the catalogue keeps the words of its values


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
                words.either(f"profile.{SAID.get(name, name)}.{value}", str(value)),
                f"{row['members']:,}",
                numbers.percent(own),
                numbers.percent(row["customers"] / max(found.customers, 1)),
                "█" * round(own * WIDTH),
            )
        out.print(table, highlight=False, markup=False)
    if found.sample:
        table = Table(box=None, header_style="dim", pad_edge=False, title=words("market.sample"), title_justify="left")
        for column in found.sample[0]:
            table.add_column("user_id" if column == "user_id" else label_of(column)[lang])
        for member in found.sample:
            table.add_row(*(_said(name, value, words, numbers) for name, value in member.items()))
        out.print(table, highlight=False, markup=False)


def _said(name: str, value: object, words: Words, numbers: Numbers) -> str:
    if isinstance(value, str):
        return words.either(f"profile.{SAID.get(name, name)}.{value}", value)
    return numbers.number(value) if isinstance(value, int | float) else str(value)
