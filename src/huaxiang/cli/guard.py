"""The commands of the guard: score a shop, say what a case was, try a rule."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from huaxiang.cli.terminal import LANG, WORDS, app, help_of, open_shop, out, parse_day, print_json, say


@app.command(help=WORDS("cli.guard"))
def guard(
    words: Annotated[list[str], typer.Argument(metavar="SHOP | queue SHOP | verdict SHOP ID fraud|fine | try SHOP NAME WHEN", help=help_of("guard"))],
    action: Annotated[str, typer.Option(help=help_of("guard_action"))] = "review",
    as_of: Annotated[str, typer.Option(help=help_of("as_of"))] = "",
    as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False,
) -> None:  # fmt: skip
    match words:
        case ["queue", shop]:
            _queue(Path(shop), as_json)
        case ["verdict", shop, case_id, verdict]:
            _verdict(Path(shop), case_id, verdict)
        case ["try", shop, name, when]:
            _try(Path(shop), name, when, action, as_json)
        case [shop]:
            _score(Path(shop), as_of, as_json)
        case _:
            raise typer.BadParameter("SHOP | queue SHOP | verdict SHOP ID fraud|fine | try SHOP NAME WHEN")


def _score(shop: Path, as_of: str, as_json: bool) -> None:
    from huaxiang.apply.guard.show import show_guard

    with open_shop(shop) as opened:
        found = opened.guard.score(as_of=parse_day(as_of))
        rules, currency = opened.settings.guard.rules, opened.settings.shop.currency
    if as_json:
        print_json(found.to_dict())
    else:
        show_guard(found, out, LANG, rules=rules, currency=currency)


def _queue(shop: Path, as_json: bool) -> None:
    from huaxiang.apply.guard.found import case_dict
    from huaxiang.apply.guard.show import show_cases

    with open_shop(shop) as opened:
        cases = opened.guard.queue()
        rules = opened.settings.guard.rules
    if as_json:
        print_json([case_dict(case) for case in cases])
    else:
        show_cases(cases, out, LANG, rules=rules)


def _verdict(shop: Path, case_id: str, verdict: str) -> None:
    with open_shop(shop) as opened:
        closed = opened.guard.verdict(case_id, verdict, now=datetime.now(UTC).replace(tzinfo=None))
    say("guard_verdict", case=closed.case_id, verdict=WORDS(f"guard.verdict.{verdict}"))


def _try(shop: Path, name: str, when: str, action: str, as_json: bool) -> None:
    from huaxiang.apply.guard.show import show_dry_run
    from huaxiang.settings import RuleSettings

    if action not in ("allow", "review", "block"):
        raise typer.BadParameter("--action allow | review | block")
    with open_shop(shop) as opened:
        found = opened.guard.try_rule(name, RuleSettings.model_validate({"when": when, "action": action}))
    if as_json:
        print_json(found.to_dict())
    else:
        show_dry_run(found, out, LANG)
