"""Uplift and campaigns on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from huaxiang.apply.market.campaign_read import Reading
from huaxiang.apply.market.campaign_terms import Campaign
from huaxiang.look.numbers import Numbers
from huaxiang.words import Words

STALE = 7  # days after the profiles' date from which on a plan says so


def show_uplift(found: dict[str, Any], console: Console, words: Words) -> None:
    """What `find_uplift` found: lines with the definition of the figures among them."""

    def line(key: str, **values: Any) -> None:
        console.print(words(f"cli.say.{key}", **values), highlight=False, soft_wrap=True, markup=False)

    if found["basis"] == "effect":
        _show_effect(found, line, words)
        return
    rates = found["redemption"]
    line("redemption_head")
    low, high = rates["targeted_interval"]
    line(
        "redemption_rates",
        campaigns=", ".join(rates["campaigns"]),
        measured=f"{rates['measured_on']:,}",
        redemptions=f"{rates['redemptions']:,}",
        learned=f"{rates['learned_from']:,}",
        model=rates["model"],
        top=f"{rates['top_share']:.0%}",
        targeted=f"{rates['targeted']:.1%}",
        low=f"{low:.1%}",
        high=f"{high:.1%}",
        random=f"{rates['random']:.1%}",
        by_spend=f"{rates['by_spend']:.1%}",
    )
    line("redemption_captured", captured=f"{rates['captured']:.0%}", auc=f"{rates['roc_auc']:.3f}")
    if rates["is_null"]:
        line("redemption_null")


def _show_effect(found: dict[str, Any], line: Any, words: Words) -> None:
    report, ranking = found["uplift"], found["uplift"]["ranking"]
    line(
        "uplift_head",
        campaigns=", ".join(found["campaigns"]),
        customers=f"{ranking['customers']:,}",
        treated=f"{ranking['treated']:,}",
        effect=f"{ranking['effect']:.4f}",
        low=f"{ranking['effect_interval'][0]:.4f}",
        high=f"{ranking['effect_interval'][1]:.4f}",
    )
    line(
        "uplift_qini",
        qini=f"{ranking['qini']:.4f}",
        low=f"{ranking['qini_interval'][0]:.4f}",
        high=f"{ranking['qini_interval'][1]:.4f}",
        auuc=f"{ranking['auuc']:.5f}",
        auuc_random=f"{ranking['auuc_random']:.5f}",
        repeats=report["repeats"],
        folds=report["folds"],
        chosen=", ".join(f"{name} {count}" for name, count in report["chosen"].items()),
    )
    line("uplift_peers", **{name: f"{value:.4f}" for name, value in report["peers"].items()})
    if report["is_null"]:
        line("uplift_null")
    for offer, one in found.get("offers", {}).items():
        if "why" in one:
            line("uplift_offer_few", offer=offer, why=one["why"][words.lang])
            continue
        own = one["uplift"]["ranking"]
        line(
            "uplift_offer",
            offer=offer,
            customers=f"{own['customers']:,}",
            effect=f"{own['effect']:.4f}",
            low=f"{own['effect_interval'][0]:.4f}",
            high=f"{own['effect_interval'][1]:.4f}",
            qini=f"{own['qini']:.4f}",
            qini_low=f"{own['qini_interval'][0]:.4f}",
            qini_high=f"{own['qini_interval'][1]:.4f}",
        )
    balance = report["balance"]
    if balance["p_value"] <= 0.001:
        line("uplift_unbalanced", p=f"{balance['p_value']:.1g}", widest=balance["widest"])
    line("uplift_definition")


def uplift_of(one: Mapping[str, Any], user: str, words: Words) -> str:
    """What is said of one customer (`score_customers`): of a null ranking the average effect, for it tells no more."""
    same = {"user": user, "as_of": one["as_of"], "model": one["model"], "likely": f"{one['likely']:.1%}"}
    if one["basis"] == "redemption":
        text = words("cli.say.uplift_of_redemption", **same)
        return f"{text}\n{words('cli.say.redemption_null')}" if one["is_null"] else text
    what = words("market.one_offer", offer=one["offer"]) if one["offer"] else words("market.one_message")
    low, high = one["effect_interval"]
    average = {"effect": f"{one['effect']:+.4f}", "low": f"{low:+.4f}", "high": f"{high:+.4f}"}
    key = "cli.say.uplift_of_null" if one["is_null"] else "cli.say.uplift_of_effect"
    return words(key, what=what, score=f"{one['score']:+.4f}", **average, **same)


def holdout_line(planned: float, held_out: int, treated: int, words: Words) -> str:
    """What is said of a hold-out: the share planned, and the one the hash gave."""
    count, numbers = treated + held_out, Numbers(words.lang)
    shares = {
        "planned": numbers.percent(planned, 1),
        "real": numbers.percent(held_out / max(count, 1), 1),
        "held_out": f"{held_out:,}",
        "count": f"{count:,}",
    }
    return words("cli.say.campaign_holdout", **shares)


def targeted_by(found: Campaign, words: Words) -> str:
    """Who was asked for, with the version of what chose them."""
    text = words(f"market.targeted.{found.targeted_by}", audience=found.audience)
    if found.audience and found.targeted_by != "audience":
        text = f"{words('market.targeted.audience', audience=found.audience)}, {text}"
    versions = [version for version in (found.audience_version, found.uplift_version) if version]
    return " · ".join([text, *versions])


def show_campaign(found: Campaign, console: Console, words: Words, *, zone: str = "UTC") -> None:
    """zone: of the shop, whose clock `send from` goes by"""

    def tell(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    def line(key: str, **values: Any) -> None:
        tell(words(f"cli.say.{key}", **values))

    line(
        "campaign_planned",
        name=found.name,
        treated=f"{found.treated:,}",
        held_out=f"{found.held_out:,}",
        asked=f"{found.asked:,}",
        targeted_by=targeted_by(found, words),
        send_after=found.sends_from(zone).isoformat(timespec="minutes"),
    )
    if found.stale_days > STALE:
        line("campaign_stale", as_of=found.profile_as_of[:10], days=found.stale_days)
    if found.left_out:
        why = "; ".join(f"{count:,} {words(f'market.reason.{reason}')}" for reason, count in found.left_out.items())
        line("campaign_left_out", why=why)
    if found.offers:
        line("campaign_offers", offers=", ".join(f"{name} {count:,}" for name, count in found.offers.items()))
    if found.policies:
        console.print(_policies(found.policies, words), highlight=False)
        line("campaign_policies_note")
    elif found.expected is not None:
        line("campaign_expected", profit=f"{found.expected:,.2f}")
    if found.null_rankings:
        line(
            "campaign_null_ranking",
            what=", ".join(name or words("market.policy.messages") for name in found.null_rankings),
        )
    if found.holdout and found.targeted_by != "elsewhere":
        tell(holdout_line(found.holdout, found.held_out, found.treated, words))
    if not found.has_holdout:
        line("campaign_no_holdout")
    elif found.detectable:
        # of a share nothing above 1 can be found: no message moves more than those who would not have bought
        beyond = found.metric == "purchase" and found.detectable > 1 - found.base
        line(
            "campaign_undetectable" if beyond else "campaign_detectable",
            effect=f"{found.detectable:.3g}",
            metric=words(f"market.metric.{found.metric}"),
            days=found.days,
            base=f"{found.base:.3g}",
        )


def _policies(found: Sequence[Mapping[str, Any]], words: Words) -> Table:
    """What each way to spend the budget is expected to earn."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("way", "customers", "cost", "profit"):
        table.add_column(words(f"market.policy.{column}"), justify="left" if column == "way" else "right", no_wrap=True)
    for one in found:
        profit = f"{one['profit']:,.2f}"
        if one["interval"] is not None:
            profit += " [{:,.2f}, {:,.2f}]".format(*one["interval"])
        over = words("market.policy.over") if one["over_budget"] else "  "
        name = words(f"market.policy.{one['name']}")
        table.add_row(name, f"{one['customers']:,}", f"{one['cost']:,.2f}{over}", profit)
    return table


