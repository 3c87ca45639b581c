"""What values mean: event codes and names, order states, genders, words for "not known", countries."""

from __future__ import annotations

from collections.abc import Mapping

from huaxiang.collect.guess_names import plain_name
from huaxiang.collect.seen import Look
from huaxiang.collect.sniff_values import EMPTY_WORDS, ColumnLook
from huaxiang.tables import EVENT_NAMES, event_vocabulary

# source: JD 2016 contest page (JData_Action: type); Tianchi mobile recommendation (behavior_type); Tmall repeat buyers (action_type)
JD_ACTIONS = {"1": "view", "2": "add_to_cart", "3": "remove_from_cart", "4": "purchase", "5": "wish", "6": "click"}
TIANCHI_ACTIONS = {"1": "view", "2": "wish", "3": "add_to_cart", "4": "purchase"}
TMALL_ACTIONS = {"0": "view", "1": "add_to_cart", "2": "purchase", "3": "wish"}

_STATES = {
    "purchase": """paid completed complete delivered shipped fulfilled processing success succeeded closed_won partially_paid authorized received invoiced
        交易成功 已完成 已付款 已支付 已发货 已签收 已收货 完成 成功 待发货 待收货 卖家已发货，等待买家确认 买家已付款，等待卖家发货 交易完成 wc-completed wc-processing
        approved unfulfilled partial""",
    "cancel": "cancelled canceled cancel voided void failed closed expired 已取消 取消 交易关闭 已关闭 关闭 wc-cancelled wc-failed unavailable",
    "refund": "refunded refund returned return partially_refunded 已退款 退款 已退货 退货 退款成功 wc-refunded",
    "checkout": "pending unpaid on-hold on_hold created placed submitted 待付款 待支付 未付款 未支付 等待买家付款 wc-pending wc-on-hold",
}  # fmt: skip
STATES: Mapping[str, str] = {word: event for event, words in _STATES.items() for word in words.split()}

GENDERS: Mapping[str, str] = {
    **dict.fromkeys(("f", "female", "woman", "女", "女性", "女士", "w"), "female"),
    **dict.fromkeys(("m", "male", "man", "男", "男性", "先生"), "male"),
    **dict.fromkeys(("o", "other", "x", "nonbinary", "非二元"), "other"),
}

# the country most rows name -> currency and zone
COUNTRIES: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("united kingdom", "uk", "gb", "great britain", "英国"), ("GBP", "Europe/London")),
    **dict.fromkeys(("china", "cn", "中国", "中国大陆"), ("CNY", "Asia/Shanghai")),
    **dict.fromkeys(("germany", "de", "deutschland", "德国"), ("EUR", "Europe/Berlin")),
    **dict.fromkeys(("france", "fr", "法国"), ("EUR", "Europe/Paris")),
    **dict.fromkeys(("spain", "es", "españa"), ("EUR", "Europe/Madrid")),
    **dict.fromkeys(("italy", "it", "italia"), ("EUR", "Europe/Rome")),
    **dict.fromkeys(("japan", "jp", "日本"), ("JPY", "Asia/Tokyo")),
    **dict.fromkeys(("australia", "au"), ("AUD", "Australia/Sydney")),
    **dict.fromkeys(("brazil", "br", "brasil"), ("BRL", "America/Sao_Paulo")),
    **dict.fromkeys(("india", "in"), ("INR", "Asia/Kolkata")),
    **dict.fromkeys(("united states", "usa", "us", "united states of america", "美国"), ("USD", "America/New_York")),
    **dict.fromkeys(("singapore", "sg", "新加坡"), ("SGD", "Asia/Singapore")),
    **dict.fromkeys(("hong kong", "hk", "香港", "中国香港"), ("HKD", "Asia/Hong_Kong")),
    **dict.fromkeys(("taiwan", "tw", "台湾", "中国台湾"), ("TWD", "Asia/Taipei")),
}

