"""The command `huaxiang`: one command a step, in English or Chinese (`--lang`, or the terminal's own language).

Errors raised on purpose become one message and its mend on stderr and exit code 1; an unexpected one names its place only
(values might be personal), exit code 70.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from huaxiang.errors import HuaxiangError
from huaxiang.words import LANGS, Lang, Words, guess_lang

if TYPE_CHECKING:
    from huaxiang.progress import Progress
    from huaxiang.shop import Shop


# typer reads these annotations when the commands are made, so help texts come from the language of this process.
def _asked_lang(argv: Sequence[str]) -> Lang:
    """The language of `--lang zh` or `--lang=zh` anywhere in `argv`; else the terminal's."""
    for word, after in zip(argv, [*argv[1:], ""], strict=True):
        asked = after if word == "--lang" else word.removeprefix("--lang=") if word.startswith("--lang=") else None
        if asked is not None:
            if asked not in LANGS:
                sys.stderr.write(f"✗ --lang {asked}\n→ --lang {' | '.join(LANGS)}\n")
                raise SystemExit(2)
            return "zh" if asked == "zh" else "en"
    return guess_lang()


_lang: Lang = _asked_lang(sys.argv)
_words = Words(_lang)


def _help(name: str) -> str:
    return _words(f"cli.arg.{name}")


app = typer.Typer(help=_words("cli.about"), no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
out = Console()
err = Console(stderr=True)

Folder = Annotated[Path, typer.Argument(metavar="SHOP", help=_help("shop"))]


def _progress() -> Progress:
    from huaxiang.progress import BarProgress, LineProgress

    return BarProgress(err) if err.is_terminal else LineProgress(lambda line: err.print(line, highlight=False))


def _open(folder: Path) -> Shop:
    from huaxiang.shop import Shop

    return Shop.open(folder, progress=_progress())


@app.callback()
def _common(
    lang: Annotated[str, typer.Option(help=_help("lang"))] = "",
    debug: Annotated[bool, typer.Option("--debug", help=_help("debug"))] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help=_help("verbose"))] = False,
    version: Annotated[bool, typer.Option("--version", help=_help("version"))] = False,
) -> None:
    pass  # read in main(), so that they may stand before or after the command


@app.command(help=_words("cli.init"))
def init(
    shop: Folder,
    from_: Annotated[list[str], typer.Option("--from", help=_help("from"))],
    third_party: Annotated[list[str] | None, typer.Option("--third-party", help=_help("third_party"))] = None,
    force: Annotated[bool, typer.Option("--force", help=_help("force"))] = False,
) -> None:
    from huaxiang.collect.preview import show_preview
    from huaxiang.collect.propose import init_shop

    proposal = init_shop(shop, from_, third_party=third_party or [], lang=_lang, force=force)
    show_preview(proposal, out, _lang)
    _say("wrote", path=shop / "huaxiang.toml")
    _say("look_and_change")
    out.print(f"  huaxiang run {shop}", style="bold cyan", highlight=False)


@app.command(help=_words("cli.collect"))
def collect(shop: Folder) -> None:
    with _open(shop) as opened:
        _show("collect", opened.collect())


@app.command(help=_words("cli.clean"))
def clean(shop: Folder) -> None:
    with _open(shop) as opened:
        _show("clean", opened.clean())


@app.command(help=_words("cli.build"))
def build(
    shop: Folder,
    as_of: Annotated[str, typer.Option(help=_help("as_of"))] = "",
    full: Annotated[bool, typer.Option("--full", help=_help("full_build"))] = False,
) -> None:
    with _open(shop) as opened:
        _show("build", opened.build(as_of=_day(as_of), full=full))


@app.command(help=_words("cli.train"))
def train(shop: Folder) -> None:
    with _open(shop) as opened:
        _show("train", opened.train())


@app.command(help=_words("cli.profile"))
def profile(
    shop: Annotated[Path | None, typer.Argument(metavar="SHOP", help=_help("shop"))] = None,
    user: Annotated[str, typer.Argument(metavar="USER", help=_help("user"))] = "",
    as_json: Annotated[bool, typer.Option("--json", help=_help("json"))] = False,
    html: Annotated[bool, typer.Option("--html", help=_help("html"))] = False,
    schema: Annotated[bool, typer.Option("--schema", help=_help("schema"))] = False,
) -> None:
    from huaxiang.profile import profile_schema, show_profile

    if schema:
        _print_json(profile_schema())
        return
    if shop is None:
        raise typer.BadParameter(_help("shop"))
    with _open(shop) as opened:
        if not user:
            _show("profile", opened.profiles())
            return
        found = opened.profile(user)
        if as_json:
            _print_json(found.to_dict())
        elif html:
            from huaxiang.engine.lake import write_atomically
            from huaxiang.profile.page import profile_page

            path = opened.folder / "reports" / f"profile-{found.user_id}.html"
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, profile_page(found.to_dict(), _lang))
            _say("wrote", path=path)
        else:
            show_profile(found, out, _lang)