def show_reading(found: Reading, console: Console, words: Words) -> None:
    def tell(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    def line(key: str, **values: Any) -> None:
        tell(words(f"cli.say.{key}", **values))

    difference = found.difference
    line(
        "campaign_result",
        name=found.campaign,
        metric=words(f"market.metric.{found.metric}"),
        days=f"{found.days:g}",
        partly="" if found.complete else words("cli.say.campaign_partly"),
        treated_mean=f"{difference.treated_mean:.4g}",
        treated=f"{difference.treated:,}",
        holdout_mean=f"{difference.holdout_mean:.4g}",
        holdout=f"{difference.holdout:,}",
    )
    if found.planned_holdout is not None:
        tell(holdout_line(found.planned_holdout, difference.holdout, difference.treated, words))
    line(
        "campaign_difference",
        estimate=f"{difference.estimate:.4g}",
        low=f"{difference.interval[0]:.4g}",
        high=f"{difference.interval[1]:.4g}",
        fixed_low=f"{difference.fixed_interval[0]:.4g}",
        fixed_high=f"{difference.fixed_interval[1]:.4g}",
        p=f"{difference.p_value:.2g}",
        cut=f"{difference.variance_cut:.0%}",
    )
    low, high = found.total_interval
    line("campaign_total", total=f"{found.total:,.4g}", low=f"{low:,.4g}", high=f"{high:,.4g}")
    if difference.is_null:
        line("campaign_null")
    line(
        "campaign_exposures",
        **{
            name: f"{getattr(found, name):,}"
            for name in ("exposures", "exposed", "repeated", "exposed_holdout", "exposed_others")
        },
    )