_FILE_HINTS = (
    ("refund", ("refund", "return", "退款", "退货")),
    ("add_to_cart", ("cart", "加购", "购物车")),
    ("wish", ("wish", "fav", "收藏")),
    ("review", ("review", "rating", "comment", "评价", "评论", "评分")),
    ("search", ("search", "搜索")),
    ("coupon_redeem", ("redeem", "redemption", "用券")),
    ("coupon_receive", ("coupon", "领券", "优惠券")),
    ("support", ("support", "ticket", "chat", "客服", "咨询")),
    ("login", ("login", "登录")),
    ("purchase", ("order", "purchase", "buy", "transaction", "sale", "invoice", "订单", "购买", "交易", "销售")),
    ("view", ("view", "click", "browse", "visit", "pv", "浏览", "访问", "点击")),
)


def hinted_event(look: Look) -> str | None:
    """The event a file's or table's name speaks of."""
    name = (look.db_table or (look.path.name if look.path else "")).lower()
    return next((event for event, words in _FILE_HINTS if any(word in name for word in words)), None)


def event_share(column: ColumnLook) -> float:
    """Share of a column's rows whose value is an event name of ours or of another system."""
    if column.distinct > 200 or not column.filled:
        return 0.0
    known = event_vocabulary()
    return sum(count for value, count in column.top if value.lower() in known) / max(
        sum(count for _, count in column.top), 1
    )


def event_values(column: ColumnLook, look: Look) -> tuple[dict[str, str], str] | None:
    """(source value -> our event, name of the code list or ''), or None where the column does not hold events."""
    words = {value.removesuffix(".0") for value in column.words}
    names = {plain_name(name) for name in look.names}
    name = plain_name(column.name)
    if words and words <= set(JD_ACTIONS) and name == "type" and names & {"skuid", "modelid"}:
        return JD_ACTIONS, "JD"
    if words and words <= set(TIANCHI_ACTIONS) and name in ("behaviortype", "behaviourtype"):
        return TIANCHI_ACTIONS, "Tianchi"
    if words and words <= set(TMALL_ACTIONS) and name == "actiontype":
        return TMALL_ACTIONS, "Tmall"
    if event_share(column) < 0.5:
        return None
    known = event_vocabulary()
    return {
        value: known[value.lower()]
        for value in sorted(column.words)
        if value.lower() in known and value not in EVENT_NAMES
    }, ""


def state_values(column: ColumnLook) -> dict[str, str] | None:
    """Order state -> event, where the column's values are states of an order."""
    found = {value: STATES[value.lower()] for value in sorted(column.words) if value.lower() in STATES}
    share = sum(count for value, count in column.top if value in found) / max(sum(count for _, count in column.top), 1)
    return found if share > 0.5 and column.distinct <= 40 else None


def gender_values(column: ColumnLook, *, jd: bool) -> tuple[dict[str, str], list[str], bool] | None:
    """(source value -> our gender, values that mean not known, whether a code was guessed), or None."""
    words = column.words - {word for word in column.words if word.lower() in EMPTY_WORDS or word == "-1"}
    plain = {word.removesuffix(".0") for word in words}
    if plain and plain <= {"0", "1", "2", "9"}:
        if jd:  # source: the data set's own description: 0 male, 1 female, 2 not told
            return {"0": "male", "1": "female"}, ["2"], False
        if plain <= {"0", "1"}:
            return {"0": "female", "1": "male"}, [], True
        return {"1": "male", "2": "female"}, sorted(plain & {"0", "9"}), True  # ISO 5218, and WeChat
    found = {word: GENDERS[word.lower()] for word in sorted(words) if word.lower() in GENDERS}
    unknown = sorted(word for word in words if word.lower() in ("u", "不明", "未说明", "prefer not to say"))
    return (found, unknown, False) if found else None


def empty_values(column: ColumnLook, *, measure: bool) -> list[str]:
    """The values of a column that mean "not known"; -1 only where nothing else is negative and it is no measure."""
    found = sorted(value for value in column.words if value.lower() in EMPTY_WORDS)
    negatives = {value for value in column.words if value.startswith("-") and value[1:2].isdigit()}
    if not measure and negatives and negatives <= {"-1", "-1.0"}:
        found += sorted(negatives)
    return found
