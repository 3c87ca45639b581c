"""Which of the five tables a file feeds, and which of its columns is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from huaxiang.collect.guess_fit import fits_role
from huaxiang.collect.guess_names import category_level, plain_name, roles_of, sounds_personal
from huaxiang.collect.guess_values import (
    STATES,
    empty_values,
    event_share,
    event_values,
    gender_values,
    hinted_event,
    state_values,
)
from huaxiang.collect.sniff import Look
from huaxiang.collect.sniff_values import ColumnLook

Doubt = tuple[str, tuple[tuple[str, Any], ...]]

USER_COLUMNS = (
    "birth_year", "gender", "city", "region", "country", "occupation", "education", "marital_status", "household_size", "children",
    "income_band", "member_level", "signup_channel", "consent", "email", "phone", "birth_date", "id_number",
)  # fmt: skip
ITEM_COLUMNS = ("title", "category", "brand", "list_price", "image", "description")
EVENT_COLUMNS = (
    "event_id", "session_id", "order_id", "quantity", "price", "amount_line", "discount", "coupon_id", "campaign_id", "text", "rating",
    "channel", "device", "received_at",
)  # fmt: skip
MEASURES = ("quantity", "price", "amount", "discount", "rating", "list_price")
_DID = ("item_id", "order_id", "price", "amount_line", "amount_order", "rating", "session_id", "text", "coupon_id")


@dataclass
class TableGuess:
    """One table a source feeds: contract column -> what settings.ColumnFrom takes."""

    table: str
    map: dict[str, dict[str, Any]] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    where: str = ""
    distinct: bool = False


@dataclass
class SourceGuess:
    """What a file seems to be. No `tables`: nothing could be made of it, and `lacks` says which column was missed."""

    look: Look
    tables: list[TableGuess] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    third_party: bool = False
    lacks: str = ""
    name: str = ""

    def table(self, name: str) -> TableGuess | None:
        return next((table for table in self.tables if table.table == name), None)

    @property
    def unmapped(self) -> list[str]:
        """Columns nothing was made of."""
        used = {name for table in self.tables for origin in table.map.values() for name in (origin.get("column"), *origin.get("columns", ()))}
        used |= {name for table in self.tables for name in table.extra}
        return [name for name in self.look.names if name not in used]


class Guesser:
    """Finds the column for a role in one file."""

    def __init__(self, look: Look, roles: Mapping[str, str]) -> None:
        self.look = look
        self.roles = roles  # column -> role, known from elsewhere
        self.doubts: list[Doubt] = []

    def find(self, role: str, used: Sequence[str] = ()) -> ColumnLook | None:
        """The column that holds `role`: the surest name whose values agree, not among `used`."""
        found = [
            (0 if self.roles.get(column.name) == role else roles_of(column.name)[role] + 1000 * (column.empty_share > 0.98), place, column)
            for place, column in enumerate(self.look.columns)
            if column.name not in used
            and (self.roles.get(column.name) == role or (column.name not in self.roles and role in roles_of(column.name)))
            and fits_role(role, column)
        ]
        return min(found)[2] if found else None

    def doubt(self, key: str, **values: Any) -> None:
        self.doubts.append((key, tuple(values.items())))


def guess_source(look: Look, *, third_party: bool = False, roles: Mapping[str, str] | None = None) -> SourceGuess:
    """What `look` is: the tables it feeds and how. `roles`: columns whose meaning other files gave away."""
    guesser = Guesser(look, roles or {})
    guess = SourceGuess(look, third_party=third_party)
    who = _find_who(guesser)
    item = guesser.find("item_id", [column.name for column in who.values()])
    item = item or _find_bare_id(guesser, ITEM_COLUMNS, "item_id", who)
    if "user_id" not in who and "anonymous_id" not in who:
        bare = _find_bare_id(guesser, USER_COLUMNS, "user_id", {}) if item is None else None
        bare = bare or (guesser.find("email") if item is None or guesser.find("order_id") else None)
        if bare:
            who["user_id"] = bare
    guess.tables = _choose_tables(guesser, who, item, third_party)
    if not guess.tables:
        guess.lacks = "who" if not who else "when"
    _doubt_values(guesser, guess)
    guess.doubts = [*look.doubts, *guesser.doubts]
    return guess


def _find_who(guesser: Guesser) -> dict[str, ColumnLook]:
    who: dict[str, ColumnLook] = {}
    for role in ("user_id", "anonymous_id", "other_id"):
        found = guesser.find(role, [column.name for column in who.values()])
        if found:
            who[role] = found
    return who


def _find_bare_id(guesser: Guesser, attributes: Sequence[str], role: str, who: Mapping[str, ColumnLook]) -> ColumnLook | None:
    """A column named just `id`, where the file's other columns say of what."""
    bare = guesser.find("id", [column.name for column in who.values()])
    if bare is None or (role == "item_id" and who) or bare.distinct < 0.9 * bare.filled:
        return None
    near = [name for name in attributes if guesser.find(name, [bare.name])]
    return bare if len(near) >= 2 else None


