"""The contract: the five tables that everything enters as, and that every later stage reads.

Each column has a type, a unit where one is needed, and a meaning in both languages; this list is the schema, the
documentation and the validation at once. Times are UTC without a zone (microseconds). Money is in the shop's currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import pyarrow as pa

Type = Literal["string", "int", "float", "bool", "timestamp", "json", "strings", "floats"]

ARROW: dict[Type, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us"),
    "json": pa.string(),
    "strings": pa.list_(pa.string()),
    "floats": pa.list_(pa.float32()),
}
SQL: dict[Type, str] = {
    "string": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "json": "VARCHAR",
    "strings": "VARCHAR[]",
    "floats": "FLOAT[]",
}


@dataclass(frozen=True)
class Column:
    """One column. `pseudonym`: stored as a keyed pseudonym. `personal`: goes to the vault, never to the lake."""

    name: str
    type: Type
    en: str
    zh: str
    unit: str = ""
    required: bool = False
    pseudonym: bool = False
    personal: bool = False


@dataclass(frozen=True)
class Table:
    name: str
    en: str
    zh: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns that reach the lake."""
        return tuple(column for column in self.columns if not column.personal)

    @property
    def personal(self) -> tuple[Column, ...]:
        """The columns that go to the vault."""
        return tuple(column for column in self.columns if column.personal)

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)


USERS = Table(
    "users",
    "one row is a registration, or what one source says of a user",
    "一行是一次注册，或一个来源对一位用户的描述",
    (
        Column("user_id", "string", "the shop's id of the user", "店铺的用户编号", required=True, pseudonym=True),
        Column("registered_at", "timestamp", "when the user registered", "注册时间", unit="UTC"),
        Column("birth_year", "int", "year of birth", "出生年份", unit="year"),
        Column("age_band", "string", "declared age band, as the shop writes it", "申报的年龄段"),
        Column("gender", "string", "female, male or other", "性别：female、male 或 other"),
        Column("city", "string", "city", "城市"),
        Column("region", "string", "province or state", "省份"),
        Column("country", "string", "country", "国家"),
        Column("occupation", "string", "occupation", "职业"),
        Column("education", "string", "education", "学历"),
        Column("marital_status", "string", "marital status", "婚姻状况"),
        Column("household_size", "string", "people in the household", "家庭人数"),
        Column("children", "string", "children in the household", "子女数"),
        Column("income_band", "string", "declared income band", "收入段"),
        Column("member_level", "string", "level in the shop's loyalty scheme", "会员等级"),
        Column("signup_channel", "string", "where the user came from", "注册渠道"),
        Column("consent", "strings", "purposes the user agreed to", "同意的用途"),
        Column("extra", "json", "further attributes, a JSON object of name and value", "其他属性（JSON）"),
        Column("name", "string", "the user's name", "姓名", personal=True),
        Column("phone", "string", "phone number", "电话", personal=True),
        Column("email", "string", "e-mail address", "电子邮箱", personal=True),
        Column("address", "string", "postal address", "地址", personal=True),
        Column(
            "birth_date", "string", "full date of birth (only the year reaches the lake)", "出生日期", personal=True
        ),
        Column("id_number", "string", "number of an identity document", "证件号码", personal=True),
    ),
    key=("user_id",),
)

ITEMS = Table(
    "items",
    "one row is a product version",
    "一行是一个商品版本",
    (
        Column("item_id", "string", "the shop's id of the item", "商品编号", required=True),
        Column("title", "string", "title", "标题"),
        Column(
            "category", "string", "category path, levels joined by ' > ', the widest first", "类目路径，用“ > ”连接"
        ),
        Column("brand", "string", "brand", "品牌"),
        Column("price", "float", "list price", "标价", unit="money"),
        Column("image", "string", "path of the picture", "图片路径"),
        Column("description", "string", "description", "描述"),
        Column(
            "content_vector",
            "floats",
            "what the item is like as numbers, from a model of its words or pictures; as many for every item",
            "商品内容向量（文本或图片模型给出），各商品长度相同",
        ),
        Column("extra", "json", "further attributes, a JSON object of name and value", "其他属性（JSON）"),
    ),
    key=("item_id",),
)

