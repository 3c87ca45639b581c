"""What the commands share: the language, the terminal, the shop that is opened, and how things are said."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

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


LANG: Lang = _asked_lang(sys.argv)
WORDS = Words(LANG)


def help_of(name: str) -> str:
    return WORDS(f"cli.arg.{name}")


app = typer.Typer(help=WORDS("cli.about"), no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
out = Console()
err = Console(stderr=True)

Folder = Annotated[Path, typer.Argument(metavar="SHOP", help=help_of("shop"))]


def make_progress() -> Progress:
    from huaxiang.progress import BarProgress, LineProgress

    return BarProgress(err) if err.is_terminal else LineProgress(lambda line: err.print(line, highlight=False))


def open_shop(folder: Path) -> Shop:
    from huaxiang.shop import Shop

    return Shop.open(folder, progress=make_progress())


def say(key: str, **values: Any) -> None:
    out.print(WORDS(f"cli.say.{key}", **values), highlight=False, soft_wrap=True)


def print_json(content: Any) -> None:
    sys.stdout.write(json.dumps(content, ensure_ascii=False, indent=2, default=str) + "\n")


def parse_day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: YYYY-MM-DD") from error
