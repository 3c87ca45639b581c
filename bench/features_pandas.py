"""The peer of bench/features.py: the standard features as a careful engineer writes them in pandas.

Vectorised throughout: numeric codes, subsets cut once, one groupby a family, duplicates dropped before counting. It reads the
same prepared events (`ready.events`) that huaxiang's own build reads, and computes the same columns as of the same day.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

COUNTED = {
    "views": "view", "clicks": "click", "searches": "search", "carts": "add_to_cart",
    "wishes": "wish", "purchases": "purchase", "refunds": "refund", "reviews": "review",
}  # fmt: skip
DAYS = (1, 7, 30, 90)
TOUCHED = ("view", "click", "wish", "add_to_cart", "purchase", "review")
COLUMNS = [
    "user_no", "day", "event", "hour", "weekday", "session_start", "session_gap_s", "item_no", "category_top", "category_2", "brand",
    "order_key", "quantity", "price", "amount", "discount", "price_ratio", "coupon_id", "rating", "channel", "device",
]  # fmt: skip
CATEGORIES = ["event", "category_top", "category_2", "brand", "channel", "device"]


def read_events(files: list[Path]) -> pd.DataFrame:
    import pyarrow.dataset as ds

    table = ds.dataset([str(file) for file in files]).to_table(columns=COLUMNS)
    table = table.set_column(table.column_names.index("day"), "day", table["day"].cast("int32"))
    for name in CATEGORIES:
        table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
    events = table.to_pandas(split_blocks=True, self_destruct=True)
    for name in CATEGORIES:  # in the order of the names, which settles ties
        events[name] = events[name].cat.reorder_categories(sorted(events[name].cat.categories))
    return events


class Columns(dict):  # type: ignore[type-arg]
    """Columns by name on one index, made a frame once at the end: adding them to a frame one by one is slow."""

    def __init__(self, index: pd.Index) -> None:
        super().__init__()
        self.index = index

    def __setitem__(self, name: str, column: pd.Series) -> None:
        super().__setitem__(name, column.reindex(self.index) if column.index is not self.index else column)

    def frame(self, *names: str) -> pd.DataFrame:
        return pd.DataFrame({name: self[name] for name in names or self}, index=self.index, copy=False)


def build_features(events: pd.DataFrame, as_of: int) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """One row a user_no, one column a feature; and those of several numbers a user by name. as_of: days since 1970."""
    users = pd.Index(np.sort(events["user_no"].unique()), name="user_no")
    out, lists = Columns(users), {}
    age = as_of - events["day"]
    kind = events["event"]
    buys = events[kind == "purchase"]
    recent = events[age <= 90]
    recent_buys = buys[as_of - buys["day"] <= 90]
    _recency(out, events, buys, as_of)
    _counts(out, events, buys, as_of)
    _money(out, events, buys, recent_buys, as_of)
    _rhythm(out, lists, events, buys, recent, as_of)
    _basket(out, buys, recent_buys, as_of)
    _taste(out, lists, events, recent, buys, as_of)
    _scores(out)
    return out.frame(), lists


def _group(frame: pd.DataFrame):  # type: ignore[no-untyped-def]
    return frame.groupby("user_no", sort=False, observed=True)


def _size(out: Columns, name: str, frame: pd.DataFrame) -> None:
    out[name] = _group(frame).size().reindex(out.index).fillna(0.0)


def _recency(out: Columns, events: pd.DataFrame, buys: pd.DataFrame, as_of: int) -> None:
    out["recency_days"] = as_of - _group(buys)["day"].max()
    out["idle_days"] = as_of - _group(events)["day"].max()
    out["first_purchase_days"] = as_of - _group(buys)["day"].min()
    out["tenure_days"] = as_of - _group(events)["day"].min()  # nobody registers in the generated shop


def _counts(out: Columns, events: pd.DataFrame, buys: pd.DataFrame, as_of: int) -> None:
    orders = buys.dropna(subset=["order_key"]).groupby(["user_no", "order_key"], sort=False)["day"].max().reset_index()
    for days in (7, 30, 90, 365):
        _size(out, f"orders_{days}d", orders[as_of - orders["day"] <= days])
    _size(out, "orders_total", orders)
    for name, event in COUNTED.items():
        some = events[(events["event"] == event) & (as_of - events["day"] <= 90)]
        for days in DAYS:
            _size(out, f"{name}_{days}d", some[as_of - some["day"] <= days])
    days_seen = events.loc[as_of - events["day"] <= 90, ["user_no", "day"]].drop_duplicates()
    for days in (30, 90):
        _size(out, f"active_days_{days}d", days_seen[as_of - days_seen["day"] <= days])
    begun = events[events["session_start"] & (as_of - events["day"] <= 90)]
    for days in (7, 30, 90):
        _size(out, f"sessions_{days}d", begun[as_of - begun["day"] <= days])
    recent = events[as_of - events["day"] <= 90]
    sessions = out["sessions_90d"].replace(0, np.nan)
    out["session_minutes_mean_90d"] = _group(recent)["session_gap_s"].sum().reindex(out.index) / 60 / sessions
    out["session_events_mean_90d"] = _group(recent).size().reindex(out.index) / sessions
    for name, frame in (("orders", orders), ("sessions", begun)):
        lately = _group(frame[as_of - frame["day"] <= 30]).size().reindex(out.index).fillna(0)
        before = frame[(as_of - frame["day"] > 30) & (as_of - frame["day"] <= 60)]
        earlier = _group(before).size().reindex(out.index).fillna(0)
        out[f"{name}_trend_30d"] = (lately - earlier) / (lately + earlier).replace(0, np.nan)


def _money(out: Columns, events: pd.DataFrame, buys: pd.DataFrame, recent_buys: pd.DataFrame, as_of: int) -> None:
    age = as_of - buys["day"]
    for days in (*DAYS, 365):
        out[f"spend_{days}d"] = _group(buys[age <= days])["amount"].sum().reindex(out.index).fillna(0.0)
    for days in DAYS:
        out[f"pieces_{days}d"] = _group(buys[age <= days])["quantity"].sum().reindex(out.index).fillna(0.0)
    out["spend_total"] = _group(buys)["amount"].sum().reindex(out.index).fillna(0.0)
    earlier = _group(buys[(age > 30) & (age <= 60)])["amount"].sum().reindex(out.index).fillna(0.0)
    out["spend_trend_30d"] = (out["spend_30d"] - earlier) / (out["spend_30d"] + earlier).replace(0, np.nan)
    priced = recent_buys[recent_buys["discount"].notna()]
    saved = _group(priced)["discount"].sum().reindex(out.index)
    full = (priced["amount"] + priced["discount"]).groupby(priced["user_no"], sort=False).sum().reindex(out.index)
    out["discount_share_90d"] = saved / full.replace(0, np.nan)
    year = events[as_of - events["day"] <= 365]
    back = year[year["event"] == "refund"]
    _size(out, "refunds_365d", back)
    for days in DAYS:
        lately = back[as_of - back["day"] <= days]
        out[f"refunded_{days}d"] = _group(lately)["amount"].sum().reindex(out.index).fillna(0.0)
    out["refund_share_365d"] = _group(back)["amount"].sum().reindex(out.index).fillna(0.0) / out["spend_365d"].replace(
        0, np.nan
    )
    recent = events[as_of - events["day"] <= 90]
    _size(out, "coupons_received_90d", recent[recent["event"] == "coupon_receive"])
    _size(out, "coupons_redeemed_90d", recent[recent["event"] == "coupon_redeem"])


def _rhythm(
    out: Columns,
    lists: dict[str, pd.DataFrame],
    events: pd.DataFrame,
    buys: pd.DataFrame,
    recent: pd.DataFrame,
    as_of: int,
) -> None:
    days = buys[["user_no", "day"]].drop_duplicates().sort_values(["user_no", "day"])
    gaps = days["day"].diff().where(days["user_no"] == days["user_no"].shift()).astype(float)
    grouped = gaps.groupby(days["user_no"], sort=False)
    out["gap_days_mean"] = grouped.mean()
    out["gap_days_std"] = grouped.std()
    out["overdue_ratio"] = out["recency_days"] / out["gap_days_mean"].replace(0, np.nan)
    weekend = (recent["weekday"] >= 6).groupby(recent["user_no"], sort=False).mean()
    night = ((recent["hour"] >= 22) | (recent["hour"] < 6)).groupby(recent["user_no"], sort=False).mean()
    out["weekend_share_90d"] = weekend
    out["night_share_90d"] = night
    others = events[~events["user_no"].isin(buys["user_no"].unique())]  # who never bought: when they came at all
    for name, column, first in (("hour", "hour", 0), ("weekday", "weekday", 1)):
        times = pd.concat([buys[["user_no", column]], others[["user_no", column]]])
        counts = times.groupby(["user_no", column], sort=False).size().unstack(fill_value=0).sort_index(axis=1)
        out[f"{name}_top"] = counts.idxmax(axis=1) - first
        lists[f"{name}_hist"] = counts.div(counts.sum(axis=1), axis=0)


def _basket(out: Columns, buys: pd.DataFrame, recent_buys: pd.DataFrame, as_of: int) -> None:
    recent = (
        recent_buys.dropna(subset=["order_key"])
        .groupby(["user_no", "order_key"], sort=False)[["quantity", "amount"]]
        .sum()
    )
    per_user = recent.groupby("user_no", sort=False).mean()
    out["basket_items_mean_90d"] = per_user["quantity"]
    out["basket_value_mean_90d"] = per_user["amount"]
    year = buys[as_of - buys["day"] <= 365].dropna(subset=["order_key"])
    out["basket_value_max_365d"] = (
        year.groupby(["user_no", "order_key"], sort=False)["amount"].sum().groupby("user_no", sort=False).max()
    )
    coupons = recent_buys.dropna(subset=["order_key"]).assign(used=lambda rows: rows["coupon_id"].notna())
    used = coupons.groupby(["user_no", "order_key"], sort=False)["used"].any()
    out["coupon_orders_share_90d"] = used.groupby("user_no", sort=False).mean()
    out["price_mean_90d"] = _group(recent_buys)["price"].mean()
    out["price_level_90d"] = _group(recent_buys)["price_ratio"].mean()


def _taste(
    out: Columns,
    lists: dict[str, pd.DataFrame],
    events: pd.DataFrame,
    recent: pd.DataFrame,
    buys: pd.DataFrame,
    as_of: int,
) -> None:
    touched = recent[recent["event"].isin(TOUCHED)]
    for name, key in (
        ("category_count_90d", "category_2"),
        ("brand_count_90d", "brand"),
        ("item_count_90d", "item_no"),
    ):
        _size(out, name, touched[["user_no", key]].dropna().drop_duplicates())
    counts = touched.groupby(["user_no", "category_2"], sort=False, observed=True).size().groupby("user_no", sort=False)
    out["category_concentration_90d"] = counts.max() / counts.sum()
    weights = {"view": 1.0, "click": 1.0, "wish": 3.0, "add_to_cart": 3.0, "purchase": 5.0, "review": 2.0}
    weight = events["event"].map(weights).astype(float).fillna(0.0) * np.power(0.5, (as_of - events["day"]) / 30.0)
    for name, key in (("top_categories", "category_2"), ("top_brands", "brand")):
        score = weight.groupby([events["user_no"], events[key]], sort=False, observed=True).sum().rename("score")
        score = score[score > 0].reset_index()
        score["share"] = score["score"] / score.groupby("user_no", sort=False)["score"].transform("sum")
        score = score.sort_values(["score", key], ascending=False)
        lists[name] = score.groupby("user_no", sort=False).head(5)
    spent = buys[(as_of - buys["day"] <= 365) & buys["category_top"].notna()]
    shares = (
        spent.groupby(["user_no", "category_top"], sort=False, observed=True)["amount"].sum().unstack(fill_value=0.0)
    )
    shares = shares.div(shares.sum(axis=1), axis=0)
    for category in spent.groupby("category_top", observed=True)["amount"].sum().nlargest(20).index:
        out[f"share_{category.lower()}"] = shares[category].reindex(out.index)
    first = buys.groupby(["user_no", "item_no"], sort=False)["day"].agg(["min", "max"])
    met = first[as_of - first["max"] <= 90]
    new = met[as_of - met["min"] <= 90]
    out["new_item_share_90d"] = (new.groupby("user_no", sort=False).size().reindex(out.index).fillna(0)
                                        / met.groupby("user_no", sort=False).size().reindex(out.index))  # fmt: skip
    for key in ("channel", "device"):
        met = events.groupby(["user_no", key], sort=False, observed=True)["day"].agg(["size", "max"]).reset_index()
        met = met.sort_values(["size", "max", key])
        out[f"{key}_top"] = _group(met)[key].last().astype(str)
        _size(out, f"{key}_count_90d", recent[["user_no", key]].dropna().drop_duplicates())
    year = events[as_of - events["day"] <= 365]
    _size(out, "reviews_365d", year[year["event"] == "review"])
    out["rating_mean_365d"] = _group(year)["rating"].mean()


def _scores(out: Columns) -> None:
    bought = out["recency_days"].notna()
    for name, column, best_low in (
        ("r_score", "recency_days", False),
        ("f_score", "orders_365d", True),
        ("m_score", "spend_365d", True),
    ):
        rank = out[column][bought].rank(method="min", ascending=best_low)
        out[name] = 1 + np.floor(5 * (rank - 1) / bought.sum())
    texts = [out[name][bought].astype(int).astype(str) for name in ("r_score", "f_score", "m_score")]
    out["rfm"] = texts[0] + texts[1] + texts[2]


def one_row_a_user(lists: dict[str, pd.DataFrame]) -> dict[str, pd.Series]:
    """The columns of several numbers a user as lists by user_no: not part of the computation, for comparing them."""
    made = {}
    for name, table in lists.items():
        if name.endswith("_hist"):
            made[name] = pd.Series(list(table.to_numpy()), index=table.index)
            continue
        key = next(column for column in table.columns if column not in ("user_no", "score", "share"))
        tops = [{"key": key, "share": share} for key, share in zip(table[key].astype(str), table["share"], strict=True)]
        made[name] = pd.Series(tops, index=table["user_no"]).groupby(level=0).agg(list)
    return made
