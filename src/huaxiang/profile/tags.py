"""Tags: what a marketer calls a group of customers, given by declared rules over the columns of `profiles`.

`when` is SQL over those columns; a place such as `{basket_value_mean_90d:0.9}` is the shop's own quantile (here the level that
nine in ten customers stay below). A rule whose columns the shop lacks is left out. Texts: words/traits.toml, [tags].
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from huaxiang.engine import Engine
from huaxiang.engine.duck import quote
from huaxiang.profile.say import Text, beside_chinese, both, label_of, leaf
from huaxiang.settings import ProfileSettings
from huaxiang.words import Words

LIKES = "likes:"
LIKELY = "likely:"
MOST_LIKES = 3
LEAVING = "churn"
_QUANTILE = re.compile(r"\{(\w+):([\d.]+)\}")


@dataclass(frozen=True)
class Tag:
    """One rule. `because`: the traits it rests on."""

    name: str
    when: str
    because: tuple[str, ...]

    @property
    def quantiles(self) -> set[tuple[str, float]]:
        """The (column, share) pairs it compares with."""
        return {(column, float(share)) for column, share in _QUANTILE.findall(self.when)}

    def sql(self, levels: Mapping[str, float]) -> str | None:
        """The condition with the shop's quantiles filled in; None where one of them is unknown."""
        if any(key_of(*pair) not in levels for pair in self.quantiles):
            return None
        return _QUANTILE.sub(lambda found: repr(levels[key_of(found[1], float(found[2]))]), self.when)


TAGS: tuple[Tag, ...] = (
    Tag("big_basket", "basket_value_mean_90d >= {basket_value_mean_90d:0.9} AND basket_value_mean_90d > {basket_value_mean_90d:0.5} AND orders_90d >= 2", ("basket_value_mean_90d",)),
    Tag("frequent_buyer", "orders_90d >= {orders_90d:0.9} AND orders_90d > {orders_90d:0.5} AND orders_90d >= 3", ("orders_90d",)),
    Tag("bargain_hunter", "discount_share_90d >= greatest(0.2, {discount_share_90d:0.8}) AND orders_90d >= 2", ("discount_share_90d",)),
    Tag("coupon_user", "coupons_redeemed_90d >= 1", ("coupons_redeemed_90d",)),
    Tag("coupon_ignorer", "coupons_received_90d >= 3 AND coalesce(coupons_redeemed_90d, 0) = 0", ("coupons_received_90d",)),
    Tag("premium", "price_level_90d >= 1.2 AND orders_90d >= 2", ("price_level_90d",)),
    Tag("thrifty", "price_level_90d <= 0.8 AND orders_90d >= 2", ("price_level_90d",)),
    Tag("weekend_shopper", "weekend_share_90d >= 0.6 AND active_days_90d >= 4", ("weekend_share_90d",)),
    Tag("night_owl", "night_share_90d >= 0.4 AND active_days_90d >= 4", ("night_share_90d",)),
    Tag("loyal_to_brand", "top_brands[1].share >= 0.6 AND orders_90d >= 3", ("top_brands",)),
    Tag("explorer", "new_item_share_90d >= {new_item_share_90d:0.8} AND new_item_share_90d > {new_item_share_90d:0.5} AND item_count_90d >= 5", ("new_item_share_90d",)),
    Tag("creature_of_habit", "new_item_share_90d <= {new_item_share_90d:0.2} AND new_item_share_90d < {new_item_share_90d:0.5} AND item_count_90d >= 5", ("new_item_share_90d",)),
    Tag("window_shopper", "views_90d >= 20 AND coalesce(orders_90d, 0) = 0", ("views_90d",)),
    Tag("cart_leaver", "carts_30d >= 3 AND coalesce(purchases_30d, 0) = 0", ("carts_30d",)),
    Tag("many_channels", "channel_count_90d >= 2", ("channel_count_90d",)),
    Tag("reviewer", "reviews_365d >= 3", ("reviews_365d",)),
    Tag("returns_often", "refund_share_365d >= 0.2 AND refunds_365d >= 2", ("refund_share_365d", "refunds_365d")),
    Tag("rising", "spend_trend_30d >= 1 / 3 AND orders_30d >= 2 AND first_purchase_days > 60", ("spend_trend_30d",)),
    Tag("fading", "spend_trend_30d <= -1 / 3 AND orders_90d >= 2 AND first_purchase_days > 60", ("spend_trend_30d",)),
    Tag("overdue", "overdue_ratio >= 2 AND orders_total >= 4", ("overdue_ratio", "gap_days_mean")),
)  # fmt: skip
BY_NAME = {tag.name: tag for tag in TAGS}
_WORD = re.compile(r"[a-z][a-z0-9_]*")
_NOT_COLUMNS = {"coalesce", "greatest", "least", "share"}


