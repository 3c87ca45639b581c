"""The ready tables as Ibis expressions, for Spark: the columns and values of ready.py and users.py, rows keyed by user_id.

Left out are the whole-number codes of users, items and categories: to number them takes one pass over all of them on one executor.
Windows go over one user, item or category at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

import ibis
import ibis.expr.datatypes as dt

from huaxiang.features.derived import ORDERED
from huaxiang.features.filters import EVENT_CODES
from huaxiang.features.ready import Span
from huaxiang.features.users import ATTRIBUTES, BUCKETS, FILLED
from huaxiang.features.zones import local_day, offset_changes
from huaxiang.settings import Settings
from huaxiang.tables import EVENTS, ITEMS, LINEAGE, USERS, Column

EPOCH = date(1970, 1, 1)
MINUTE_US = 60_000_000
FILL = (Column("filled", "strings", "", ""),)
# What is read of each clean table; what a table lacks of it is unknown.
EVENT_COLUMNS = (
    *EVENTS.stored,
    *LINEAGE[:1],
    Column("refund_of", "string", "", ""),
    Column("refunded", "float", "", ""),
)
USER_COLUMNS = USERS.stored + LINEAGE[:4] + FILL
ITEM_COLUMNS = ITEMS.stored + LINEAGE[:4]


# Of ready.fakes: those of ready.events, but for what the events around a row say.
FAKE_COLUMNS = (
    "bucket", "user_id", "event_id", "event", "event_no", "ts", "known_at", "day", "known_day", "hour", "weekday",
    "session_id", "item_id", "category", "category_top", "category_2", "brand", "order_id", "order_key", "quantity", "price",
    "amount", "discount", "coupon_id", "campaign_id", "text", "rating", "channel", "device", "refund_of", "refunded", "visitor",
)  # fmt: skip
ITEM_NAMES = ("category", "category_top", "category_2", "brand")


@ibis.udf.scalar.builtin
def xxhash64(text: str) -> int:  # type: ignore[empty-body]
    """Spark's 64-bit hash."""


@ibis.udf.scalar.builtin(signature=((dt.string, dt.timestamp), dt.Decimal(8, 6)))
def date_part(field, moment):  # type: ignore[no-untyped-def]
    """A field of a time; `second` with its fraction."""


@ibis.udf.scalar.builtin
def conv(digits: str, base: int, to: int) -> str:  # type: ignore[empty-body]
    """Digits of one base as those of another."""


@dataclass(frozen=True)
class Clock:
    """The shop's local time between two UTC moments, as a few offsets."""

    changes: tuple[tuple[datetime, int], ...]

    @classmethod
    def of(cls, zone: str, first: datetime, last: datetime) -> Clock:
        return cls(tuple(offset_changes(zone, first, last)))

    def local(self, moment: ibis.Value) -> ibis.Value:
        """The local time of a UTC moment."""
        moved = [moment + ibis.interval(seconds=offset) if offset else moment for _, offset in self.changes]
        if len(moved) == 1:
            return moved[0]
        cases = [
            (moment < ibis.literal(until, type="timestamp"), before)
            for (until, _), before in zip(self.changes[1:], moved, strict=False)
        ]
        return ibis.cases(*cases, else_=moved[-1])


def day_number(day: ibis.Value) -> ibis.Value:
    """Days since 1970-01-01."""
    return day.delta(ibis.literal(EPOCH, type="date"), unit="day").cast("int32")


def hashed(user_id: ibis.Value, first: int) -> ibis.Value:
    """Four hexadecimal digits of the id's MD5, from the `first` (0) on, as a whole number."""
    return conv(user_id.hexdigest("md5").substr(first, 4), 16, 10).cast("int32")


def with_known(events: ibis.Table) -> ibis.Table:
    """The canonical events of somebody; known_at not before the event itself."""
    kept = events.filter(events.user_id.notnull())
    return kept.mutate(known_at=ibis.greatest(kept.known_at, kept.ts))


def span_query(events: ibis.Table) -> ibis.Table:
    """One row: what the events cover."""
    return events.aggregate(
        events=events.count(),
        users=events.user_id.nunique(),
        first=events.ts.min(),
        last=events.ts.max(),
        last_known=events.known_at.max(),
    )


def span_of(found: dict[str, object], zone: str) -> Span:
    """`found`: the row of span_query, of one event or more."""
    first, last = found["first"], found["last"]
    assert isinstance(first, datetime) and isinstance(last, datetime)
    events, users = (int(str(found[name])) for name in ("events", "users"))
    return Span(events, users, local_day(first, zone), local_day(last, zone), first, last)


