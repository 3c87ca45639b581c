"""The process: which command, how it ends.

Errors raised on purpose become one message and its mend on stderr and exit code 1; an unexpected one names its place only
(values might be personal), exit code 70.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer

import huaxiang.cli.brought
import huaxiang.cli.campaign
import huaxiang.cli.care
import huaxiang.cli.demo
import huaxiang.cli.guard
import huaxiang.cli.hooks
import huaxiang.cli.journey
import huaxiang.cli.keys
import huaxiang.cli.look
import huaxiang.cli.market
import huaxiang.cli.predict
import huaxiang.cli.recommend
import huaxiang.cli.serve  # noqa: F401  they declare their commands
from huaxiang.cli.terminal import LANG, WORDS, app, err
from huaxiang.cli.usage import UsageError, usage_refusal
from huaxiang.errors import HuaxiangError

STOPPED = 130  # the exit code of what a Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code.

    It ends without taking the interpreter apart: where an exception still holds a query, DuckDB's bindings would print pages
    about leaked objects.
    """
    try:
        run_words(argv)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(code)


def run_words(argv: Sequence[str] | None = None) -> None:
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
        ended = app(words, prog_name="huaxiang", standalone_mode=False)
        if ended == STOPPED:  # typer has made an exit code of the Ctrl-C
            raise KeyboardInterrupt
        raise SystemExit(ended if isinstance(ended, int) else 0)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            raise SystemExit(error.exit_code) from None
        refused = usage_refusal(error)
        _fail(refused.what(LANG), refused.mend(LANG), error.exit_code, debug)
    except HuaxiangError as error:
        _fail(error.what(LANG), error.mend(LANG), 1, debug)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write(f"{WORDS('cli.stopped')}\n")  # each step is whole or not at all
        raise SystemExit(STOPPED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:
        system = HuaxiangError("cli.system", path=error.filename or "-", detail=error.strerror or type(error).__name__)
        _fail(system.what(LANG), system.mend(LANG), 1, debug)
    except Exception as error:  # noqa: BLE001  the last door: name the place, never the values
        frame = traceback.extract_tb(error.__traceback__)[-1]
        met = HuaxiangError(
            "cli.unexpected", kind=type(error).__name__, place=f"{Path(frame.filename).name}:{frame.lineno}"
        )
        _fail(met.what(LANG), met.mend(LANG), 70, debug)


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
