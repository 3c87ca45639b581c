"""The commands that care for a shop that lives: quarantine, backup, restore, doctor, check."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from huaxiang.cli.terminal import LANG, WORDS, Folder, app, help_of, open_shop, out, print_json, say

DAY_US = 86_400_000_000
AsJson = Annotated[bool, typer.Option("--json", help=help_of("json"))]
_QUARANTINE = "SHOP | list SHOP | replay SHOP | drop SHOP"


@app.command(help=WORDS("cli.quarantine"))
def quarantine(
    words: Annotated[list[str], typer.Argument(metavar=_QUARANTINE, help=help_of("quarantine"))],
    reason: Annotated[str, typer.Option(help=help_of("reason"))] = "",
    limit: Annotated[int, typer.Option(help=help_of("limit"))] = 20,
    show: Annotated[bool, typer.Option("--show", help=help_of("quarantine_show"))] = False,
    before: Annotated[float, typer.Option(help=help_of("quarantine_before"), min=0)] = 90,
    as_json: AsJson = False,
) -> None:
    match words:
        case ["list", shop]:
            _list(Path(shop), reason, limit if show else 0, as_json)
        case ["replay", shop]:
            _replay(Path(shop), reason)
        case ["drop", shop]:
            _drop(Path(shop), before)
        case [shop]:
            _rows(Path(shop), reason, limit)
        case _:
            raise typer.BadParameter(_QUARANTINE)


def _rows(shop: Path, reason: str, limit: int) -> None:
    from huaxiang.clean import quarantined, set_aside

    with open_shop(shop) as opened:
        lines = set_aside(opened.lake, opened.vault().text, reason=reason or None, limit=limit)
        rows = quarantined(opened.lake, reason=reason or None, limit=limit)
    lines = lines[: max(limit - len(rows), limit // 2)]
    shown = lines + rows[: limit - len(lines)]
    if not shown:
        say("quarantine_empty")
    for row in shown:
        print_json(row)


def _list(shop: Path, reason: str, limit: int, as_json: bool) -> None:
    from huaxiang.serve.open import open_quarantine

    with open_shop(shop) as opened, open_quarantine(opened) as quarantine:
        counts = quarantine.counts(reason)
        newest = quarantine.newest(reason, limit=limit) if limit else []
    if as_json:
        found = [{"source": source, "stage": stage, "reason": why, "messages": n} for (source, stage, why), n in counts.items()]  # fmt: skip
        print_json({"counts": found, "newest": [asdict(one) for one in newest]})
        return
    if not counts:
        say("quarantine_none")
    for (source, stage, why), n in counts.items():
        told = WORDS.either(f"quarantine.reason.{why.partition(':')[0]}", "")
        line = f"{n:>9}  {source}  {stage}  {why}" + (f"  {told}" if told else "")
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    for one in newest:
        line = f"{one.received_at:%Y-%m-%d %H:%M:%S}Z  {one.source}  {one.stage}  {one.reason}\n  {one.content}"
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def _replay(shop: Path, reason: str) -> None:
    from huaxiang.serve.open import open_quarantine

    with open_shop(shop) as opened, open_quarantine(opened, write=True) as quarantine:
        done = quarantine.replay(time.time_ns() // 1000, reason)
    say("quarantine_replayed", sent=done.sent, again=done.again)
    if done.left:
        say("quarantine_files", left=done.left)


def _drop(shop: Path, before: float) -> None:
    from huaxiang.serve.open import open_quarantine

    with open_shop(shop) as opened, open_quarantine(opened) as quarantine:
        dropped = quarantine.drop(time.time_ns() // 1000 - int(before * DAY_US))
    say("quarantine_dropped", dropped=dropped)


@app.command(help=WORDS("cli.backup"))
def backup(
    shop: Folder,
    file: Annotated[Path, typer.Argument(metavar="OUT.tar.zst", help=help_of("backup_out"))],
    without_keys: Annotated[bool, typer.Option("--without-keys", help=help_of("without_keys"))] = False,
) -> None:
    from huaxiang.serve.backup import back_up

    with open_shop(shop) as opened:
        done = back_up(opened, file, keys=not without_keys)
    say("backed_up", path=file, files=len(done.contents.files), mb=round(done.contents.bytes / 1e6, 1))
    say("backup_without_keys" if without_keys else "backup_with_keys", folder=shop / "keys", path=file)
    if done.elsewhere.startswith("postgres"):
        say("backup_postgres", address=done.elsewhere)
    elif done.elsewhere:
        say("backup_elsewhere", path=done.elsewhere)


@app.command(help=WORDS("cli.restore"))
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=help_of("backup_in"))],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help=help_of("restore_folder"))],
) -> None:
    from huaxiang.serve.backup import restore as bring_back

    done = bring_back(file, folder)
    say(
        "restored",
        folder=folder,
        files=len(done.files),
        at=f"{datetime.fromtimestamp(done.made_at, UTC):%Y-%m-%d %H:%M}Z",
    )
    if not done.keys:
        say("restored_without_keys", folder=folder / "keys")


@app.command(help=WORDS("cli.doctor"))
def doctor(
    shop: Folder,
    quick: Annotated[bool, typer.Option("--quick", help=help_of("quick"))] = False,
    as_json: AsJson = False,
) -> None:
    from huaxiang.serve.doctor import examine

    found = examine(shop, now=time.time_ns() // 1000, quick=quick)
    if as_json:
        print_json([one.to_dict(LANG) for one in found])
    for one in () if as_json else found:
        sign = {"ok": "✓", "warn": "!", "bad": "✗"}[one.status]
        style = {"ok": "green", "warn": "yellow", "bad": "bold red"}[one.status]
        out.print(f"{sign} {one.check}: {one.what(LANG)}", style=style, highlight=False, markup=False, soft_wrap=True)
        if one.status != "ok" and (mend := one.mend(LANG)):
            out.print(f"  → {mend}", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(int(any(one.status == "bad" for one in found)))


@app.command(help=WORDS("cli.check"))
def check(
    shop: Folder,
    sample: Annotated[int, typer.Option(help=help_of("check_sample"), min=1)] = 1_000,
    as_json: AsJson = False,
) -> None:
    from huaxiang.serve.beside import check_now
    from huaxiang.serve.live.check import read_check

    with open_shop(shop) as opened:
        found = check_now(opened, sample=sample) or read_check(opened)
    if as_json:
        print_json(found)
    elif found is None:
        say("check_none")
    else:
        say("checked", **{name: found[name] for name in ("users", "features", "cleaned", "at")})
        say("check_differs" if found["differing"] else "check_same")
        for name, count in found["differing"].items():
            out.print(f"  {name}  {count}", highlight=False)
        for user, name, live, batch in found["examples"][:5]:
            out.print(f"  {user} {name}: {live} / {batch}", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(2 if found is None else int(bool(found["differing"])))