def _choose_tables(guesser: Guesser, who: dict[str, ColumnLook], item: ColumnLook | None, third_party: bool) -> list[TableGuess]:
    user = who.get("user_id")
    if user and "other_id" in who and item is None and guesser.find("order_id") is None:
        return [_relations(guesser, user, who["other_id"])]
    identifiers = _identifiers(guesser, who) if who and item is None else None
    if identifiers:
        return [identifiers]
    if who and not third_party:
        log = _event_log(guesser, who, item)
        if log:
            return log
    if user and (item is None or third_party):
        return [_users(guesser, user, log=False)]
    if item is not None and not who:
        return [_items(guesser, item, log=False)]
    return []


def _event_log(guesser: Guesser, who: dict[str, ColumnLook], item: ColumnLook | None) -> list[TableGuess] | None:
    """Events, and the items and users the log describes on the way; None where the file is no log of events."""
    taken = [column.name for column in who.values()]
    when = guesser.find("ts", taken)
    event = _find_event(guesser, taken)
    did = [role for role in _DID if guesser.find(role, taken)]
    attributes = [role for role in USER_COLUMNS if guesser.find(role, taken)]
    if item is None and event is None and (not did or len(attributes) > len(did) + 1):
        return None
    if when is None:
        when = next((column for column in guesser.look.columns if column.is_time and not roles_of(column.name)), None)
        if when is None:
            return None
        guesser.doubt("time_by_values", column=when.name)
    tables = [_events(guesser, who, item, when, event)]
    if item is not None and (items := _items(guesser, item, log=True)).map.keys() - {"item_id"}:
        tables.append(items)
    if "user_id" in who and (users := _users(guesser, who["user_id"], log=True)).map.keys() - {"user_id"}:
        tables.append(users)
    return tables + _special_rows(guesser, tables[0])


def _find_event(guesser: Guesser, taken: Sequence[str]) -> ColumnLook | None:
    found = [column for column in guesser.look.columns if column.name not in taken and "event" in roles_of(column.name)]
    found = [column for column in found if event_values(column, guesser.look)]
    if found:
        return min(found, key=lambda column: roles_of(column.name)["event"])
    rest = [column for column in guesser.look.columns if column.name not in taken and not roles_of(column.name) and event_share(column) > 0.8]
    return rest[0] if rest else None