@app.command(help=_words("cli.report"))
def report(shop: Folder, to: Annotated[Path | None, typer.Option("--out", help=_help("out"))] = None) -> None:
    with _open(shop) as opened:
        _say("wrote", path=opened.report(lang=_lang, out=to))


@app.command(help=_words("cli.export"))
def export(
    shop: Folder,
    to: Annotated[Path, typer.Argument(metavar="FILE", help=_help("out"))],
    what: Annotated[str, typer.Option(help=_help("what"))] = "traits",
) -> None:
    with _open(shop) as opened:
        _say("exported", count=opened.export(to, what=what), path=to)


@app.command(help=_words("cli.run"))
def run(shop: Folder, full: Annotated[bool, typer.Option("--full", help=_help("full"))] = False) -> None:
    with _open(shop) as opened:
        path = opened.run(full=full, show=_show)
        _say("wrote", path=path)


@app.command(help=_words("cli.demo"))
def demo(
    folder: Annotated[Path, typer.Option(help=_help("folder"))] = Path("demo-shop"),
    households: Annotated[int, typer.Option(help=_help("households"))] = 0,
    full: Annotated[bool, typer.Option("--full", help=_help("full"))] = False,
) -> None:
    from huaxiang.clean.show import show_quality
    from huaxiang.demo import open_demo
    from huaxiang.models.show import show_card
    from huaxiang.profile import show_profile

    with open_demo(folder, households=households, lang=_lang, progress=_progress()) as opened:
        path = opened.run(full=full)
        quality = opened.quality()
        if quality is not None:
            show_quality(quality, out, _lang)
        for card in opened.cards():
            show_card(card, out, _lang)
        examples = opened.examples()
        for number, user in enumerate(examples, 1):
            out.rule(_words("cli.say.demo_example", number=number, count=len(examples)))
            show_profile(opened.profile(user), out, _lang)
        out.rule()
        _say("demo_ready", folder=folder, households=opened.lake.rows("profiles"))
        _say("demo_source")
        _say("demo_report")
        out.print(f"  {path.resolve()}", style="bold cyan", highlight=False, soft_wrap=True)
        _say("demo_own")


@app.command(help=_words("cli.table"))
def table(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_help("from"))],
    label: Annotated[str, typer.Option(help=_help("label"))] = "last",
    folds: Annotated[int, typer.Option(help=_help("folds"))] = 5,
    seed: Annotated[int, typer.Option(help=_help("seed"))] = 20260101,
    task: Annotated[str, typer.Option(help=_help("task"))] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help=_help("json"))] = False,
    to: Annotated[Path | None, typer.Option("--out", help=_help("out"))] = None,
) -> None:
    from huaxiang.models.table import run_table, show_table

    found = run_table(file, label, folds=folds, seed=seed, task=task, progress=_progress())
    if as_json:
        _print_json(found.to_dict())
    else:
        show_table(found, out, _lang)
    path = to or (None if as_json else Path(f"{file.stem}-card.html"))
    if path is not None:
        from huaxiang.engine.lake import write_atomically
        from huaxiang.report import table_page

        write_atomically(path, table_page(found, _lang))
        (err if as_json else out).print(_words("cli.say.wrote", path=path), highlight=False, soft_wrap=True)


@app.command(help=_words("cli.features"))
def features(
    words: Annotated[list[str], typer.Argument(metavar="SHOP | explain [SHOP] NAME USER", help=_help("features"))],
    as_json: Annotated[bool, typer.Option("--json", help=_help("json"))] = False,
    limit: Annotated[int, typer.Option(help=_help("limit"))] = 20,
) -> None:
    from huaxiang.features.show import explanation_json, show_explanation, show_features

    if words[0] == "explain":
        if len(words) not in (3, 4):
            raise typer.BadParameter("explain [SHOP] NAME USER")
        *folder, name, user = words[1:]
        with _open(Path(folder[0] if folder else ".")) as opened:
            found = opened.explain(name, user, lang=_lang, limit=limit)
        if as_json:
            _print_json(explanation_json(found))
        else:
            show_explanation(found, out, _lang)
        return
    if len(words) != 1:
        raise typer.BadParameter(" ".join(words))
    with _open(Path(words[0])) as opened:
        listed = opened.features()
    if as_json:
        _print_json(listed)
    else:
        show_features(listed, out, _lang)


