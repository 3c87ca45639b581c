"""Whom a campaign may reach: consent for the channel, the suppression list, the frequency cap; and when: outside the quiet hours.

Every customer left out is left out for one stated reason, the first that holds in the order of REASONS.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from huaxiang.apply.market.campaign_terms import sent_times
from huaxiang.engine import Lake, Step
from huaxiang.engine.duck import quote
from huaxiang.identity import canonical_events
from huaxiang.settings import ContactSettings

CHANNELS = ("email", "sms", "push", "wechat", "app", "phone", "mail", "whatsapp")
REASONS = ("not_yet", "suppressed", "refused", "unknown", "too_often")
ASSIGNED = "market.assigned"
CONTACT = "coupon_receive"  # the event that says a message reached a customer


def known_channels(lake: Lake, contact: ContactSettings) -> list[str]:
    """What a message may go by as far as this shop knows: usual channels, those [contact] purposes name, and those customers consented to."""
    said = {purpose for purpose in contact.purposes if "{" not in purpose}
    users = lake.table("clean.users") if lake.has("clean.users") else None
    if users is not None and "consent" in users.columns:
        found = lake.engine.rows(f"SELECT DISTINCT lower(unnest(consent)) AS one FROM ({lake.engine.sql(users)})")
        said |= {str(row["one"]) for row in found if row["one"]}
    before = [purpose.split("{channel}")[0].lower() for purpose in contact.purposes if purpose.endswith("{channel}")]
    return sorted({*CHANNELS, *said, *(one.removeprefix(start) for one in said for start in before)})


def judge_customers(
    lake: Lake,
    contact: ContactSettings,
    *,
    channel: str,
    at: datetime,
    suppressed: Sequence[str] = (),
    zone: str = "UTC",
) -> str:
    """SQL of user_id and why (NULL: may be reached; else one of REASONS), a row a customer of the last build.

    suppressed: pseudonyms; at: now, UTC, which may lie before the build: customers of whom nothing was known then are not_yet
    """
    engine = lake.engine
    users = engine.sql(lake.table("features"))
    gone = engine.load(pa.table({"user_id": pa.array(sorted(set(suppressed)), pa.string())})).get_name()
    allowed = ", ".join(quote(purpose.format(channel=channel).lower()) for purpose in contact.purposes)
    consents = (
        f"SELECT user_id, bool_or(consent IS NOT NULL) AS known, "
        f"bool_or(list_has_any(list_transform(consent, lambda one: lower(one)), [{allowed}])) AS agreed "
        f"FROM ({engine.sql(lake.table('clean.users'))}) GROUP BY user_id"
        if lake.has("clean.users")
        else "SELECT NULL::VARCHAR AS user_id, false AS known, false AS agreed WHERE false"
    )
    as_of = profiles_at(lake, zone)
    is_known = f"f.user_id IN ({_known_by(lake, at)})" if as_of is not None and at < as_of else "true"
    return (
        f"SELECT f.user_id, CASE WHEN NOT {is_known} THEN 'not_yet' WHEN g.user_id IS NOT NULL THEN 'suppressed' "
        f"WHEN c.known AND NOT coalesce(c.agreed, false) THEN 'refused' "
        f"WHEN NOT coalesce(c.known, false) AND NOT {str(contact.unknown).lower()} THEN 'unknown' "
        f"WHEN coalesce(t.contacts, 0) >= {contact.most} THEN 'too_often' END AS why "
        f"FROM ({users}) AS f LEFT JOIN {gone} AS g ON f.user_id = g.user_id "
        f"LEFT JOIN ({consents}) AS c ON f.user_id = c.user_id LEFT JOIN ({_contacts(lake, contact, at)}) AS t ON f.user_id = t.user_id"
    )


def next_open(at: datetime, contact: ContactSettings, zone: str) -> datetime:
    """The first moment from `at` on (UTC, without a zone) that is not in the quiet hours of the shop's zone."""
    start, end = time.fromisoformat(contact.quiet_from), time.fromisoformat(contact.quiet_until)
    local = at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone))
    if not _is_quiet(local.time(), start, end):
        return at
    day = local.date() + timedelta(days=1 if local.time() >= end else 0)
    opens = datetime.combine(day, end, tzinfo=ZoneInfo(zone))
    return opens.astimezone(UTC).replace(tzinfo=None)


def profiles_at(lake: Lake, zone: str) -> datetime | None:
    """The moment (UTC) up to which the last build knows customers; None where it does not say. zone: of the shop"""
    text = str(lake.note("build").get("as_of", ""))
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC).replace(tzinfo=None)


def known_span(lake: Lake) -> tuple[datetime | None, datetime | None]:
    """When the first and the last of the shop's events happened (UTC)."""
    row = lake.engine.rows(f"SELECT min(ts) AS first, max(ts) AS last FROM ({known_events(lake)})")[0]
    return row["first"], row["last"]


def _known_by(lake: Lake, at: datetime) -> str:
    """SQL of the customers who had registered or done something by `at`."""
    until = f"TIMESTAMP {quote(at.isoformat(sep=' '))}"
    known = f"SELECT user_id FROM ({known_events(lake)}) WHERE ts < {until} AND user_id IS NOT NULL"
    users = lake.table("clean.users") if lake.has("clean.users") else None
    if users is None or "registered_at" not in users.columns:
        return known
    return f"{known} UNION SELECT user_id FROM ({lake.engine.sql(users)}) WHERE registered_at < {until}"


def known_events(lake: Lake) -> str:
    """SQL of the clean events under one user id each."""
    return lake.engine.sql(canonical_events(Step(lake, "market")))


def _is_quiet(now: time, start: time, end: time) -> bool:
    if start == end:
        return False
    return start <= now < end if start < end else now >= start or now < end


def _contacts(lake: Lake, contact: ContactSettings, at: datetime) -> str:
    """SQL of user_id and contacts: messages within the last days, by the events and by the campaigns exported or sent from here; one
    that shows up in both (the same campaign) counts once, as does one logged twice."""
    start = at - timedelta(days=contact.within_days)
    since = quote(start.isoformat(sep=" "))
    until = quote(at.isoformat(sep=" "))
    rows = []
    if lake.has("clean.events"):
        rows.append(
            f"SELECT user_id, coalesce(campaign_id, event_id) AS message FROM ({known_events(lake)}) "
            f"WHERE event = '{CONTACT}' AND ts > TIMESTAMP {since} AND ts <= TIMESTAMP {until}"
        )
    sent = [name for name, when in sent_times(lake).items() if start < when <= at]
    if sent and lake.has(ASSIGNED):
        rows.append(
            f"SELECT user_id, campaign AS message FROM ({lake.engine.sql(lake.table(ASSIGNED))}) "
            f"WHERE arm = 'treated' AND campaign IN ({', '.join(map(quote, sent))})"
        )
    if not rows:
        return "SELECT NULL::VARCHAR AS user_id, 0 AS contacts WHERE false"
    return f"SELECT user_id, count(DISTINCT message) AS contacts FROM ({' UNION ALL '.join(rows)}) GROUP BY user_id"
