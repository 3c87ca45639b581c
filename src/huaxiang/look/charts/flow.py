"""Who moved where: two sets of groups with ribbons between them, as wide as the number that moved (Sankey)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from huaxiang.look.charts.amounts import COLOURS
from huaxiang.look.numbers import Numbers
from huaxiang.look.svg import drawing, figure, finite, label, nothing, percent, shorten, stretch, tag, tip
from huaxiang.words import Lang, Words

LEFT, RIGHT, THICK = 0.24, 0.75, 0.012  # where the groups stand, and how wide they are, of the width
ROOM = 19.0  # pixels a group takes at least, so that its name has a line
GAP = 5.0
NAME = 24  # half-width letters

Group = str


def sankey(
    moves: Mapping[tuple[Group, Group], Any],
    before: Sequence[tuple[Group, str]],
    after: Sequence[tuple[Group, str]],
    *,
    lang: Lang,
    title: str = "",
    height: float = 260,
    note: str = "",
) -> Markup:
    """moves: (group before, group after) -> how many; before, after: groups from the top down, with their names. Each group has a
    colour of its own, the ribbons that of where they come from."""
    numbers = Numbers(lang)
    moves = {pair: max(value or 0.0, 0.0) for pair, value in zip(moves, finite(list(moves.values())), strict=True)}
    whole = sum(moves.values())
    if not whole:
        return nothing(Words(lang)("look.chart.nothing"), title=title)
    sides = [
        [(group, name, sum(value for pair, value in moves.items() if pair[side] == group)) for group, name in groups]
        for side, groups in enumerate((before, after))
    ]
    sides = [[one for one in groups if one[2] > 0] for groups in sides]
    known = dict.fromkeys(group for groups in sides for group, *_ in groups)
    colours = {group: f"c{place % COLOURS + 1}" for place, group in enumerate(known)}
    places = [_places([size / whole for *_, size in groups], height) for groups in sides]
    high = max(top + max(tall, ROOM) for side in places for top, tall in side)
    tops = [
        {group: top for (group, *_), (top, _) in zip(*side, strict=True)} for side in zip(sides, places, strict=True)
    ]
    ribbons, said = [], []
    for group, name, _ in sides[0]:
        for other, target, _ in sides[1]:
            count = moves.get((group, other), 0)
            if count <= 0:
                continue
            tall = count / whole * height
            y, z = tops[0][group], tops[1][other]
            tops[0][group], tops[1][other] = y + tall, z + tall
            words = f"{name} → {target}: {numbers.number(count)} ({numbers.percent(count / whole)})"
            said.append(words)
            ends = [value / high * 100 for value in (y, z, z + tall, y + tall)]
            path = "M0,{0:.3f}C50,{0:.3f} 50,{1:.3f} 100,{1:.3f}L100,{2:.3f}C50,{2:.3f} 50,{3:.3f} 0,{3:.3f}Z".format(
                *ends
            )
            ribbons.append(tag("path", tip(words), d=path, class_=f"ribbon {colours[group]}"))
    parts = [stretch(*ribbons, x=percent(LEFT + THICK), width=percent(RIGHT - LEFT - THICK), y=0, height=high)]
    for side, x, edge, anchor in ((0, LEFT, LEFT, "end"), (1, RIGHT, RIGHT + THICK, "start")):
        for (group, name, size), (top, tall) in zip(sides[side], places[side], strict=True):
            shown = f"{numbers.number(size)} · {numbers.percent(size / whole)}"
            parts.append(
                tag(
                    "rect",
                    tip(f"{name}: {shown}"),
                    x=percent(x),
                    y=top,
                    width=percent(THICK),
                    height=tall,
                    class_=colours[group],
                )
            )
            at = top + max(tall, ROOM - GAP) / 2 + 4 if tall < ROOM else top + tall / 2 + 4
            words = f"{shorten(name, NAME)} {numbers.percent(size / whole)}"
            parts.append(label(words, percent(edge), at, anchor=anchor, dx=-8 if side == 0 else 8))
    return figure(drawing(*parts, height=high, title=title, summary="; ".join(said)), title=title, note=note)


def _places(shares: Sequence[float], height: float) -> list[tuple[float, float]]:
    """(top, height) of each group in pixels, one below the other."""
    found, top = [], 0.0
    for share in shares:
        tall = max(share * height, 1.0)
        found.append((top, tall))
        top += max(tall, ROOM) + GAP
    return found
