"""What the rules of this room mean for one customer, in words: the stage with its limits, the tiers with what reaches them."""

from __future__ import annotations

from huaxiang.look.numbers import Numbers
from huaxiang.profile.context import Context, Row
from huaxiang.profile.lifecycle import own_limits
from huaxiang.profile.say import Text, say_in
from huaxiang.words import LANGS, Words


def explain_stage(context: Context, row: Row) -> Text:
    """The rule that gave the customer's stage, with the limits that were applied."""
    profile, stage = context.settings.profile, str(row["lifecycle"])
    active, at_risk, dormant = own_limits(row, profile)
    rules = "profile.stage_rule" if context.note.get("buys", True) else "profile.stage_rule_seen"
    limits = {"new": profile.new_days, "active": active, "at_risk": at_risk, "dormant": dormant}
    own = "own" if active != profile.active_days else "shop"
    said: Text = {}
    for lang in LANGS:
        words = Words(lang)
        rule = words(f"{rules}.{stage}", **limits)
        plain = stage in ("prospect", "new")
        said[lang] = (
            rule
            if plain
            else words("profile.stage_limits.join", rule=rule, limits=words(f"profile.stage_limits.{own}"))
        )
    return said


def explain_tier(context: Context) -> Text:
    """What reaches each tier in this shop."""
    reached, said = context.note.get("tiers", {}), {}
    by_orders = context.note.get("worth") == "orders_365d"
    for lang in LANGS:
        words, numbers = Words(lang), Numbers(lang, context.currency)
        parts = [
            words(
                "profile.meaning.value_tier_part",
                tier=words.either(f"profile.tier.{tier}", tier),
                least=say_in(lang, reached[tier], "count" if by_orders else "money", "orders", context.currency),
                share=numbers.percent(share, 0),
            )
            for tier, share in context.settings.profile.tiers.items()
            if tier in reached
        ]
        key = f"profile.meaning.value_tier{'_orders' if by_orders else ''}"
        said[lang] = words(
            key, tiers=words("profile.say.comma").join(parts) or words("profile.meaning.value_tier_nobody")
        )
    return said