def _events(
    guesser: Guesser, who: dict[str, ColumnLook], item: ColumnLook | None, when: ColumnLook, event: ColumnLook | None
) -> TableGuess:
    table = TableGuess("events")
    for role in ("user_id", "anonymous_id"):
        if role in who:
            table.map[role] = column_from(who[role], role)
    table.map["ts"] = column_from(when, "ts")
    used = [column.name for column in who.values()] + [when.name]
    if event is not None:
        used.append(event.name)
    table.map["event"] = _event_origin(guesser, event, used)
    if item is not None:
        table.map["item_id"] = column_from(item, "item_id")
        used.append(item.name)
    for role in EVENT_COLUMNS:
        found = guesser.find(role, used)
        if found:
            used.append(found.name)
            table.map["amount" if role == "amount_line" else role] = column_from(found, role)
    if "amount" not in table.map and not {"price", "quantity"} <= table.map.keys() and (total := guesser.find("amount_order", used)):
        table.map["amount"] = column_from(total, "amount")
    if "order_id" not in table.map and "amount" in table.map and (bare := _find_order(guesser, used)):
        table.map["order_id"] = column_from(bare, "order_id")
    return table


def _find_order(guesser: Guesser, used: Sequence[str]) -> ColumnLook | None:
    """The order's number where it is called `id`, or `Name` as Shopify does."""
    lineitems = any(plain_name(name).startswith("lineitem") for name in guesser.look.names)
    name = guesser.find("name", used) if lineitems else None
    return name if name and plain_name(name.name) == "name" else guesser.find("id", used)


def _event_origin(guesser: Guesser, event: ColumnLook | None, used: list[str]) -> dict[str, Any]:
    if event is not None:
        values, codes = event_values(event, guesser.look) or ({}, "")
        if codes:
            guesser.doubt("event_codes", column=event.name, codes=codes)
        origin = column_from(event, "event")
        if values:
            origin["values"] = dict(values)
        return origin
    state = guesser.find("status", used)
    values_of_state = state_values(state) if state else None
    if state is not None and values_of_state:
        used.append(state.name)
        unknown = sorted(word for word in state.words if word.lower() not in STATES)
        if unknown:
            guesser.doubt("unknown_states", column=state.name, values=", ".join(unknown[:5]))
        return {**column_from(state, "event"), "values": values_of_state}
    event_name = hinted_event(guesser.look)
    bought = any(guesser.find(role, used) for role in ("order_id", "quantity", "amount_line", "amount_order"))
    if bought and event_name not in ("refund", "add_to_cart", "wish"):
        return {"value": "purchase"}
    if not bought and guesser.find("rating", used):
        return {"value": "review"}
    guesser.doubt("event_guessed", event=event_name or "view")
    return {"value": event_name or "view"}


def _special_rows(guesser: Guesser, events: TableGuess) -> list[TableGuess]:
    """神策 exports mix events (`track`), attributes of users (`profile_set`) and logins (`track_signup`) in one file."""
    kind = next((column for column in guesser.look.columns if column.name == "type"), None)
    if kind is None or "track" not in kind.words or events.map["event"].get("column") == "type":
        return []
    events.where = "type == 'track'"
    if "original_id" not in guesser.look.names or "track_signup" not in kind.words:
        return []
    columns = {"kind": {"value": "login"}, "value": {"column": "original_id"}, "anonymous_id": {"column": "original_id"}}
    return [TableGuess("identifiers", {**columns, "user_id": {"column": "distinct_id"}, "ts": dict(events.map["ts"])}, where="type == 'track_signup'")]