def ready_items(listed: ibis.Table | None, events: ibis.Table) -> ibis.Table:
    """One row an item, met in events or listed."""
    met = events.filter(events.item_id.notnull()).select("item_id").distinct()
    names = ("title", "category", "brand", "price")
    if listed is None:
        nothing = {"title": "string", "category": "string", "brand": "string", "price": "float64"}
        items = met.mutate(**{name: ibis.null(kind) for name, kind in nothing.items()})
    else:
        ranked = listed.filter(listed.item_id.notnull())
        order = [ranked.third_party.coalesce(False), ranked.collected_at.desc(), ranked.row_id]
        ranked = ranked.mutate(rank=ibis.row_number().over(ibis.window(group_by=ranked.item_id, order_by=order)))
        merged = ranked.group_by("item_id").aggregate(
            **{name: ranked[name].argmin(ranked["rank"], where=ranked[name].notnull()) for name in names}
        )
        joined = merged.outer_join(met, "item_id")
        items = joined.select(*names, item_id=joined.item_id.coalesce(joined.item_id_right))
    levels = items.category.split(" > ")
    return items.select(
        "item_id",
        "title",
        "category",
        category_top=levels[0].strip().nullif(""),
        category_2=levels[:2].join(" > ").nullif(""),
        brand=items.brand,
        price=items.price,
    )


def ready_events(rows: ibis.Table, gap_min: int) -> ibis.Table:
    """The events (event_columns) as features read them."""
    means = _price_means(rows)
    priced = (rows.event == "purchase") & (rows.price > 0)
    rows = rows.left_join(means, [rows.category == means.mean_category, rows.day == means.mean_day, priced]).drop(
        "mean_category", "mean_day"
    )
    rows = add_sessions(rows.mutate(price_ratio=rows.price / rows["mean"]), gap_min)
    return rows.select(
        "bucket", "user_id", "event_id", "event", "event_no", "ts", "known_at", "day", "known_day", "hour", "weekday",
        "session_id", "session_start", "session_gap_s", "item_id", "category", "category_top", "category_2", "brand",
        "order_id", "order_key", "quantity", "price", "amount", "discount", "price_ratio", "coupon_id", "campaign_id",
        "text", "rating", "channel", "device", "refund_of", "refunded", "visitor",
    )  # fmt: skip


def event_columns(events: ibis.Table, items: ibis.Table | None, clock: Clock) -> ibis.Table:
    """The canonical events (with_known) with what can be told of each by itself: code, local time, order, and its item's names."""
    local = clock.local(events.ts)
    rows = events.mutate(
        day=local.date(),
        known_day=clock.local(events.known_at).date(),
        hour=local.hour().cast("int8"),
        event_no=ibis.cases(*((events.event == name, code) for name, code in EVENT_CODES.items()), else_=0).cast(
            "int8"
        ),
        bucket=(hashed(events.user_id, 0) % BUCKETS).cast("int16"),
    )
    ordered = rows.event.isin(ORDERED) | rows.order_id.notnull()
    key = rows.order_id.coalesce(ibis.literal("day ") + rows.day.cast("string"))
    rows = rows.mutate(
        weekday=(rows.day.day_of_week.index() + 1).cast("int8"),
        order_key=ibis.ifelse(ordered, xxhash64(key), ibis.null("int64")),
    )
    if items is None:
        return rows.mutate(**{name: ibis.null("string") for name in ITEM_NAMES})
    named = items.select("item_id", *ITEM_NAMES).rename(met_id="item_id")
    return rows.left_join(named, rows.item_id == named.met_id).drop("met_id")


def split_fakes(rows: ibis.Table, held: ibis.Table | None) -> tuple[ibis.Table, ibis.Table | None]:
    """`rows` (event_columns) without those of orders held fake, and those (None: nothing is held).

    held: order_id, user_id, day of the orders, as guard.fake_orders has them
    """
    if held is None:
        return rows, None
    by_id = held.filter(held.order_id.notnull()).select(fake_id="order_id").distinct()
    by_day = held.filter(held.order_id.isnull()).select(fake_user="user_id", fake_day="day").distinct()
    named = [rows.order_id == by_id.fake_id]
    unnamed = [rows.user_id == by_day.fake_user, rows.day == by_day.fake_day, rows.order_id.isnull(), rows.event.isin(ORDERED)]  # fmt: skip
    fakes = rows.semi_join(by_id, named).union(rows.semi_join(by_day, unnamed))
    rest = rows.anti_join(by_id, named)
    unnamed = [rest.user_id == by_day.fake_user, rest.day == by_day.fake_day, rest.order_id.isnull(), rest.event.isin(ORDERED)]  # fmt: skip
    return rest.anti_join(by_day, unnamed), fakes


