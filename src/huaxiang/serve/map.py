"""Messages → rows of the five tables, under pseudonyms: what every later room reads.

Names of events come from the vocabulary of tables.py (Segment e-commerce v2, GA4, 神策) and the shop's own [live.events];
properties from the names those three use and the shop's own [live.fields]. Times are corrected by the sender's clock:
received − (sent − happened); what would lie in the future happened when it was received.

source: https://segment.com/docs/connections/spec/ecommerce/v2/
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import msgspec
import pyarrow as pa

from huaxiang.serve.log import Entry
from huaxiang.serve.wire.message import EMPTY, Batch, Message, encode, read_batch
from huaxiang.settings import LiveSettings
from huaxiang.tables import EVENTS, USERS, arrow_schema, event_vocabulary
from huaxiang.trust import Pseudonyms
from huaxiang.trust.scrub import mask_text

log = logging.getLogger(__name__)

SCHEMA = arrow_schema(EVENTS.stored)
NAMES = tuple(SCHEMA.names)
ORDERS = frozenset({"purchase", "refund", "cancel", "checkout"})
# Column of events → the properties that may hold it, first found first.
FIELDS: dict[str, tuple[str, ...]] = {
    "item_id": ("product_id", "item_id", "sku", "productId", "commodity_id", "commodityID", "content_id"),
    "order_id": ("order_id", "orderId", "transaction_id", "orderID", "tr_id"),
    "session_id": ("session_id", "sessionId", "$session_id", "ga_session_id", "event_session_id"),
    "quantity": ("quantity", "qty", "commodity_count"),
    "price": ("price", "unit_price", "item_price", "present_price", "commodity_price"),
    "amount": ("amount", "line_total"),
    "discount": ("discount",),
    "coupon_id": ("coupon_id", "coupon", "coupon_code", "couponId"),
    "campaign_id": ("campaign_id", "promotion_id", "utm_campaign"),
    "text": ("query", "search_term", "search_query", "keyword", "review_body", "text"),
    "rating": ("rating",),
    "channel": ("channel", "platform", "$lib"),
    "device": ("device", "$device_type", "device_type"),
}
NUMBERS = ("quantity", "price", "amount", "discount", "rating")
TOTALS = ("total", "revenue", "value", "subtotal")
LINES = ("products", "items")
TRAITS: dict[str, tuple[str, ...]] = {
    "registered_at": ("createdAt", "created_at", "$signup_time"),
    "gender": ("gender", "$gender"),
    "city": ("city", "$city"),
    "region": ("region", "state", "$province"),
    "country": ("country", "$country"),
    "member_level": ("plan", "member_level", "level"),
    "birth_year": ("birth_year", "yearofbirth"),
    "name": ("name", "$name"),
    "email": ("email", "$email"),
    "phone": ("phone", "$phone", "mobile"),
    "birth_date": ("birthday", "$birthday"),
}
FIRST = datetime(1990, 1, 1)
_object = msgspec.json.Decoder(dict[str, Any])
_PERSONAL = frozenset(column.name for column in USERS.personal)


@dataclass(frozen=True, slots=True)
class Person:
    """What an identify says of a user. declared: lake columns; personal: goes to the vault; at: when it was said, by our clock"""

    user_id: str
    declared: Mapping[str, Any]
    personal: Mapping[str, str]
    at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Link:
    """A visitor who turned out to be a user (or a user's earlier id). Both pseudonyms; rule: login (an event carries both), identify or alias"""

    anonymous_id: str
    user_id: str
    at: datetime
    known_at: datetime
    rule: str


@dataclass(frozen=True, slots=True)
class Misfit:
    """A message that breaks a promise of the tables. at: offset and place in the log"""

    source: str
    received_at: int
    reason: str
    content: bytes
    at: tuple[int, int]


@dataclass
class Rows:
    """What messages came to. events: tuples in the order of SCHEMA; ids: the shop's own ids of users met, by pseudonym"""

    events: list[tuple[Any, ...]] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    refused: list[Misfit] = field(default_factory=list)
    unknown: dict[str, int] = field(default_factory=dict)  # names that are not in the vocabulary
    ids: dict[str, str] = field(default_factory=dict)

    def table(self) -> pa.Table:
        columns = list(zip(*self.events, strict=True)) if self.events else [()] * len(SCHEMA)
        arrays = [pa.array(values, type=one.type) for values, one in zip(columns, SCHEMA, strict=True)]
        return pa.table(arrays, schema=SCHEMA)


class Mapper:
    """Maps messages of one shop. Pseudonyms of ids met lately are kept."""

    def __init__(self, pseudonyms: Pseudonyms, settings: LiveSettings) -> None:
        self._pseudonyms = pseudonyms
        self._known: dict[str, str] = {}
        self._names = event_vocabulary() | {name.lower(): event for name, event in settings.events.items()}
        own = {column: (name, *FIELDS.get(column, ())) for column, name in settings.fields.items()}
        self._places: dict[
            str, list[tuple[str, int]]
        ] = {}  # property → the columns it may fill, and how soon it is asked for
        for column, keys in (FIELDS | own).items():
            for rank, key in enumerate(keys):
                self._places.setdefault(key, []).append((column, rank))

    def add(
        self, rows: Rows, batch: Batch, *, source: str, offset: int, received_at: int, skipped: frozenset[int]
    ) -> None:
        """Adds what the messages of one request come to. offset: in the log; received_at: µs since 1970"""
        received = datetime.fromtimestamp(received_at / 1e6, UTC).replace(tzinfo=None)
        outer = _context(batch)
        for place, message in enumerate(batch.batch):
            if place in skipped:
                continue
            try:
                self._add(rows, message, outer, batch.sentAt, received, f"{offset}.{place}")
            except _UnfitError as unfit:
                reason = unfit.reason
            except Exception as error:  # noqa: BLE001 - what we did not foresee of one message must not hold up the others
                log.error("a message could not be mapped: %s", type(error).__name__)
                reason = f"unexpected:{type(error).__name__}"
            else:
                continue
            rows.refused.append(Misfit(source, received_at, reason, encode(message), (offset, place)))

    def _add(
        self, rows: Rows, message: Message, outer: dict[str, Any], sent: str | None, received: datetime, made: str
    ) -> None:
        user, visitor = self._who(message.userId), self._who(message.anonymousId)
        at = _moment(message, sent, received)
        if user is not None:
            rows.ids[user] = str(message.userId)
        try:
            context = outer | _object.decode(message.context) if message.context != EMPTY else outer
            properties = _object.decode(message.properties) if message.properties != EMPTY else {}
            traits = _object.decode(message.traits) if message.traits != EMPTY else {}
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
            raise _UnfitError("not_an_object") from error
        if message.type in ("alias", "merge"):
            earlier, now = self._who(message.previousId) or visitor, user
            if earlier and now and earlier != now:
                rows.links.append(Link(earlier, now, at, received, "alias"))
            return
        if user and visitor and user != visitor:
            rows.links.append(
                Link(visitor, user, at, received, "identify" if message.type in ("identify", "group") else "login")
            )
        if message.type == "identify":
            of_context = context.get("traits")  # RudderStack's Python client puts them there alone
            every = {**(of_context if isinstance(of_context, dict) else {}), **traits}
            self._add_person(rows, user or visitor, every, at, received)
        if message.type in ("identify", "group"):
            return
        name = message.event if message.type == "track" else f"{message.type.capitalize()} Viewed"
        event = self._names.get((name or "").lower())
        if event is None:
            rows.unknown[name or ""] = rows.unknown.get(name or "", 0) + 1
            event = (name or "").strip()
        number = made if message.messageId is None else str(message.messageId)
        lines = next((properties[key] for key in LINES if isinstance(properties.get(key), list)), None)
        if not lines:
            rows.events.append(self._row(number, user, visitor, event, properties, context, at, received, alone=True))
            return
        for place, line in enumerate(lines):
            if not isinstance(line, dict):
                raise _UnfitError("products_not_objects")
            both = {key: value for key, value in properties.items() if key not in _OF_LINES} | line
            rows.events.append(
                self._row(f"{number}/{place}", user, visitor, event, both, context, at, received, alone=False)
            )

    def _row(
        self,
        number: str,
        user: str | None,
        visitor: str | None,
        event: str,
        properties: dict[str, Any],
        context: dict[str, Any],
        at: datetime,
        received: datetime,
        *,
        alone: bool,
    ) -> tuple[Any, ...]:
        found = self._read(properties)
        quantity, price, amount = found.get("quantity"), found.get("price"), found.get("amount")
        if alone and amount is None and event in ORDERS:
            amount = _number(properties, TOTALS, "amount")
        if amount is None and price is not None:
            amount = price * (1.0 if quantity is None else quantity)
        elif price is None and amount is not None and quantity:
            price = amount / quantity
        text = found.get("text")
        found["price"], found["amount"] = price, amount
        found["event_id"], found["event"] = number, event
        found["user_id"], found["anonymous_id"] = user, visitor
        found["text"] = mask_text(text) if text else None
        found["channel"] = found.get("channel") or _plain(context.get("channel"))
        found["device"] = found.get("device") or _inner(context, "device", "type")
        found["ts"], found["received_at"] = at, received
        return tuple(map(found.get, NAMES))

    def _read(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that the properties fill: each by the first of its properties that says something; raises _UnfitError."""
        found: dict[str, Any] = {}
        ranks: dict[str, int] = {}
        places = self._places
        for key, value in properties.items():
            for column, rank in places.get(key, ()):
                if rank >= ranks.get(column, rank + 1):
                    continue
                if column in NUMBERS:
                    if value is None or value == "" or value is True or value is False:
                        continue
                    found[column] = value
                elif (text := _plain(value)) is not None:
                    found[column] = text
                else:
                    continue
                ranks[column] = rank
        for column in NUMBERS:
            if column in found:
                found[column] = _number(found, (column,), column)
        return found

    def _add_person(
        self, rows: Rows, user: str | None, traits: dict[str, Any], at: datetime, received: datetime
    ) -> None:
        if user is None or not traits:
            return
        found = {name: _text(traits, keys) for name, keys in TRAITS.items()}
        if found["name"] is None and (traits.get("firstName") or traits.get("lastName")):
            found["name"] = " ".join(str(traits[key]) for key in ("firstName", "lastName") if traits.get(key))
        address = traits.get("address")
        if isinstance(address, dict):
            found |= {name: _text(address, keys) for name, keys in _OF_ADDRESS.items() if found.get(name) is None}
            found["address"] = " ".join(str(one) for one in address.values() if one)
        elif isinstance(address, str):
            found["address"] = address
        personal = {name: value for name, value in found.items() if value and name in _PERSONAL}
        declared = {name: mask_text(value) for name, value in found.items() if value and name not in _PERSONAL}
        rows.people.append(Person(user, declared, personal, at, received))

    def _who(self, given: str | int | None) -> str | None:
        """The pseudonym of an id as it was sent."""
        if given is None or given == "":
            return None
        text = str(given)
        found = self._known.get(text)
        if found is None:
            if len(self._known) > 200_000:
                self._known.clear()
            found = self._known[text] = self._pseudonyms.of(text)
        return found


def map_entries(mapper: Mapper, entries: Sequence[Entry]) -> Rows:
    """What the messages of some requests come to, in their order."""
    rows = Rows()
    for entry in entries:
        batch, _ = read_batch(entry.body)
        mapper.add(
            rows,
            batch,
            source=entry.source,
            offset=entry.offset,
            received_at=entry.received_at,
            skipped=entry.skipped,
        )
    return rows


class _UnfitError(Exception):
    """A message that breaks a promise of the tables."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_OF_LINES = frozenset({*LINES, *TOTALS, "amount", "quantity", "discount", "coupon"})
_OF_ADDRESS = {"city": ("city",), "region": ("state", "region"), "country": ("country",)}


def _context(batch: Batch) -> dict[str, Any]:
    """What the envelope says of all its messages; nothing where it is no object: the messages are good without it."""
    try:
        return _object.decode(batch.context) if batch.context != EMPTY else {}
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return {}


def _moment(message: Message, sent: str | None, received: datetime) -> datetime:
    """When it happened, by our clock, in UTC without a zone; raises _UnfitError."""
    said, sent = message.originalTimestamp or message.timestamp, message.sentAt or sent
    if said is None:
        return received
    happened = _time(said)
    try:
        at = received - (_time(sent) - happened) if sent else happened
    except OverflowError as error:
        raise _UnfitError("time") from error
    if at < FIRST:
        raise _UnfitError("time_too_early")
    return min(at, received)


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise _UnfitError("time") from error


def _text(properties: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    for key in keys:
        if (found := _plain(properties.get(key))) is not None:
            return found
    return None


def _plain(value: Any) -> str | None:
    """Text or number as text, stripped; nothing of what is neither, or empty."""
    if value.__class__ is str:
        return value.strip() or None
    if value.__class__ is int or (value.__class__ is float and isfinite(value)):
        return str(int(value)) if value == int(value) else str(value)
    return None


def _number(properties: Mapping[str, Any], keys: Sequence[str], name: str) -> float | None:
    """The number under the first key that has one; raises _UnfitError for what is no number."""
    for key in keys:
        value = properties.get(key)
        if value is None or value == "" or value is True or value is False:
            continue
        try:
            found = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise _UnfitError(f"no_number:{name}") from error
        if not isfinite(found) or abs(found) > 1e15:
            raise _UnfitError(f"no_number:{name}")
        return abs(found)
    return None


def _inner(context: Mapping[str, Any], outer: str, inner: str) -> str | None:
    found = context.get(outer)
    return _plain(found.get(inner)) if isinstance(found, dict) else None
