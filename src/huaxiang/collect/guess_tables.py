"""Users, items, relations and identifiers: which columns of a file make each of these tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from huaxiang.collect.guess_find import ITEM_COLUMNS, USER_COLUMNS, Guesser, TableGuess, column_from, quote_name
from huaxiang.collect.guess_fit import is_answer
from huaxiang.collect.guess_names import asked_purpose, category_level, plain_name, roles_of, sounds_personal
from huaxiang.collect.guess_values import event_values, gender_values
from huaxiang.collect.seen import Look
from huaxiang.collect.sniff_values import ColumnLook
from huaxiang.settings.collect import DoorSettings

PROFILING = DoorSettings().purpose


def guess_users(guesser: Guesser, user: ColumnLook, *, log: bool) -> TableGuess:
    """The users table; from an event log, its attributes of users only, one row each."""
    table = TableGuess("users", {"user_id": column_from(user, "user_id")}, distinct=log)
    used = [user.name]
    roles = ["age_band", *USER_COLUMNS, "address"] + ([] if log else ["registered_at"])
    for role in roles:
        if log and role in ("member_level", "signup_channel", "children"):
            continue
        found = guesser.find(role, used)
        if role == "consent" and found is not None:
            if log:
                guesser.doubt("consent_in_log", column=found.name)
                continue
            used += _map_consent(guesser, found, table, used)
            continue
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
        parts = [
            column
            for column in guesser.look.columns
            if "address_part" in roles_of(column.name) and column.name not in used
        ]
        if parts and not log:
            whole = [
                column.name
                for column in guesser.look.columns
                if column in parts or column.name == table.map["address"].get("column")
            ]
            table.map["address"] = {"columns": whole, "join": " "}
            used += [column.name for column in parts]
    if log:
        table.where = f"{quote_name(user.name)} is not null"
    else:
        table.extra = [
            column.name for column in guesser.look.columns if column.name not in used and _may_be_extra(column)
        ]
    return table


def _map_consent(guesser: Guesser, first: ColumnLook, table: TableGuess, used: Sequence[str]) -> list[str]:
    """The consent of users, by one column of purposes or a plain yes, or by several that ask about channels each; gives the columns."""
    asked = [
        column
        for column in guesser.look.columns
        if column.name not in used
        and column.kind != "empty"
        and is_answer(column)
        and "consent" in roles_of(column.name)
    ]
    purposes = [asked_purpose(column.name) or PROFILING for column in asked]
    if not is_answer(first) or set(purposes) <= {PROFILING}:
        guesser.doubt("consent_column", column=first.name)
        table.map["consent"] = column_from(first, "consent")
        return [first.name]
    names = [column.name for column in asked]
    table.map["consent"] = {"columns": names, "purposes": purposes}
    said = ", ".join(f"{name} = {purpose}" for name, purpose in zip(names, purposes, strict=True))
    guesser.doubt("consent_asked" if PROFILING in purposes else "consent_channels", columns=said)
    return names


def _map_gender(guesser: Guesser, column: ColumnLook, origin: dict[str, Any]) -> None:
    jd = "user_lv_cd" in guesser.look.names
    found = gender_values(column, jd=jd)
    if found:
        values, unknown, guessed = found
        origin["values"] = values
        if unknown:
            origin["empty"] = [*origin.get("empty", ()), *unknown]
        if guessed:
            guesser.doubt(
                "gender_codes",
                column=column.name,
                values=", ".join(f"{key} = {value}" for key, value in values.items()),
            )


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
    bare = _columns_named(guesser, "name") if log else []  # in a log a bare `name` is the item's or the order's
    name, surname = guesser.find("name", [*used, *bare]), guesser.find("surname", used)
    parts = [column for column in (name, surname) if column is not None]
    if parts:
        used += [column.name for column in parts]
        table.map["name"] = (
            {"column": parts[0].name} if len(parts) == 1 else {"columns": [part.name for part in parts], "join": " "}
        )


def _columns_named(guesser: Guesser, plain: str) -> list[str]:
    return [name for name in guesser.look.names if plain_name(name) == plain]


def guess_items(guesser: Guesser, item: ColumnLook, *, log: bool) -> TableGuess:
    """The items table; from an event log, what it says of items, one row each (never the price paid)."""
    table = TableGuess("items", {"item_id": column_from(item, "item_id")}, distinct=log)
    used = [item.name, *(_columns_named(guesser, "type") if log else [])]  # in a log `type` is that of the record
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
        table.where = f"{quote_name(item.name)} is not null"
        return table
    times = [column for column in guesser.look.columns if column.is_time and column.name not in used]
    if times and item.distinct < item.filled and times[0].distinct > 1:
        latest = max(value for value in times[0].values if value)
        if times[0].kind == "date" and times[0].distinct < 0.1 * times[0].filled and times[0].format is None:
            table.where = f"{quote_name(times[0].name)} == '{latest}'"
        guesser.doubt("items_over_time", column=times[0].name, latest=latest)
    elif times and times[0].distinct == 1:
        guesser.doubt("items_snapshot", column=times[0].name)
    table.extra = [
        column.name
        for column in guesser.look.columns
        if column.name not in used and column not in times and _may_be_extra(column)
    ]
    return table


def guess_relations(guesser: Guesser, user: ColumnLook, other: ColumnLook) -> TableGuess:
    table = TableGuess(
        "relations", {"user_id": column_from(user, "user_id"), "other_id": column_from(other, "other_id")}
    )
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


def guess_identifiers(guesser: Guesser, who: Mapping[str, ColumnLook]) -> TableGuess | None:
    """kind and value beside a user; or a short file that sets a device or an openid beside a user."""
    used = [column.name for column in who.values()]
    kind, value, when = guesser.find("kind", used), guesser.find("value", used), guesser.find("ts", used)
    table = TableGuess("identifiers")
    if kind and value and len(guesser.look.columns) <= 6:
        table.map = {"kind": column_from(kind, "kind"), "value": column_from(value, "value")}
        table.map.update({role: column_from(column, role) for role, column in who.items() if role != "other_id"})
    elif "user_id" in who and "anonymous_id" in who and len(guesser.look.columns) <= 2 + (when is not None):
        device = who["anonymous_id"]
        table.map = {
            "kind": {"value": plain_name(device.name).removesuffix("id") or "device"},
            "value": column_from(device, "value"),
        }
        table.map.update(
            {"user_id": column_from(who["user_id"], "user_id"), "anonymous_id": column_from(device, "anonymous_id")}
        )
    else:
        return None
    if when:
        table.map["ts"] = column_from(when, "ts")
    return table


def guess_devices(user: ColumnLook, device: ColumnLook, when: ColumnLook) -> TableGuess:
    """The identifiers that a log names beside its users: their devices."""
    columns = {
        "value": column_from(device, "value"),
        "user_id": column_from(user, "user_id"),
        "ts": column_from(when, "ts"),
    }
    return TableGuess(
        "identifiers",
        {"kind": {"value": "device"}, **columns},
        where=f"{quote_name(device.name)} is not null",
        distinct=True,
    )


def _may_be_extra(column: ColumnLook) -> bool:
    if sounds_personal(column.name) or column.kind in ("empty", "email", "phone", "id_number", "list"):
        return False
    return not (column.kind == "text" and column.distinct > 200)
