"""Which of the five tables a file feeds; and the events, where it is a log of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from huaxiang.collect.guess_find import (
    ITEM_COLUMNS,
    MEASURES,
    USER_COLUMNS,
    Guesser,
    SourceGuess,
    TableGuess,
    column_from,
    used_columns,
)
from huaxiang.collect.guess_names import plain_name, roles_of
from huaxiang.collect.guess_tables import guess_devices, guess_identifiers, guess_items, guess_relations, guess_users
from huaxiang.collect.guess_values import STATES, event_share, event_values, hinted_event, state_values
from huaxiang.collect.seen import Look
from huaxiang.collect.sniff_values import ColumnLook

EVENT_COLUMNS = (
    "event_id", "session_id", "order_id", "quantity", "price", "amount_line", "discount", "coupon_id", "campaign_id", "text", "rating",
    "channel", "device", "received_at",
)  # fmt: skip
DEVICES = frozenset(("deviceid", "imei", "idfa", "oaid", "设备id", "设备号"))
NAMELESS = 0.01  # of the rows without a user; more: visitors are known by the device
_DID = ("item_id", "order_id", "price", "amount_line", "amount_order", "rating", "session_id", "text", "coupon_id")


def guess_source(look: Look, *, third_party: bool = False, roles: Mapping[str, str] | None = None) -> SourceGuess:
    """What `look` is: the tables it feeds and how. `roles`: columns whose meaning other files gave away."""
    guesser = Guesser(look, roles or {})
    guess = SourceGuess(look, third_party=third_party)
    who = _find_who(guesser)
    item = guesser.find("item_id", [column.name for column in who.values()])
    item = item or _find_bare_id(guesser, ITEM_COLUMNS, "item_id", who)
    if "user_id" not in who and "anonymous_id" not in who:
        bare = _find_bare_id(guesser, USER_COLUMNS, "user_id", {}) if item is None else None
        bare = bare or (guesser.find("email") if item is None or _is_order(guesser) else None)
        if bare:
            who["user_id"] = bare
    guess.tables = _choose_tables(guesser, who, item, third_party)
    if not guess.tables:
        empty = all(column.kind == "empty" for column in look.columns)
        guess.lacks = "rows" if empty else "who" if not who else "when"
    _doubt_values(guesser, guess)
    guess.doubts = [*look.doubts, *guesser.doubts]
    return guess


def _is_order(guesser: Guesser) -> bool:
    return any(guesser.find(role) for role in ("order_id", "quantity", "amount_line", "amount_order"))


def _find_who(guesser: Guesser) -> dict[str, ColumnLook]:
    who: dict[str, ColumnLook] = {}
    for role in ("user_id", "anonymous_id", "other_id"):
        found = guesser.find(role, [column.name for column in who.values()])
        if found:
            who[role] = found
    return who


def _find_bare_id(
    guesser: Guesser, attributes: Sequence[str], role: str, who: Mapping[str, ColumnLook]
) -> ColumnLook | None:
    """A column named just `id`, where the file's other columns say of what."""
    bare = guesser.find("id", [column.name for column in who.values()])
    if bare is None or (role == "item_id" and who) or bare.distinct < 0.9 * bare.filled:
        return None
    near = [name for name in attributes if guesser.find(name, [bare.name])]
    return bare if len(near) >= 2 else None


def _choose_tables(
    guesser: Guesser, who: dict[str, ColumnLook], item: ColumnLook | None, third_party: bool
) -> list[TableGuess]:
    user = who.get("user_id")
    if user and "other_id" in who and item is None and guesser.find("order_id") is None:
        return [guess_relations(guesser, user, who["other_id"])]
    identifiers = guess_identifiers(guesser, who) if who and item is None else None
    if identifiers:
        return [identifiers]
    if who and not third_party:
        log = _event_log(guesser, who, item)
        if log:
            return log
    if user and (item is None or third_party):
        return [guess_users(guesser, user, log=False)]
    if item is not None and not who:
        return [guess_items(guesser, item, log=False)]
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
    device = _device_of(who)
    if device is not None:
        who = {role: column for role, column in who.items() if column is not device}
    tables = [_events(guesser, who, item, when, event)]
    if item is not None and (items := guess_items(guesser, item, log=True)).map.keys() - {"item_id"}:
        tables.append(items)
    if "user_id" in who and (users := guess_users(guesser, who["user_id"], log=True)).map.keys() - {"user_id"}:
        tables.append(users)
    if device is not None:
        tables.append(guess_devices(who["user_id"], device, when))
    return tables + _special_rows(guesser, tables[0])


def _device_of(who: Mapping[str, ColumnLook]) -> ColumnLook | None:
    """The device of users who are always named: something seen with them, and nobody who visits without a name."""
    user, found = who.get("user_id"), who.get("anonymous_id")
    if user is None or found is None or user.empty_share > NAMELESS or plain_name(found.name) not in DEVICES:
        return None
    return found


def _find_event(guesser: Guesser, taken: Sequence[str]) -> ColumnLook | None:
    found = [column for column in guesser.look.columns if column.name not in taken and "event" in roles_of(column.name)]
    found = [column for column in found if event_values(column, guesser.look)]
    if found:
        return min(found, key=lambda column: roles_of(column.name)["event"])
    rest = [
        column
        for column in guesser.look.columns
        if column.name not in taken and not roles_of(column.name) and event_share(column) > 0.8
    ]
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
    if (
        "amount" not in table.map
        and not {"price", "quantity"} <= table.map.keys()
        and (total := guesser.find("amount_order", used))
    ):
        table.map["amount"] = column_from(total, "amount")
    if "order_id" not in table.map and table.map.keys() & {"amount", "price"} and (bare := _find_order(guesser, used)):
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
        aside = any(
            key == "broken_lines" for key, _ in guesser.look.doubts
        )  # they are no states: collecting leaves them out
        unknown = sorted(
            word for word in state.words if word.lower() not in STATES and not (aside and "\ufffd" in word)
        )
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
    columns = {
        "kind": {"value": "login"},
        "value": {"column": "original_id"},
        "anonymous_id": {"column": "original_id"},
    }
    return [
        TableGuess(
            "identifiers",
            {**columns, "user_id": {"column": "distinct_id"}, "ts": dict(events.map["ts"])},
            where="type == 'track_signup'",
        )
    ]


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
            guesser.doubt(
                "mixed_types", column=column.name, share=f"{column.misfit_share:.1%}", table=f"{table}.{name}"
            )
    if any(".0." in name for name in used_columns(guess)):
        guesser.doubt("first_of_list")
