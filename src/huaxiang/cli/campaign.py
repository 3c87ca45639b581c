"""The commands of who to send what: uplift, and campaigns."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import typer

from huaxiang.cli.terminal import WORDS, Folder, app, help_of, open_shop, out, print_json, say
from huaxiang.errors import DefinitionError, ShopError

campaign = typer.Typer(help=WORDS("cli.campaign"), no_args_is_help=True)
app.add_typer(campaign, name="campaign")

Name = Annotated[str, typer.Argument(metavar="NAME", help=help_of("campaign_name"))]
Json = Annotated[bool, typer.Option("--json", help=help_of("json"))]
At = Annotated[str, typer.Option(help=help_of("at"))]


@app.command(help=WORDS("cli.uplift"))
def uplift(
    shop: Folder,
    user: Annotated[str, typer.Argument(metavar="USER", help=help_of("uplift_user"))] = "",
    repeats: Annotated[int, typer.Option(min=1, help=help_of("repeats"))] = 2,
    offer: Annotated[str, typer.Option(help=help_of("uplift_offer"))] = "",
    as_json: Json = False,
) -> None:
    from huaxiang.apply.market.campaign_show import show_uplift, uplift_of

    with open_shop(shop) as opened:
        if user:
            one = opened.score_uplift([user], offer=offer)[0]
            if as_json:
                print_json(one)
            else:
                out.print(uplift_of(one, user, WORDS), highlight=False, soft_wrap=True, markup=False)
            return
        found = opened.uplift(repeats=repeats)
        customers = opened.lake.rows("market.uplift")
    if as_json:
        print_json(found)
        return
    show_uplift(found, out, WORDS)
    if found["reused"]:
        say(
            "uplift_reused",
            what=", ".join(one or WORDS("market.any_message") for one in found["reused"]),
            model=found["model"],
        )
    say("uplift_saved", customers=f"{customers:,}", version=found["version"], as_of=found["as_of"])
    if found["basis"] == "redemption":
        say("redemption_next", shop=shop)


@campaign.command(help=WORDS("cli.campaign_plan"))
def plan(
    shop: Folder,
    name: Name,
    channel: Annotated[str, typer.Option(help=help_of("channel"))],
    holdout: Annotated[float, typer.Option(help=help_of("holdout"))] = 0.1,
    users: Annotated[Path | None, typer.Option(help=help_of("campaign_users"))] = None,
    audience: Annotated[str, typer.Option(help=help_of("campaign_audience"))] = "",
    top: Annotated[int | None, typer.Option(help=help_of("campaign_top"))] = None,
    budget: Annotated[float | None, typer.Option(help=help_of("campaign_budget"))] = None,
    cost: Annotated[float, typer.Option(help=help_of("campaign_cost"))] = 0.0,
    margin: Annotated[float, typer.Option(help=help_of("campaign_margin"))] = 1.0,
    offer: Annotated[
        list[str] | None, typer.Option(metavar="NAME=WORTH[:MOST]", help=help_of("campaign_offer"))
    ] = None,
    per_user: Annotated[int, typer.Option(help=help_of("campaign_per_user"))] = 1,
    metric: Annotated[str, typer.Option(help=help_of("metric"))] = "purchase",
    days: Annotated[int, typer.Option(help=help_of("campaign_days"))] = 14,
    at: At = "",
    as_json: Json = False,
) -> None:
    from huaxiang.apply.market.campaign_show import show_campaign
    from huaxiang.apply.market.campaign_target import Spend
    from huaxiang.apply.market.lists import read_list
    from huaxiang.apply.market.offers import parse_offer

    listed = read_list(users) if users is not None else None
    spend = Spend(budget, cost, margin) if budget is not None else None
    with open_shop(shop) as opened:
        zone = opened.settings.shop.timezone
        found = opened.campaigns.plan(
            name,
            channel=channel,
            holdout=holdout,
            users=listed,
            audience=audience,
            most=top,
            spend=spend,
            offers=[parse_offer(one) for one in offer or ()],
            per_user=per_user,
            metric=metric,
            days=days,
            at=_moment(at, zone),
        )
    if as_json:
        print_json(found.to_json())
        return
    show_campaign(found, out, WORDS, zone=zone)
    say("next", command=f"huaxiang campaign export {shop} {name} --out {name}.csv")


@campaign.command(help=WORDS("cli.campaign_adopt"))
def adopt(
    shop: Folder,
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help=help_of("adopt_file"))],
    name: Annotated[str, typer.Option(help=help_of("adopt_name"))] = "",
    channel: Annotated[str, typer.Option(help=help_of("adopt_channel"))] = "email",
    control: Annotated[str, typer.Option(help=help_of("adopt_control"))] = "control",
    metric: Annotated[str, typer.Option(help=help_of("metric"))] = "purchase",
    days: Annotated[int, typer.Option(help=help_of("campaign_days"))] = 14,
) -> None:
    from huaxiang.apply.market.campaign_show import show_campaign

    with open_shop(shop) as opened:
        zone = opened.settings.shop.timezone
        found = opened.campaigns.adopt(file, name=name, channel=channel, control=control, metric=metric, days=days)
    for one, left_out in found:
        show_campaign(one, out, WORDS, zone=zone)
        if left_out:
            say("campaign_thinned", count=f"{left_out:,}")
    say("next", command=f"huaxiang uplift {shop}")


@campaign.command("list", help=WORDS("cli.campaign_list"))
def list_(shop: Folder, as_json: Json = False) -> None:
    from huaxiang.apply.market.campaign_show import show_campaign

    with open_shop(shop) as opened:
        zone = opened.settings.shop.timezone
        found = [opened.campaigns.get(name) for name in opened.campaigns.names()]
    if as_json:
        print_json([one.to_json() for one in found])
        return
    if not found:
        say("no_campaigns")
    for one in found:
        show_campaign(one, out, WORDS, zone=zone)


@campaign.command(help=WORDS("cli.campaign_export"))
def export(
    shop: Folder,
    name: Name,
    file: Annotated[Path | None, typer.Option("--out", help=help_of("campaign_out"))] = None,
    webhook: Annotated[str, typer.Option(help=help_of("webhook"))] = "",
    secret_file: Annotated[Path | None, typer.Option(help=help_of("secret_file"))] = None,
    at: At = "",
) -> None:
    if (file is None) == (not webhook):
        raise DefinitionError("market.way")
    with open_shop(shop) as opened:
        if file is not None:
            sent = opened.campaigns.export(name, file, at=_moment(at, opened.settings.shop.timezone))
            say("campaign_exported", count=f"{sent.customers:,}", path=file)
            _say_dropped(sent.left_out)
            return
        secret = secret_file.read_bytes().strip() if secret_file is not None else b""
        if len(secret) < 16:
            raise ShopError("market.no_secret")
        sent = opened.campaigns.send(name, webhook, secret, at=_moment(at, opened.settings.shop.timezone))
    say("campaign_sent", count=f"{sent.customers:,}", host=urlsplit(webhook).hostname)
    _say_dropped(sent.left_out)


@campaign.command(help=WORDS("cli.campaign_remove"))
def remove(shop: Folder, name: Name) -> None:
    with open_shop(shop) as opened:
        opened.campaigns.remove(name)
    say("campaign_removed", name=name)


def _say_dropped(left_out: dict[str, int]) -> None:
    if left_out:
        why = "; ".join(f"{count:,} {WORDS(f'market.reason.{reason}')}" for reason, count in left_out.items())
        say("campaign_dropped", why=why)


@campaign.command(help=WORDS("cli.campaign_read"))
def read(
    shop: Folder,
    name: Name,
    days: Annotated[int | None, typer.Option(help=help_of("campaign_days"))] = None,
    metric: Annotated[str | None, typer.Option(help=help_of("metric"))] = None,
    at: At = "",
    as_json: Json = False,
) -> None:
    from huaxiang.apply.market.campaign_show import show_reading

    with open_shop(shop) as opened:
        found = opened.read_campaign(name, at=_moment(at, opened.settings.shop.timezone), days=days, metric=metric)
    if as_json:
        print_json(found.to_json())
    else:
        show_reading(found, out, WORDS)


@campaign.command(help=WORDS("cli.campaign_size"))
def size(
    effect: Annotated[float, typer.Option(help=help_of("size_effect"))],
    base: Annotated[float | None, typer.Option(help=help_of("size_base"))] = None,
    sd: Annotated[float | None, typer.Option(help=help_of("size_sd"))] = None,
    holdout: Annotated[float, typer.Option(help=help_of("holdout"))] = 0.5,
    power: Annotated[float, typer.Option(help=help_of("power"))] = 0.8,
) -> None:
    from huaxiang.apply.market.samples import size_for_means, size_for_shares

    if (base is None) == (sd is None):
        raise DefinitionError("market.size_way")
    found = (
        size_for_shares(base, effect, holdout=holdout, power=power)
        if base is not None
        else size_for_means(float(sd or 0), effect, holdout=holdout, power=power)
    )
    values: dict[str, Any] = {name: f"{getattr(found, name):,}" for name in ("customers", "treated", "holdout")}
    say("campaign_size_need", **values, alpha=found.alpha, power=found.power)


def _moment(text: str, zone: str) -> datetime:
    """The time meant, UTC without a zone (now where nothing is said); one written without a zone is the shop's own."""
    if not text:
        return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise DefinitionError("market.at", text=text) from error
    return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC).replace(tzinfo=None)
