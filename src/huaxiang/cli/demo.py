"""The demo: a shop built from real or simulated records, and what huaxiang makes of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from huaxiang.cli.terminal import LANG, WORDS, app, help_of, make_progress, out, say
from huaxiang.demo import DemoShop
from huaxiang.errors import HuaxiangError

if TYPE_CHECKING:
    from huaxiang.serve.open import Running

FOLDERS: dict[DemoShop, Path] = {"grocer": Path("demo-shop"), "simulated": Path("simulated-shop")}
LIVING = Path("live-shop")
HOST = "127.0.0.1"


@app.command(help=WORDS("cli.demo"))
def demo(
    shop: Annotated[DemoShop | None, typer.Option(help=help_of("demo_shop"))] = None,
    folder: Annotated[Path | None, typer.Option(help=help_of("folder"))] = None,
    households: Annotated[int, typer.Option(help=help_of("households"))] = 0,
    users: Annotated[int, typer.Option(help=help_of("demo_users"))] = 0,
    seed: Annotated[int, typer.Option(help=help_of("seed"))] = 1,
    full: Annotated[bool, typer.Option("--full", help=help_of("full"))] = False,
    serve: Annotated[bool, typer.Option("--serve", help=help_of("demo_serve"))] = False,
    days: Annotated[int, typer.Option(help=help_of("demo_days"), min=1, max=60)] = 7,
    speed: Annotated[float, typer.Option(help=help_of("demo_speed"), min=0)] = 3600,
    port: Annotated[int, typer.Option(help=help_of("port"), min=1, max=65535)] = 8888,
) -> None:
    from huaxiang.clean.show import show_quality
    from huaxiang.demo import open_demo
    from huaxiang.demo.applications import apply_all
    from huaxiang.models.show import show_card
    from huaxiang.profile import show_profile

    if serve:
        if shop == "grocer" or households:
            raise typer.BadParameter(WORDS("cli.say.living_simulated"))
        _serve(folder or LIVING, users=users, seed=seed, days=days, speed=speed, port=port)
        return
    shop = shop or "grocer"
    if users and shop == "grocer":
        raise typer.BadParameter(help_of("demo_users"))
    if households and shop == "simulated":
        raise typer.BadParameter(help_of("households"))
    folder = folder or FOLDERS[shop]
    progress = make_progress()
    with open_demo(
        folder, shop=shop, households=households, users=users, seed=seed, lang=LANG, progress=progress
    ) as opened:
        path = opened.run(full=full)
        quality = opened.quality()
        if quality is not None:
            show_quality(quality, out, LANG)
        for card in opened.cards():
            show_card(card, out, LANG, name_of=opened.name_of(LANG))
        examples = opened.examples()
        for number, user in enumerate(examples, 1):
            out.rule(WORDS("cli.say.demo_example", number=number, count=len(examples)))
            show_profile(opened.profile(user), out, LANG)
        out.rule()
        if shop == "simulated":
            say("demo_applies")
            apply_all(opened, again=full, tell=_tell)
            path = opened.run()  # the report anew, with what was decided
        if shop == "simulated":
            say("demo_simulated", folder=folder, users=opened.lake.rows("profiles"))
            say("demo_truth", folder=folder)
        else:
            say("demo_ready", folder=folder, households=opened.lake.rows("profiles"))
            say("demo_source")
        say("demo_report")
        out.print(f"  {path.resolve()}", style="bold cyan", highlight=False, soft_wrap=True)
        say("demo_own")


def _serve(folder: Path, *, users: int, seed: int, days: int, speed: float, port: int) -> None:
    """The demo shop live, until Ctrl-C."""
    from huaxiang.demo.living import open_living
    from huaxiang.demo.living.enter import api_key, check_port, replay_of, shown
    from huaxiang.serve.run import serve as run

    check_port(HOST, port)
    url = f"http://{HOST}:{port}"

    def beside(running: Running) -> AbstractContextManager[None]:
        replay = replay_of(running, host=HOST, port=port, speed=speed)
        user = replay.whom()
        say("living_at", url=url)
        say("living_replay", total=replay.total - replay.sent)
        say("living_ask")
        curl = f'curl -s -H "Authorization: Bearer {api_key(running)}" {url}/api/v1/profiles/{user}'
        out.print(f"  {curl}", style="bold cyan", highlight=False, soft_wrap=True)
        say("living_end")
        return shown(running, replay, console=out, lang=LANG, url=url, user=user)

    with open_living(folder, users=users, days=days, seed=seed, lang=LANG, progress=make_progress()) as opened:
        if not opened.lake.note("profile"):
            say("living_builds", folder=folder)
            opened.run()
        run(opened, host=HOST, port=port, beside=beside)
    say("living_ended", folder=folder)


def _tell(name: str, seconds: float, why: HuaxiangError | None) -> None:
    title = WORDS(f"report.decided.{name}")
    if why is None:
        say("demo_applied", name=title, seconds=f"{seconds:.1f}")
    else:
        say("demo_not_applied", name=title, why=why.what(LANG))
