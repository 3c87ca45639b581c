"""The command `recommend`: learn and list for everybody, or answer for one customer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from huaxiang.cli.terminal import LANG, WORDS, Folder, app, help_of, open_shop, out, print_json, whole


@app.command(help=WORDS("cli.recommend"))
def recommend(
    shop: Folder,
    user: Annotated[str, typer.Argument(metavar="USER", help=help_of("recommend_user"))] = "",
    place: Annotated[str, typer.Option(help=help_of("place"))] = "home",
    item: Annotated[list[str] | None, typer.Option(help=help_of("beside_item"))] = None,
    count: Annotated[int | None, typer.Option(callback=whole(1, 100), help=help_of("recommend_count"))] = None,
    log: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help=help_of("recommend_log"))] = None,
    as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False,
) -> None:
    from huaxiang.apply.recommend.show import show_estimate, show_exam, show_list

    with open_shop(shop) as opened:
        if log is not None:
            estimated = opened.recommend.estimate(log)
            if as_json:
                print_json(asdict(estimated))
            else:
                show_estimate(estimated, out, LANG)
            return
        if not user:
            exam, fakes = opened.recommend.train(), opened.recommend.fakes()
            if as_json:
                print_json(asdict(exam) | {"fake_orders": fakes})
            else:
                show_exam(exam, out, LANG, fakes=fakes)
            return
        found = opened.recommend.show(opened.pseudonym(user), place=place, items=item or (), count=count or 0)
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        show_list(found, place, out, LANG)