def _users(guesser: Guesser, user: ColumnLook, *, log: bool) -> TableGuess:
    """The users table; from an event log, its attributes of users only, one row each."""
    table = TableGuess("users", {"user_id": column_from(user, "user_id")}, distinct=log)
    used = [user.name]
    roles = ["age_band", *USER_COLUMNS, "address"] + ([] if log else ["registered_at"])
    for role in roles:
        if (log and role in ("member_level", "signup_channel", "children")) or (role == "consent" and log):
            continue
        found = guesser.find(role, used)
        if found is None and role == "email" and user.kind == "email":
            found = user
        if found is None:
            continue
        used.append(found.name)
        table.map[role] = column_from(found, role)
        if role == "gender":
            _map_gender(guesser, found, table.map[role])
    _map_age(guesser, table, used)
    _map_name(guesser, table, used, log)
    if "address" in table.map:
        parts = [column for column in guesser.look.columns if "address_part" in roles_of(column.name) and column.name not in used]
        if parts and not log:
            whole = [column.name for column in guesser.look.columns if column in parts or column.name == table.map["address"].get("column")]
            table.map["address"] = {"columns": whole, "join": " "}
            used += [column.name for column in parts]
    if log:
        table.where = f"{quote_name(user.name)} != ''"
    else:
        table.extra = [column.name for column in guesser.look.columns if column.name not in used and _may_be_extra(column)]
    return table


def _map_gender(guesser: Guesser, column: ColumnLook, origin: dict[str, Any]) -> None:
    jd = "user_lv_cd" in guesser.look.names
    found = gender_values(column, jd=jd)
    if found:
        values, unknown, guessed = found
        origin["values"] = values
        if unknown:
            origin["empty"] = [*origin.get("empty", ()), *unknown]
        if guessed:
            guesser.doubt("gender_codes", column=column.name, values=", ".join(f"{key} = {value}" for key, value in values.items()))


def _map_age(guesser: Guesser, table: TableGuess, used: list[str]) -> None:
    """An `age` column that holds bands is the age band; one that holds years stays a further attribute."""
    age = guesser.find("age", used)
    if age is None or "age_band" in table.map:
        return
    if age.kind in ("category", "code", "text") or age.distinct <= 10:
        table.map["age_band"] = column_from(age, "age_band")
        used.append(age.name)
    else:
        guesser.doubt("age_in_years", column=age.name)


def _map_name(guesser: Guesser, table: TableGuess, used: list[str], log: bool) -> None:
    name, surname = guesser.find("name", used), guesser.find("surname", used)
    if log and name is not None and plain_name(name.name) == "name":
        return  # in a log a bare `name` is the item's or the order's
    parts = [column for column in (name, surname) if column is not None]
    if parts:
        used += [column.name for column in parts]
        table.map["name"] = {"column": parts[0].name} if len(parts) == 1 else {"columns": [part.name for part in parts], "join": " "}


def _items(guesser: Guesser, item: ColumnLook, *, log: bool) -> TableGuess:
    """The items table; from an event log, what it says of items, one row each (never the price paid)."""
    table = TableGuess("items", {"item_id": column_from(item, "item_id")}, distinct=log)
    used = [item.name]
    levels = sorted(
        (level, place, column.name)
        for place, column in enumerate(guesser.look.columns)
        if (level := category_level(column.name)) is not None and column.kind != "empty"
    )
    if len(levels) >= 2:
        table.map["category"] = {"columns": [name for _, _, name in levels]}
        used += [name for _, _, name in levels]
    for role in ITEM_COLUMNS:
        name = "price" if role == "list_price" else role
        if name in table.map or (log and role in ("list_price", "description")):
            continue
        found = guesser.find(role, used)
        if found is not None and not (log and role == "category" and event_values(found, guesser.look)):
            used.append(found.name)
            table.map[name] = column_from(found, role)
    if log:
        table.where = f"{quote_name(item.name)} != ''"
        return table
    times = [column for column in guesser.look.columns if column.is_time and column.name not in used]
    if times and item.distinct < item.filled and times[0].distinct > 1:
        latest = max(value for value in times[0].values if value)
        if times[0].kind == "date" and times[0].distinct < 0.1 * times[0].filled and times[0].format is None:
            table.where = f"{quote_name(times[0].name)} == '{latest}'"
        guesser.doubt("items_over_time", column=times[0].name, latest=latest)
    elif times and times[0].distinct == 1:
        guesser.doubt("items_snapshot", column=times[0].name)
    table.extra = [column.name for column in guesser.look.columns if column.name not in used and column not in times and _may_be_extra(column)]
    return table