def add_sessions(rows: ibis.Table, gap_min: int, by: Iterable[str] = ("user_id",)) -> ibis.Table:
    """`rows` with session_start and session_gap_s, as ready.sessions_sql gives them. by: columns that tell pasts apart."""
    keys = [rows[name] for name in (*by, "session_id")]
    before = rows.ts.lag().over(ibis.window(group_by=keys, order_by=[rows.ts, rows.event_id]))
    rows = rows.mutate(ts_before=before)
    rows = rows.mutate(gap_us=micros(rows.ts) - micros(rows.ts_before))
    longest = ibis.ifelse(rows.session_id.isnull(), gap_min * MINUTE_US, 24 * 60 * MINUTE_US)
    rows = rows.mutate(session_start=rows.ts_before.isnull() | (rows.gap_us > longest))
    gap = ibis.ifelse(rows.session_start, ibis.literal(0.0), rows.gap_us.cast("float64") / 1e6)
    return rows.mutate(session_gap_s=gap).drop("ts_before", "gap_us")


def micros(moment: ibis.Value) -> ibis.Value:
    """Microseconds since 1970."""
    fraction = (date_part("second", moment) * 1_000_000).cast("int64") % 1_000_000
    return moment.epoch_seconds().cast("int64") * 1_000_000 + fraction


def _price_means(rows: ibis.Table) -> ibis.Table:
    """mean_category, mean_day, mean: of the category's purchase prices that were known before that local day."""
    bought = rows.filter((rows.event == "purchase") & (rows.price > 0) & rows.category.notnull())
    made = bought.group_by("category", "day", "known_day").aggregate(total=bought.price.sum(), n=bought.count())
    learned = made.select("category", "total", "n", day="known_day")
    asked = made.select("category", "day", total=ibis.literal(0.0), n=ibis.literal(0, type="int64"))
    both = learned.select("category", "day", "total", "n").union(asked.select("category", "day", "total", "n"))
    daily = both.group_by("category", "day").aggregate(total=both.total.sum(), n=both.n.sum())
    past = ibis.window(group_by=daily.category, order_by=daily.day, preceding=(None, 1))
    return daily.select(
        mean_category="category",
        mean_day="day",
        mean=daily.total.sum().over(past) / daily.n.sum().over(past).nullif(0),
    )


def ranked_users(people: ibis.Table, settings: Settings) -> ibis.Table:
    """Rows of clean.users with `rank`, the best first and no two alike within a user."""
    kept = people.filter(people.user_id.notnull())
    places = [(kept.source == source.name, number) for number, source in enumerate(settings.collect)]
    place = ibis.cases(*places, else_=len(places)) if places else ibis.literal(0)
    order = [kept.third_party.coalesce(False), place, kept.collected_at.desc(), kept.row_id]
    return kept.mutate(rank=ibis.row_number().over(ibis.window(group_by=kept.user_id, order_by=order)))


def merged_users(ranked: ibis.Table) -> ibis.Table:
    """One row a registered user: the best value of each attribute; `said` and `extras`, for merge_sources."""
    values, said = {}, []
    for name in ATTRIBUTES:
        there = ranked[name].notnull()
        filled = ranked.filled.contains(name).coalesce(False)
        rank = ranked["rank"] + ibis.ifelse(filled, FILLED, 0)
        values[name] = ranked[name].argmin(rank, where=there)
        values[f"source_{name}"] = ranked.source.argmin(rank, where=there)
        values[f"rank_{name}"] = rank.min(where=there)
    extras = ibis.struct({"rank": ranked["rank"], "source": ranked.source, "extra": ranked.extra})
    found = ranked.group_by("user_id").aggregate(**values, extras=extras.collect(where=ranked.extra.notnull()))
    for name in ATTRIBUTES:
        kept = found[f"source_{name}"].notnull()
        filled = kept & (found[f"rank_{name}"] >= FILLED).coalesce(False)
        said.append(ibis.struct({"name": ibis.literal(name), "source": found[f"source_{name}"], "filled": filled}))
    return found.select("user_id", *ATTRIBUTES, said=ibis.array(said), extras=found.extras)


def ready_users(merged: ibis.Table, events: ibis.Table) -> ibis.Table:
    """One row a customer: registered (merged_users after merge_sources), met in events, or both."""
    seen = events.group_by("user_id").aggregate(
        only_visitor=events.visitor.all(), first_ts=events.ts.min(), last_ts=events.ts.max(), events=events.count()
    )
    joined = merged.outer_join(seen, "user_id")
    user_id = joined.user_id.coalesce(joined.user_id_right)
    empty = ibis.literal([], type="array<string>")
    return joined.select(
        *ATTRIBUTES,
        user_id=user_id,
        bucket=(hashed(user_id, 0) % BUCKETS).cast("int16"),
        dice=hashed(user_id, 4),
        visitor=joined.only_visitor.coalesce(False) & joined.user_id.isnull(),
        extra=joined.extra,
        sources=joined.sources.coalesce("{}"),
        filled=joined.filled.coalesce(empty),
        first_ts=joined.first_ts,
        last_ts=joined.last_ts,
        events=joined.events.coalesce(0),
    )