@app.command(help=_words("cli.stream"))
def stream(
    shop: Folder,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=_help("source"))],
    to: Annotated[str, typer.Option("--out", help=_help("stream_out"))],
    checkpoint: Annotated[str, typer.Option(help=_help("checkpoint"))],
    option: Annotated[list[str] | None, typer.Option(help=_help("option"))] = None,
    follow: Annotated[bool, typer.Option("--follow", help=_help("follow"))] = False,
) -> None:
    options = dict(word.partition("=")[::2] for word in option or [])
    with _open(shop) as opened:
        batches, left = opened.stream(source, to, checkpoint, options=options, once=not follow)
    _say("streamed", batches=batches, out=to)
    if left:
        _say("stream_left", names=", ".join(left))


@app.command(help=_words("cli.quarantine"))
def quarantine(
    shop: Folder,
    reason: Annotated[str, typer.Option(help=_help("reason"))] = "",
    limit: Annotated[int, typer.Option(help=_help("limit"))] = 20,
) -> None:
    from huaxiang.clean import quarantined

    with _open(shop) as opened:
        rows = quarantined(opened.lake, reason=reason or None, limit=limit)
    if not rows:
        _say("quarantine_empty")
    for row in rows:
        _print_json(row)


def _show(step: str, result: Any) -> None:
    """What a step returned, in a few lines."""
    if result is None:
        _say("fresh", step=step)
    elif step == "collect":
        from huaxiang.collect.show import show_collect

        show_collect(result, out, _lang)
    elif step == "clean":
        from huaxiang.clean.show import show_quality

        show_quality(result, out, _lang)
    elif step == "build":
        _say("built", users=result.users, as_of=result.as_of, features=result.features, outcomes=len(result.label_rows))
        if result.full:
            _say("built_full", why=_words(f"features.full.{result.full}"))
        else:
            _say("built_more", touched=result.touched, rows=result.rows, events=result.events)
    elif step == "train":
        from huaxiang.models.show import show_card

        for card in result:
            show_card(card, out, _lang)
        if not result:
            _say("no_outcomes")
    elif step == "profile":
        _say("profiles", users=result.users)


def _say(key: str, **values: Any) -> None:
    out.print(_words(f"cli.say.{key}", **values), highlight=False, soft_wrap=True)


def _print_json(content: Any) -> None:
    sys.stdout.write(json.dumps(content, ensure_ascii=False, indent=2, default=str) + "\n")


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: YYYY-MM-DD") from error


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code.

    It ends without taking the interpreter apart: where an exception still holds a query, DuckDB's bindings would print pages
    about leaked objects.
    """
    try:
        _main(argv)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(code)


def _main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    words, debug, verbose = _take(words)
    if "--version" in words:
        from huaxiang import __version__

        sys.stdout.write(f"huaxiang {__version__}\n")
        raise SystemExit(0)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(name)s %(message)s", stream=sys.stderr
    )
    try:
        app(words, standalone_mode=True)
    except HuaxiangError as error:
        _fail(error.what(_lang), error.mend(_lang), 1, debug)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:
        system = HuaxiangError("cli.system", path=error.filename or "-", detail=error.strerror or type(error).__name__)
        _fail(system.what(_lang), system.mend(_lang), 1, debug)
    except Exception as error:  # noqa: BLE001  the last door: name the place, never the values
        frame = traceback.extract_tb(error.__traceback__)[-1]
        met = HuaxiangError(
            "cli.unexpected", kind=type(error).__name__, place=f"{Path(frame.filename).name}:{frame.lineno}"
        )
        _fail(met.what(_lang), met.mend(_lang), 70, debug)


def _take(words: list[str]) -> tuple[list[str], bool, bool]:
    """The words without --lang X, --debug and --verbose, which may stand anywhere; and the last two."""
    debug, verbose, rest = False, False, []
    given = iter(words)
    for word in given:
        if word == "--lang":
            next(given, None)
        elif word.startswith("--lang="):
            pass
        elif word == "--debug":
            debug = True
        elif word in ("--verbose", "-v"):
            verbose = True
        else:
            rest.append(word)
    return rest, debug, verbose


def _fail(what: str, mend: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    err.print(f"[bold red]✗[/] {_plain(what)}", highlight=False, soft_wrap=True)
    err.print(f"[bold green]→[/] {_plain(mend)}", highlight=False, soft_wrap=True)
    raise SystemExit(code)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


if __name__ == "__main__":
    main()
