"""The commands of the hooks that are told who enters and leaves audiences: list, dead, retry, test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from huaxiang.cli.terminal import WORDS, Folder, app, help_of, open_shop, print_json, say

if TYPE_CHECKING:
    from huaxiang.serve.hooks.outbox import Outbox
    from huaxiang.shop import Shop

hooks_app = typer.Typer(help=WORDS("cli.hooks.about"), no_args_is_help=True)
app.add_typer(hooks_app, name="hooks")

Name = Annotated[str, typer.Argument(help=help_of("hook_name"))]
Json = Annotated[bool, typer.Option("--json", help=help_of("json"))]


@hooks_app.command("list", help=WORDS("cli.hooks.list"))
def list_hooks(shop: Folder, as_json: Json = False) -> None:
    from huaxiang.serve.hooks.declared import secret_path

    with _opened(shop) as (opened, outbox):
        states, hooks, declared = outbox.states(), outbox.hooks, opened.settings.live.hooks
        zone = opened.settings.shop.timezone
    if as_json:
        print_json([{"name": name, "host": hooks[name].host if name in hooks else None, **asdict(state)} for name, state in states.items()])  # fmt: skip
        return
    if not states:
        say("hooks_none")
    for name, state in states.items():
        host = hooks[name].host if name in hooks else "-"
        say("hook_line", name=name, host=host, waiting=state.waiting, delivered=state.delivered, dead=state.dead)
        if name not in hooks:
            say("hook_gone")
            continue
        audiences = ", ".join(sorted(hooks[name].audiences or ())) or WORDS("cli.say.hook_every")
        say("hook_follows", audiences=audiences, secret=secret_path(shop, name, declared[name]))
        if state.closed_at is not None:
            say("hook_closed", since=_moment(state.closed_at, zone), folder=shop, name=name)
        elif state.failing_since is not None:
            since, again = _moment(state.failing_since, zone), _moment(state.next_at, zone)
            say("hook_failing", since=since, error=state.error, next=again)


@hooks_app.command(help=WORDS("cli.hooks.dead"))
def dead(
    shop: Folder,
    count: Annotated[int, typer.Option(help=help_of("hook_most"), min=1)] = 20,
    as_json: Json = False,
) -> None:
    with _opened(shop) as (opened, outbox):
        found, zone = outbox.dead(most=count), opened.settings.shop.timezone
    if as_json:
        print_json([{"hook": hook, **asdict(one), "dead_at": at, "error": error} for hook, one, at, error in found])
        return
    if not found:
        say("hooks_no_dead")
    for hook, one, _, error in found:
        change = WORDS(f"serve.change.{one.change}")
        at = _moment(one.at, zone)
        say("hook_dead", hook=hook, at=at, audience=one.audience, user=one.user_id, change=change, error=error)


@hooks_app.command(help=WORDS("cli.hooks.retry"))
def retry(shop: Folder, name: Name) -> None:
    from huaxiang.serve.hooks.declared import find_hook

    with _opened(shop) as (_, outbox):
        find_hook(name, outbox.hooks)
        again, overtaken = outbox.retry(name)
    say("hook_retried", again=again, overtaken=overtaken)


@hooks_app.command(help=WORDS("cli.hooks.test"))
def test(shop: Folder, name: Name) -> None:
    from huaxiang.serve.hooks.declared import find_hook, open_hooks
    from huaxiang.serve.hooks.deliver import post_test

    with open_shop(shop) as opened:
        hooks = {hook.name: hook for hook in open_hooks(opened.folder, opened.settings)}
    hook = find_hook(name, hooks)
    answer = post_test(hook, now=time.time_ns() // 1000)
    say("hook_taken" if answer.taken else "hook_not_taken", host=hook.host, detail=answer.detail)
    if not answer.taken:
        raise typer.Exit(1)


@contextmanager
def _opened(shop: Folder) -> Iterator[tuple[Shop, Outbox]]:
    from huaxiang.serve.hooks.declared import open_hooks
    from huaxiang.serve.hooks.outbox import Outbox
    from huaxiang.serve.open import open_states, open_store

    with open_shop(shop) as opened:
        store = open_store(opened)
        states = open_states(opened, store)
        try:
            yield opened, Outbox(states, open_hooks(opened.folder, opened.settings))
        finally:
            states.close()
            store.close()


def _moment(micros: int, zone: str) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).astimezone(ZoneInfo(zone)).isoformat(sep=" ", timespec="seconds")
