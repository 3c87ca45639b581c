"""The commands of what can be foreseen: lifetime value, intent of a session, what if."""

from __future__ import annotations

from typing import Annotated

import typer

from huaxiang.cli.terminal import LANG, WORDS, Folder, app, help_of, open_shop, out, print_json
from huaxiang.errors import ModelError


@app.command(help=WORDS("cli.clv"))
def clv(
    shop: Folder,
    user: Annotated[str, typer.Argument(metavar="[USER]", help=help_of("clv_user"))] = "",
    days: Annotated[int, typer.Option(help=help_of("clv_days"))] = 90,
    discount: Annotated[float, typer.Option(help=help_of("clv_discount"))] = 0.1,
    seed: Annotated[int, typer.Option(help=help_of("predict_seed"))] = 20260101,
    as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False,
) -> None:
    from huaxiang.apply.predict.show import show_clv, show_customer

    with open_shop(shop) as opened:
        currency = opened.settings.shop.currency
        found = opened.predict.customer(user) if user else opened.predict.value(days=days, discount=discount, seed=seed)
    if as_json:
        print_json(found)
    elif user or found is None:
        show_customer(found, out, LANG, currency)
    else:
        show_clv(found, out, LANG, currency)


@app.command(help=WORDS("cli.intent"))
def intent(
    shop: Folder,
    seed: Annotated[int, typer.Option(help=help_of("predict_seed"))] = 20260101,
    as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False,
) -> None:
    from huaxiang.apply.predict.show import show_intent

    with open_shop(shop) as opened:
        found = opened.predict.learn_intent(seed=seed)
    if as_json:
        print_json(found)
    else:
        show_intent(found, out, LANG)


@app.command(help=WORDS("cli.whatif"))
def whatif(
    shop: Folder,
    user: Annotated[str, typer.Argument(help=help_of("user"))],
    outcome: Annotated[str, typer.Argument(help=help_of("whatif_outcome"))],
    changes: Annotated[list[str], typer.Argument(metavar="FEATURE=VALUE…", help=help_of("whatif_changes"))],
    as_json: Annotated[bool, typer.Option("--json", help=help_of("json"))] = False,
) -> None:
    from huaxiang.apply.predict.show import show_moved

    with open_shop(shop) as opened:
        currency = opened.settings.shop.currency
        found = opened.predict.what_if(user, outcome, dict(map(_change, changes)))
    if as_json:
        print_json(found.to_dict())
    else:
        show_moved(found, out, LANG, currency)


def _change(word: str) -> tuple[str, float | None]:
    name, equals, value = word.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(f"{word!r}: feature=value")
    try:
        return name.strip(), float(value) if value.strip() else None
    except ValueError as error:
        raise ModelError("predict.what_if.word", word=word, value=value.strip()) from error
