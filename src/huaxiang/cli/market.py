"""The commands of audiences: preview, save, list, members, upload, alike, remove."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from huaxiang.cli.terminal import LANG, WORDS, Folder, app, help_of, open_shop, out, print_json, say, whole

audience = typer.Typer(help=WORDS("cli.audience"), no_args_is_help=True)
app.add_typer(audience, name="audience")

When = Annotated[str, typer.Argument(metavar="CONDITION", help=help_of("condition"))]
Name = Annotated[str, typer.Argument(metavar="NAME", help=help_of("audience_name"))]
Json = Annotated[bool, typer.Option("--json", help=help_of("json"))]


@audience.command(help=WORDS("cli.audience_preview"))
def preview(shop: Folder, when: When, as_json: Json = False) -> None:
    from huaxiang.apply.market.show import show_preview

    with open_shop(shop) as opened:
        found = opened.market.preview(when)
    if as_json:
        print_json(asdict(found) | {"share": found.share})
    else:
        show_preview(found, out, LANG)


@audience.command(help=WORDS("cli.audience_save"))
def save(
    shop: Folder,
    name: Name,
    when: When,
    every: Annotated[str | None, typer.Option(metavar="SCHEDULE", help=help_of("audience_every"))] = None,
    meaning: Annotated[str | None, typer.Option(help=help_of("audience_meaning"))] = None,
) -> None:
    with open_shop(shop) as opened:
        before = opened.settings.audiences.get(name)
        found = opened.market.save(name, when, meaning=meaning, every=every)
        unheld = opened.market.unheld(when)
    say("audience_saved", name=name, size=found.size, entered=found.entered, left=found.left, version=found.version)
    if before is not None and before.when != when:
        say("audience_replaced", before=before.when, meaning=found.meaning or "–")
    for one in unheld:
        out.print(one.say(LANG), style="yellow", highlight=False, markup=False)


@audience.command("list", help=WORDS("cli.audience_list"))
def list_(shop: Folder, as_json: Json = False) -> None:
    from huaxiang.apply.market.show import show_audiences

    with open_shop(shop) as opened:
        listed, timed = opened.market.audiences(), opened.market.schedule()
        zone = opened.settings.shop.timezone
    if as_json:
        print_json([asdict(one) | asdict(when) for one, when in zip(listed, timed, strict=True)])
    elif listed:
        show_audiences(listed, timed, out, LANG, zone)
    else:
        say("no_audiences")


@audience.command(help=WORDS("cli.audience_overlaps"))
def overlaps(shop: Folder, as_json: Json = False) -> None:
    with open_shop(shop) as opened:
        found = opened.market.overlaps()
    if as_json:
        print_json(found)
        return
    if not found:
        say("no_overlaps")
    for row in found:
        say("audience_overlap", one=row["one"], other=row["other"], both=row["both"], share=f"{row['share']:.0%}")


@audience.command(help=WORDS("cli.audience_refresh"))
def refresh(
    shop: Folder,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help=help_of("refresh_names"))] = None,
    due: Annotated[bool, typer.Option("--due", help=help_of("refresh_due"))] = False,
) -> None:
    with open_shop(shop) as opened:
        if due:
            found = opened.market.refresh_due()
        else:
            found = [one for one in opened.market.refresh(names or None) if not names or one.name in names]
    for one in found:
        say("audience_saved", name=one.name, size=one.size, entered=one.entered, left=one.left, version=one.version)
    if due and not found:
        say("nothing_due")


@audience.command(help=WORDS("cli.audience_members"))
def members(
    shop: Folder,
    name: Name,
    to: Annotated[Path | None, typer.Option("--out", help=help_of("members_out"))] = None,
) -> None:
    from huaxiang.engine.lake import write_atomically

    with open_shop(shop) as opened:
        found = opened.market.members(name)
    if to is None:
        out.print("\n".join(found), highlight=False, markup=False)
        return
    write_atomically(to, "".join(f"{user}\n" for user in ["user_id", *found]))
    say("exported", count=len(found), path=to)


@audience.command(help=WORDS("cli.audience_upload"))
def upload(
    shop: Folder,
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help=help_of("list_file"))],
) -> None:
    from huaxiang.apply.market.lists import read_list

    with open_shop(shop) as opened:
        kept, unknown = opened.market.upload(name, read_list(file))
    say("list_kept", name=name, count=kept, unknown=unknown)


@audience.command(help=WORDS("cli.audience_alike"))
def alike(
    shop: Folder,
    name: Name,
    count: Annotated[int, typer.Option(callback=whole(1), help=help_of("alike_count"))] = 100,
    to: Annotated[Path | None, typer.Option("--out", help=help_of("members_out"))] = None,
) -> None:
    from huaxiang.engine.lake import write_atomically

    with open_shop(shop) as opened:
        found = opened.market.alike(name, count=count)
    say(
        "alike_found", count=len(found.users), seed=found.seed_size, way=WORDS(f"market.way.{found.way}"),
        recall=f"{found.recall:.0%}", random=f"{found.recall_random:.0%}", examined=found.examined,
    )  # fmt: skip
    rows = "".join(f"{user},{score}\n" for user, score in zip(found.users, found.scores, strict=True))
    if to is None:
        out.print(rows, highlight=False, markup=False, end="")
    else:
        write_atomically(to, f"user_id,score\n{rows}")
        say("exported", count=len(found.users), path=to)


@audience.command(help=WORDS("cli.audience_remove"))
def remove(shop: Folder, name: Name) -> None:
    with open_shop(shop) as opened:
        opened.market.remove(name)
    say("audience_removed", name=name)


@app.command(help=WORDS("cli.segments"))
def segments(
    shop: Folder,
    rfm: Annotated[bool, typer.Option("--rfm", help=help_of("segments_rfm"))] = False,
    flow: Annotated[bool, typer.Option("--flow", help=help_of("segments_flow"))] = False,
    as_json: Json = False,
) -> None:
    from huaxiang.apply.market.show import show_flow, show_rfm, show_segments

    if rfm or flow:
        with open_shop(shop) as opened:
            currency = opened.settings.shop.currency
            grids = {"rfm": opened.market.rfm()} if rfm else {}
            moves = opened.market.flow() if flow else None
        if as_json:
            print_json(grids | ({"flow": moves} if flow else {}))
            return
        if rfm:
            show_rfm(grids["rfm"], out, LANG, currency)
        if moves is not None:
            show_flow(moves, out, LANG)
        return
    with open_shop(shop) as opened:
        found = opened.market.segments()
    if as_json:
        print_json(found.to_dict())
    else:
        show_segments(found, out, LANG)


@app.command(help=WORDS("cli.rules"))
def rules(
    shop: Folder,
    over: Annotated[str, typer.Option(metavar="WHAT", help=help_of("rule_over"))] = "",
    days: Annotated[int, typer.Option(min=1, help=help_of("rule_days"))] = 180,
    longest: Annotated[int, typer.Option(min=2, max=4, help=help_of("rule_longest"))] = 3,
    least: Annotated[int, typer.Option(min=2, help=help_of("rule_least"))] = 20,
    as_json: Json = False,
) -> None:
    from huaxiang.apply.market.associations import over_of
    from huaxiang.apply.market.show import show_associations, show_rules

    what = over_of(over) if over else None
    with open_shop(shop) as opened:
        if what is not None:
            found = opened.market.associations(what, days=days, longest=longest, least=least)
        else:
            pairs = opened.market.rules(days=days, least=least)
    if what is None:
        if as_json:
            print_json(pairs)
        else:
            show_rules(pairs, out, LANG)
    elif as_json:
        print_json(found)
    else:
        show_associations(found, out, LANG)
