"""The commands of the journey, in its order."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from huaxiang.cli.terminal import (
    LANG,
    WORDS,
    Folder,
    app,
    help_of,
    open_shop,
    out,
    parse_day,
    print_json,
    say,
)
from huaxiang.settings.behaviour import Size
from huaxiang.settings.train import Zoo

if TYPE_CHECKING:
    from huaxiang.shop import Shop


@app.callback()
def _common(
    lang: Annotated[str, typer.Option(help=help_of("lang"))] = "",
    debug: Annotated[bool, typer.Option("--debug", help=help_of("debug"))] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help=help_of("verbose"))] = False,
    version: Annotated[bool, typer.Option("--version", help=help_of("version"))] = False,
) -> None:
    pass  # read in main(), so that they may stand before or after the command


@app.command(help=WORDS("cli.init"))
def init(
    shop: Folder,
    from_: Annotated[list[str], typer.Option("--from", help=help_of("from"))],
    third_party: Annotated[list[str] | None, typer.Option("--third-party", help=help_of("third_party"))] = None,
    force: Annotated[bool, typer.Option("--force", help=help_of("force"))] = False,
) -> None:
    from huaxiang.collect.preview import show_preview
    from huaxiang.collect.propose import init_shop

    proposal = init_shop(shop, from_, third_party=third_party or [], lang=LANG, force=force)
    show_preview(proposal, out, LANG)
    say("wrote", path=shop / "huaxiang.toml")
    say("look_and_change")
    out.print(f"  huaxiang run {shop}", style="bold cyan", highlight=False)


@app.command(help=WORDS("cli.collect"))
def collect(shop: Folder) -> None:
    with open_shop(shop) as opened:
        _show(opened, "collect", opened.collect())


@app.command(help=WORDS("cli.clean"))
def clean(shop: Folder) -> None:
    with open_shop(shop) as opened:
        _show(opened, "clean", opened.clean())


@app.command(help=WORDS("cli.build"))
def build(
    shop: Folder,
    as_of: Annotated[str, typer.Option(help=help_of("as_of"))] = "",
    full: Annotated[bool, typer.Option("--full", help=help_of("full_build"))] = False,
) -> None:
    with open_shop(shop) as opened:
        _show(opened, "build", opened.build(as_of=parse_day(as_of), full=full))


@app.command(help=WORDS("cli.train"))
def train(
    shop: Folder,
    size: Annotated[Size | None, typer.Option(help=help_of("size"))] = None,
    zoo: Annotated[Zoo | None, typer.Option(help=help_of("zoo"))] = None,
) -> None:
    with open_shop(shop) as opened:
        _show(opened, "train", opened.train(size=size, zoo=zoo))


@app.command(help=WORDS("cli.profile"))
def profile(
    shop: Annotated[Path | None, typer.Argument(metavar="SHOP", help=help_of("shop"))] = None,
    user: Annotated[str, typer.Argument(metavar="USER", help=help_of("user"))] = "",
    as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False,
    html: Annotated[bool, typer.Option("--html", help=help_of("html"))] = False,
    schema: Annotated[bool, typer.Option("--schema", help=help_of("schema"))] = False,
) -> None:
    from huaxiang.profile import profile_schema, show_profile

    if schema:
        print_json(profile_schema())
        return
    if shop is None:
        raise typer.BadParameter(help_of("shop"))
    with open_shop(shop) as opened:
        if not user:
            _show(opened, "profile", opened.profiles())
            return
        found = opened.profile(user)
        if as_json:
            print_json(found.to_dict())
        elif html:
            from huaxiang.engine.lake import write_atomically
            from huaxiang.profile.page import profile_page

            path = opened.folder / "reports" / f"profile-{found.user_id}.html"
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, profile_page(found.to_dict(), LANG))
            say("wrote", path=path)
        else:
            show_profile(found, out, LANG)


@app.command(help=WORDS("cli.report"))
def report(shop: Folder, to: Annotated[Path | None, typer.Option("--out", help=help_of("out"))] = None) -> None:
    with open_shop(shop) as opened:
        say("wrote", path=opened.report(lang=LANG, out=to))


@app.command(help=WORDS("cli.export"))
def export(
    shop: Folder,
    to: Annotated[Path, typer.Argument(metavar="FILE", help=help_of("out"))],
    what: Annotated[str, typer.Option(help=help_of("what"))] = "traits",
) -> None:
    with open_shop(shop) as opened:
        say("exported", count=opened.export(to, what=what), path=to)


@app.command(help=WORDS("cli.run"))
def run(shop: Folder, full: Annotated[bool, typer.Option("--full", help=help_of("full"))] = False) -> None:
    from huaxiang.serve.beside import bring_in

    with open_shop(shop) as opened:
        if brought := bring_in(opened):
            say("brought_in", count=brought)
        path = opened.run(full=full, show=partial(_show, opened))
        say("wrote", path=path)


def _show(shop: Shop, step: str, result: Any) -> None:
    """What a step returned, in a few lines."""
    if result is None:
        say("fresh", step=step)
    elif step == "collect":
        from huaxiang.collect.show import show_collect

        show_collect(result, out, LANG)
    elif step == "clean":
        from huaxiang.clean.show import show_quality

        show_quality(result, out, LANG)
    elif step == "build":
        say("built", users=result.users, as_of=result.as_of, features=result.features, outcomes=len(result.label_rows))
        if result.full:
            say("built_full", why=WORDS(f"features.full.{result.full}"))
        else:
            say("built_more", touched=result.touched, rows=result.rows, events=result.events)
        if result.fakes.get("orders"):
            out.print(WORDS("features.kept_out", **result.fakes), style="dim", highlight=False, soft_wrap=True)
    elif step == "train":
        from huaxiang.models.show import show_card

        for card in result:
            show_card(card, out, LANG, name_of=shop.name_of(LANG))
        if not result:
            say("no_outcomes")
    elif step == "profile":
        say("profiles", users=result.users)
