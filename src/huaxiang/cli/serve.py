"""The commands of a shop that lives: serve, source."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from huaxiang.cli.terminal import WORDS, Folder, app, help_of, open_shop, out, print_json, say

if TYPE_CHECKING:
    from huaxiang.serve.open import Running

source_app = typer.Typer(help=WORDS("cli.source.about"), no_args_is_help=True)
app.add_typer(source_app, name="source")


@app.command(help=WORDS("cli.serve"))
def serve(
    shop: Folder,
    host: Annotated[str, typer.Option(help=help_of("host"))] = "127.0.0.1",
    port: Annotated[int, typer.Option(help=help_of("port"), min=1, max=65535)] = 8888,
) -> None:
    from huaxiang.serve.api.keys import Keys
    from huaxiang.serve.run import serve as run

    def started(running: Running) -> None:
        say("serving", url=f"http://{host}:{port}")
        for name, key in running.sources.all():
            out.print(f"  {name}  {key}", highlight=False)
        for name, pull in sorted(opened.settings.live.pull.items()):
            say("serving_pull", name=name, kind=pull.kind)
        if not Keys(running.store).all():
            say("no_keys", folder=shop)
        if not opened.lake.note("profile"):
            say("serving_no_build", folder=shop)

    with open_shop(shop) as opened:
        run(opened, host=host, port=port, started=started)


@source_app.command("add", help=WORDS("cli.source.add"))
def add_source(shop: Folder, name: Annotated[str, typer.Argument(help=help_of("source_name"))]) -> None:
    from huaxiang.serve.open import open_sources, open_store

    with open_shop(shop) as opened:
        store = open_store(opened)
        out.print(open_sources(opened, store).add(name, now=time.time_ns() // 1000), highlight=False)
        store.close()


@source_app.command("close", help=WORDS("cli.source.close"))
def close_source(shop: Folder, name: Annotated[str, typer.Argument(help=help_of("source_name"))]) -> None:
    from huaxiang.serve.open import open_sources, open_store

    with open_shop(shop) as opened:
        store = open_store(opened)
        open_sources(opened, store).close(name, now=time.time_ns() // 1000)
        store.close()


@source_app.command("list", help=WORDS("cli.source.list"))
def list_sources(shop: Folder, as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False) -> None:
    from huaxiang.serve.open import open_sources, open_store

    with open_shop(shop) as opened:
        store = open_store(opened)
        found = open_sources(opened, store).all()
        store.close()
    if as_json:
        print_json([{"name": name, "write_key": key} for name, key in found])
    for name, key in () if as_json else found:
        out.print(f"{name}  {key}", highlight=False)