EVENTS = Table(
    "events",
    "one row is something a user did",
    "一行是用户的一次行为",
    (
        Column(
            "event_id", "string", "unique id; made from the row where the source has none", "事件编号，缺省由该行生成"
        ),
        Column("user_id", "string", "who did it", "用户编号", pseudonym=True),
        Column("anonymous_id", "string", "the visitor who was not logged in", "未登录的访客编号", pseudonym=True),
        Column("session_id", "string", "the source's own session", "会话编号"),
        Column("event", "string", "what was done: a name of the event vocabulary", "事件名", required=True),
        Column("item_id", "string", "on which item", "商品编号"),
        Column("order_id", "string", "in which order", "订单编号"),
        Column(
            "quantity",
            "float",
            "how many; of a refund how many came back, kept as a positive number",
            "数量；退货为退回数量，以正数保存",
            unit="pieces",
        ),
        Column("price", "float", "price of one piece, after discount", "成交单价", unit="money"),
        Column(
            "amount",
            "float",
            "paid for the line, of a refund paid back (positive too); quantity × price where absent",
            "该行实付金额；退款为退回金额（同为正数）",
            unit="money",
        ),
        Column("discount", "float", "taken off the line, as a positive number", "该行优惠金额（正数）", unit="money"),
        Column("coupon_id", "string", "coupon used, received or redeemed", "优惠券编号"),
        Column("campaign_id", "string", "campaign it belongs to", "活动编号"),
        Column("text", "string", "text of a search, a review or a question", "搜索、评价或咨询的文本"),
        Column("rating", "float", "rating given", "评分", unit="stars"),
        Column("channel", "string", "store, web, app, mini program …", "渠道"),
        Column("device", "string", "device", "设备"),
        Column("ts", "timestamp", "when it happened", "发生时间", unit="UTC", required=True),
        Column(
            "received_at", "timestamp", "when we learned of it; ts where absent", "获知时间，缺省为发生时间", unit="UTC"
        ),
    ),
    key=("event_id",),
)

RELATIONS = Table(
    "relations",
    "one row is a tie between two users",
    "一行是两位用户之间的一种联系",
    (
        Column("user_id", "string", "from", "用户编号", required=True, pseudonym=True),
        Column("other_id", "string", "to", "对方用户编号", required=True, pseudonym=True),
        Column("kind", "string", "friend, follow, shared_address, shared_device, shared_payment", "关系类型"),
        Column("since", "timestamp", "since when", "起始时间", unit="UTC"),
    ),
    key=("user_id", "other_id", "kind"),
)

IDENTIFIERS = Table(
    "identifiers",
    "one row is two identifiers seen together",
    "一行是同时出现的两个标识",
    (
        Column("kind", "string", "device, email, phone, cookie, openid …", "标识类型", required=True),
        Column("value", "string", "the identifier", "标识值", required=True, pseudonym=True),
        Column("user_id", "string", "seen with this user", "用户编号", pseudonym=True),
        Column("anonymous_id", "string", "seen with this visitor", "访客编号", pseudonym=True),
        Column("ts", "timestamp", "when they were seen together", "时间", unit="UTC"),
    ),
    key=("kind", "value", "user_id", "anonymous_id"),
)

TABLES: dict[str, Table] = {table.name: table for table in (USERS, ITEMS, EVENTS, RELATIONS, IDENTIFIERS)}

# Every table carries these, from the door on.
LINEAGE = (
    Column("source", "string", "name of the [[collect]] entry that gave the row", "来源名称"),
    Column("third_party", "bool", "true where the source is not the shop itself", "是否第三方数据"),
    Column(
        "row_id", "string", "hash of the raw row and its repetition within the source: the row's identity", "原始行标识"
    ),
    Column("collected_at", "timestamp", "when the row was collected", "采集时间", unit="UTC"),
    Column("is_test", "bool", "the user's id, name or e-mail marks a test account", "是否测试账号"),
    Column("bad", "json", "raw values that did not fit their column's type, by column", "类型不符的原始值（JSON）"),
)


