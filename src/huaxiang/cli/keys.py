"""The commands of the API's keepers: key, audit."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from huaxiang.cli.terminal import WORDS, Folder, app, help_of, open_shop, out, print_json, say, whole

key_app = typer.Typer(help=WORDS("cli.key.about"), no_args_is_help=True)
app.add_typer(key_app, name="key")

Name = Annotated[str, typer.Argument(help=help_of("key_name"))]


@key_app.command("add", help=WORDS("cli.key.add"))
def add_key(
    shop: Folder, name: Name, scope: Annotated[list[str], typer.Option("--scope", help=help_of("scope"))]
) -> None:
    from huaxiang.serve.api.keys import Keys
    from huaxiang.serve.open import open_store

    with open_shop(shop) as opened:
        store = open_store(opened)
        out.print(Keys(store).add(name, scope, now=time.time_ns() // 1000), highlight=False, soft_wrap=True)
        store.close()


@key_app.command("close", help=WORDS("cli.key.close"))
def close_key(shop: Folder, name: Name) -> None:
    from huaxiang.serve.api.keys import Keys
    from huaxiang.serve.open import open_store

    with open_shop(shop) as opened:
        store = open_store(opened)
        Keys(store).close_key(name, now=time.time_ns() // 1000)
        store.close()


@key_app.command("list", help=WORDS("cli.key.list"))
def list_keys(shop: Folder, as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False) -> None:
    from huaxiang.serve.api.keys import Keys
    from huaxiang.serve.open import open_store

    with open_shop(shop) as opened:
        store = open_store(opened)
        found = Keys(store).all()
        store.close()
    if as_json:
        print_json([{"name": key.name, "scopes": sorted(key.scopes), "last_used": key.last_used} for key in found])
        return
    if not found:
        say("no_keys", folder=shop)
    for key in found:
        out.print(f"{key.name}  {' '.join(sorted(key.scopes))}  {key.last_used or '-'}", highlight=False)


@app.command(help=WORDS("cli.audit"))
def audit(
    shop: Folder,
    user: Annotated[str, typer.Option(help=help_of("audit_user"))] = "",
    days: Annotated[int, typer.Option(callback=whole(1, 36_500), help=help_of("audit_days"))] = 30,
    limit: Annotated[int, typer.Option(callback=whole(1, 100_000), help=help_of("audit_limit"))] = 1_000,
    as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False,
) -> None:
    from huaxiang.serve.api.audit import DAY_US, find_looks
    from huaxiang.serve.api.rooms import open_audit_store
    from huaxiang.serve.profiles import is_pseudonym

    with open_shop(shop) as opened:
        names = [opened.pseudonyms().of(user), *([user] if is_pseudonym(user) else [])] if user else []
        with open_audit_store(opened) as store:
            looks = find_looks(store, names, since=time.time_ns() // 1000 - days * DAY_US, limit=limit)
    if as_json:
        print_json([look | {"at": _day(look["at"])} for look in looks])
        return
    if not looks:
        say("no_looks")
    for look in looks:
        whom = look["user_id"] or f"× {look['count']}"
        marks = "  personal" if look["personal"] else ""
        out.print(f"{_day(look['at'])}  {look['key']}  {look['scope'] or '-'}  {look['what']}  {whom}  {look['status']}{marks}", highlight=False, soft_wrap=True)  # fmt: skip


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
