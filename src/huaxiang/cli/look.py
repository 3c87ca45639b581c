"""The commands beside the journey: a plain table, the features of a shop, a stream."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from huaxiang.cli.terminal import (
    LANG,
    WORDS,
    Folder,
    app,
    err,
    help_of,
    make_progress,
    open_shop,
    out,
    print_json,
    say,
    whole,
)


@app.command(help=WORDS("cli.table"))
def table(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=help_of("from"))],
    label: Annotated[str, typer.Option(help=help_of("label"))] = "last",
    folds: Annotated[int, typer.Option(help=help_of("folds"))] = 5,
    seed: Annotated[int, typer.Option(help=help_of("seed"))] = 20260101,
    task: Annotated[str, typer.Option(help=help_of("task"))] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False,
    to: Annotated[Path | None, typer.Option("--out", help=help_of("out"))] = None,
) -> None:
    from huaxiang.models.table import run_table, show_table

    found = run_table(file, label, folds=folds, seed=seed, task=task, progress=make_progress())
    if as_json:
        print_json(found.to_dict())
    else:
        show_table(found, out, LANG)
    path = to or (None if as_json else Path(f"{file.stem}-card.html"))
    if path is not None:
        from huaxiang.engine.lake import write_atomically
        from huaxiang.report import table_page

        write_atomically(path, table_page(found, LANG))
        (err if as_json else out).print(WORDS("cli.say.wrote", path=path), highlight=False, soft_wrap=True)


@app.command(help=WORDS("cli.compare"))
def compare(
    shop: Folder,
    seeds: Annotated[int, typer.Option(min=1, help=help_of("seeds"))] = 1,
    model: Annotated[list[str] | None, typer.Option(help=help_of("next_model"))] = None,
    as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False,
) -> None:
    from huaxiang.models.next_item.show import show_leaderboard
    from huaxiang.models.show import show_vector_table

    with open_shop(shop) as opened:
        found = opened.compare(seeds=seeds, only=model or ())
        known, trained = opened.vector_table(), bool(opened.cards())
        why = opened.lake.note("train").get("behaviour", {}).get("why", {}).get(LANG, "")
    if as_json:
        print_json(json.loads(found.to_json()) | {"user_vector": [asdict(row) for row in known]})
    else:
        show_leaderboard(found, out, LANG)
        show_vector_table(known, out, LANG, trained=trained, why=why)


@app.command(help=WORDS("cli.foresee"))
def foresee(
    shop: Folder,
    user: Annotated[str, typer.Argument(help=help_of("user"))],
    count: Annotated[int, typer.Option(callback=whole(1, 50), help=help_of("count"))] = 5,
    as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False,
) -> None:
    from huaxiang.models.next_item.show import show_foreseen

    with open_shop(shop) as opened:
        found = opened.foresee(user, count=count)
    if as_json:
        print_json([one.to_dict() for one in found])
    else:
        show_foreseen(found, out, LANG)


@app.command(help=WORDS("cli.features"))
def features(
    words: Annotated[list[str], typer.Argument(metavar="SHOP | explain [SHOP] NAME USER", help=help_of("features"))],
    as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False,
    limit: Annotated[int, typer.Option(help=help_of("limit"))] = 20,
) -> None:
    from huaxiang.features.show import explanation_json, show_explanation, show_features

    if words[0] == "explain":
        if len(words) not in (3, 4):
            raise typer.BadParameter("explain [SHOP] NAME USER")
        *folder, name, user = words[1:]
        with open_shop(Path(folder[0] if folder else ".")) as opened:
            found = opened.explain(name, user, lang=LANG, limit=limit)
            zone = opened.settings.shop.timezone
        if as_json:
            print_json(explanation_json(found, zone))
        else:
            show_explanation(found, out, LANG, zone=zone)
        return
    if len(words) != 1:
        raise typer.BadParameter(" ".join(words))
    with open_shop(Path(words[0])) as opened:
        listed = opened.features()
    if as_json:
        print_json(listed)
    else:
        show_features(listed, out, LANG)


@app.command(help=WORDS("cli.stream"))
def stream(
    shop: Folder,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=help_of("source"))],
    to: Annotated[str, typer.Option("--out", help=help_of("stream_out"))],
    checkpoint: Annotated[str, typer.Option(help=help_of("checkpoint"))],
    option: Annotated[list[str] | None, typer.Option(help=help_of("option"))] = None,
    follow: Annotated[bool, typer.Option("--follow", help=help_of("follow"))] = False,
) -> None:
    options = dict(word.partition("=")[::2] for word in option or [])
    with open_shop(shop) as opened:
        batches, left = opened.stream(source, to, checkpoint, options=options, once=not follow)
    say("streamed", batches=batches, out=to)
    if left:
        say("stream_left", names=", ".join(left))
