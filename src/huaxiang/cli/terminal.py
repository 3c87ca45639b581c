"""What the commands share: the language, the terminal, the shop that is opened, and how things are said."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from huaxiang.errors import DefinitionError
from huaxiang.words import LANGS, Lang, Words, guess_lang

SETTINGS = "huaxiang.toml"

if TYPE_CHECKING:
    from huaxiang.progress import Progress
    from huaxiang.shop import Shop


# typer reads these annotations when the commands are made, so help texts come from the language of this process.
def _asked_lang(argv: Sequence[str]) -> Lang:
    """The language of `--lang zh` or `--lang=zh` anywhere in `argv`; else Chinese where HUAXIANG_LANG, the shop or the terminal asks for it."""
    for word, after in zip(argv, [*argv[1:], ""], strict=True):
        asked = after if word == "--lang" else word.removeprefix("--lang=") if word.startswith("--lang=") else None
        if asked is not None:
            if asked not in LANGS:
                sys.stderr.write(f"✗ --lang {asked}\n→ --lang {' | '.join(LANGS)}\n")
                raise SystemExit(2)
            return "zh" if asked == "zh" else "en"
    if not os.environ.get("HUAXIANG_LANG") and _shop_lang(argv) == "zh":
        return "zh"
    return guess_lang()


def _shop_lang(argv: Sequence[str]) -> str:
    """The language that the shop among `argv` names in its huaxiang.toml ("": no shop, or it names none)."""
    folder = next((word for word in argv[1:] if not word.startswith("-") and (Path(word) / SETTINGS).is_file()), "")
    if not folder:
        return ""
    try:
        said = tomllib.loads((Path(folder) / SETTINGS).read_text(encoding="utf-8")).get("shop")
    except (OSError, ValueError):
        return ""  # what is wrong with it is said where it is read
    return str(said.get("language", "")) if isinstance(said, dict) else ""


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


def whole(low: int, high: int | None = None) -> Callable[[typer.CallbackParam, int | None], int | None]:
    """Checks an option that takes a whole number from `low` (to `high`)."""

    def check(option: typer.CallbackParam, value: int | None) -> int | None:
        if value is not None and (value < low or (high is not None and value > high)):
            key = "cli.least" if high is None else "cli.between"
            raise DefinitionError(key, option=max(option.opts, key=len), value=value, low=low, high=high)
        return value

    return check


def parse_day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise DefinitionError("cli.day", value=text) from error