def key_of(column: str, share: float) -> str:
    return f"{column}:{share:g}"


def usable_tags(columns: Collection[str]) -> list[Tag]:
    """The rules whose columns all exist."""
    return [tag for tag in TAGS if _columns_in(tag.when) <= set(columns)]


def _columns_in(when: str) -> set[str]:
    return {word for word in _WORD.findall(_QUANTILE.sub(lambda found: found[1], when)) if word not in _NOT_COLUMNS}


def find_levels(engine: Engine, features: str, tags: Collection[Tag]) -> dict[str, float]:
    """The shop's quantiles that the rules compare with, by `column:share`; one nobody has is left out."""
    pairs = sorted(set().union(*(tag.quantiles for tag in tags)) if tags else set())
    if not pairs:
        return {}
    picked = ", ".join(f'quantile_cont({column}, {share}) AS "{key_of(column, share)}"' for column, share in pairs)
    found = engine.rows(f"SELECT {picked} FROM ({features})")[0]
    return {key: float(value) for key, value in found.items() if value is not None}


def tags_sql(
    columns: Collection[str],
    levels: Mapping[str, float],
    settings: ProfileSettings,
    *,
    predicted: Mapping[str, str],
    mine: Mapping[str, str],
) -> str:
    """SQL of the list of tag names, over the columns of `profiles`.

    predicted: outcome -> condition under which it counts as likely
    mine:      the shop's own tag -> condition
    """
    rules = {tag.name: tag.sql(levels) for tag in usable_tags(columns)}
    rules |= {outcome_tag(outcome): condition for outcome, condition in predicted.items()} | dict(mine)
    parts = [f"CASE WHEN {when} THEN {quote(name)} END" for name, when in rules.items() if when is not None]
    fixed = f"list_filter([{', '.join(parts)}]::VARCHAR[], lambda name: name IS NOT NULL)"
    if "top_categories" not in columns:
        return fixed
    liked = (
        f"list_transform(list_filter(coalesce(top_categories, []), lambda top: top.share >= {settings.likes_share!r})[:{MOST_LIKES}], "
        f"lambda top: {quote(LIKES)} || top.key)"
    )
    return f"list_concat({fixed}, {liked})"


def outcome_tag(outcome: str) -> str:
    """The tag of a customer for whom the model expects an outcome."""
    return "high_churn_risk" if outcome.startswith(LEAVING) else LIKELY + outcome


def find_line(outcome: str, threshold: float, usual: float | None) -> float:
    """The chance from which an outcome becomes a tag. usual: how common it is.

    A threshold chosen for its profit can be small: acting on a chance of 10 % may pay, yet nobody would call it expected. So the
    line is also at least one half, or for leaving at least twice the usual (one half where twice the usual is more).
    """
    if outcome.startswith(LEAVING) and usual is not None:
        return max(threshold, min(2 * usual, 0.5))
    return max(threshold, 0.5)


def describe_tag(name: str, settings: ProfileSettings, outcomes: Mapping[str, Text]) -> Text:
    """A tag's text in both languages. outcomes: outcome -> its meaning."""
    if name in settings.tags:
        own = settings.tags[name]
        return {"en": own.en or name.replace("_", " "), "zh": own.zh or own.en or name.replace("_", " ")}
    if name.startswith(LIKES):
        what = leaf(name.removeprefix(LIKES))
        return {"en": Words("en")("tags.likes", what=what), "zh": Words("zh")("tags.likes", what=beside_chinese(what))}
    if name.startswith(LIKELY):
        meaning = outcomes.get(name.removeprefix(LIKELY)) or label_of(name.removeprefix(LIKELY))
        return {lang: both("tags.likely", what=meaning[lang])[lang] for lang in meaning}
    return both(f"tags.{name}") if name in BY_NAME or name == "high_churn_risk" else label_of(name)


def explain_tag(name: str, settings: ProfileSettings, outcomes: Mapping[str, str]) -> list[str]:
    """The traits a tag rests on. outcomes: outcome -> trait name."""
    if name in BY_NAME:
        return list(BY_NAME[name].because)
    if name.startswith(LIKES):
        return ["top_categories"]
    if name in settings.tags:
        return sorted(_columns_in(settings.tags[name].when))
    return [trait for outcome, trait in outcomes.items() if outcome_tag(outcome) == name]