def raw_columns(table: str) -> tuple[Column, ...]:
    """The columns of the raw table `table` in the lake, contract first, lineage after."""
    return TABLES[table].stored + LINEAGE


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    return pa.schema([pa.field(column.name, ARROW[column.type]) for column in columns])


# The event vocabulary, and the names other systems use for the same thing.
EVENT_NAMES: dict[str, tuple[str, ...]] = {
    "view": (
        "Product Viewed",
        "Product Clicked",
        "view_item",
        "select_item",
        "pv",
        "page_view",
        "view_product",
        "ViewProduct",
        "浏览",
        "浏览商品",
        "浏览商品详情页",
        "commodityDetail",
    ),
    "list_view": (
        "Product List Viewed",
        "Product List Filtered",
        "Promotion Viewed",
        "Cart Viewed",
        "view_item_list",
        "view_promotion",
        "view_cart",
    ),
    "search": ("Products Searched", "search", "view_search_results", "search_products", "SearchResult", "搜索"),
    "click": ("Promotion Clicked", "select_content", "select_promotion", "tap", "点击"),
    "add_to_cart": (
        "Product Added",
        "Wishlist Product Added to Cart",
        "add_to_cart",
        "cart",
        "addcart",
        "AddToShoppingCart",
        "加购",
        "加入购物车",
    ),
    "remove_from_cart": ("Product Removed", "remove_from_cart", "uncart", "delcart", "删除购物车", "移出购物车"),
    "wish": (
        "Product Added to Wishlist",
        "add_to_wishlist",
        "fav",
        "favorite",
        "favourite",
        "collect",
        "follow",
        "关注",
        "收藏",
    ),
    "unwish": ("Product Removed from Wishlist", "remove_from_wishlist", "unfav", "取消收藏"),
    "checkout": (
        "Checkout Started",
        "Checkout Step Viewed",
        "Checkout Step Completed",
        "Payment Info Entered",
        "begin_checkout",
        "add_payment_info",
        "add_shipping_info",
        "SubmitOrder",
        "提交订单",
    ),
    "purchase": (
        "Order Completed",
        "purchase",
        "buy",
        "order",
        "order_completed",
        "transaction",
        "paid",
        "PayOrder",
        "PayOrderDetail",
        "购买",
        "下单",
        "支付",
        "支付订单",
    ),
    "cancel": ("Order Cancelled", "order_cancelled", "cancelled", "CancelPayOrder", "取消订单"),
    "refund": ("Order Refunded", "refund", "return", "returned", "ReturnOrder", "退款", "退货"),
    "review": ("Product Reviewed", "review", "comment", "rating", "评价", "评论"),
    "share": ("Product Shared", "Cart Shared", "share", "分享"),
    "coupon_receive": ("coupon_receive", "coupon_received", "campaign_received", "ReceiveCoupon", "领券"),
    "coupon_redeem": ("Coupon Applied", "coupon_redeem", "coupon_redeemed", "UseCoupon", "用券"),
    "support": ("support_contact", "support_ticket", "chat", "客服咨询", "咨询"),
    "signup": ("Signed Up", "sign_up", "register", "SignUp", "注册"),
    "login": ("Signed In", "Logged In", "login", "LogIn", "登录"),
    "visit": ("Page Viewed", "Screen Viewed", "session_start", "visit", "AppStart", "$pageview", "$AppStart", "启动"),
}


@cache
def event_vocabulary() -> dict[str, str]:
    """Lower-case name, of ours or of another system -> our name."""
    known = {name: name for name in EVENT_NAMES}
    for ours, others in EVENT_NAMES.items():
        known.update({other.lower(): ours for other in others})
    return known