def _relations(guesser: Guesser, user: ColumnLook, other: ColumnLook) -> TableGuess:
    table = TableGuess("relations", {"user_id": column_from(user, "user_id"), "other_id": column_from(other, "other_id")})
    used = [user.name, other.name]
    kind = guesser.find("kind", used)
    table.map["kind"] = column_from(kind, "kind") if kind else {"value": _relation_kind(guesser.look)}
    since = guesser.find("since", used)
    if since:
        table.map["since"] = column_from(since, "since")
    return table


def _relation_kind(look: Look) -> str:
    text = " ".join((*look.names, look.path.name if look.path else "")).lower()
    return "friend" if "friend" in text or "好友" in text else "follow"


def _identifiers(guesser: Guesser, who: Mapping[str, ColumnLook]) -> TableGuess | None:
    """kind and value beside a user; or a short file that sets a device or an openid beside a user."""
    used = [column.name for column in who.values()]
    kind, value, when = guesser.find("kind", used), guesser.find("value", used), guesser.find("ts", used)
    table = TableGuess("identifiers")
    if kind and value and len(guesser.look.columns) <= 6:
        table.map = {"kind": column_from(kind, "kind"), "value": column_from(value, "value")}
        table.map.update({role: column_from(column, role) for role, column in who.items() if role != "other_id"})
    elif "user_id" in who and "anonymous_id" in who and len(guesser.look.columns) <= 2 + (when is not None):
        device = who["anonymous_id"]
        table.map = {"kind": {"value": plain_name(device.name).removesuffix("id") or "device"}, "value": column_from(device, "value")}
        table.map.update({"user_id": column_from(who["user_id"], "user_id"), "anonymous_id": column_from(device, "anonymous_id")})
    else:
        return None
    if when:
        table.map["ts"] = column_from(when, "ts")
    return table


def column_from(column: ColumnLook, role: str) -> dict[str, Any]:
    """What settings.ColumnFrom needs to read `column` as `role`."""
    origin: dict[str, Any] = {"column": column.name}
    if column.is_time and role in ("ts", "since", "registered_at", "received_at"):
        if column.format:
            origin["format"] = column.format
        if column.unit:
            origin["unit"] = column.unit
    if column.kind == "comma" and role in (*MEASURES, "amount_line", "amount_order"):
        origin["decimal"] = ","
    empty = empty_values(column, measure=role in (*MEASURES, "amount_line", "amount_order"))
    if empty:
        origin["empty"] = empty
    return origin


def quote_name(name: str) -> str:
    """A column's name as the filter language takes it."""
    return name if name.isascii() and name.isidentifier() else '"' + name.replace('"', '""') + '"'


def _may_be_extra(column: ColumnLook) -> bool:
    if sounds_personal(column.name) or column.kind in ("empty", "email", "phone", "id_number", "list"):
        return False
    return not (column.kind == "text" and column.distinct > 200)


def _doubt_values(guesser: Guesser, guess: SourceGuess) -> None:
    """Doubts that the mapped columns' values raise: day or month first, mixed types, a comma for the decimal point."""
    look = guess.look
    mapped = {origin.get("column"): (table.table, name) for table in guess.tables for name, origin in table.map.items()}
    for column in look.columns:
        if column.name not in mapped:
            continue
        table, name = mapped[column.name]
        if column.day_or_month and name in ("ts", "registered_at", "since", "received_at"):
            guesser.doubt("day_or_month", column=column.name, format=column.format)
        if name in (*MEASURES, "ts") and column.misfit_share > 0.001:
            guesser.doubt("mixed_types", column=column.name, share=f"{column.misfit_share:.1%}", table=f"{table}.{name}")
    if any(column.kind == "list" and "item" in column.name for column in look.columns):
        guesser.doubt("lists", columns=", ".join(column.name for column in look.columns if column.kind == "list"))
