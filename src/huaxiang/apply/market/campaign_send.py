"""A campaign's treated customers out of the house: a CSV, or signed JSON batches to a webhook.

What leaves is the shop's own user_id, which the receiver knows, never a contact field. A request is

    POST url
    X-Huaxiang-Id: spring.0                        the batch's own: a receiver that has seen it answers 2xx and does nothing
    X-Huaxiang-Signature: t=1700000000,v1=HEX      HEX = HMAC-SHA-256(secret, "1700000000." + body)
    {"campaign": …, "channel": …, "send_after": …, "user_ids": [...], "offers": [[...], …] where the campaign has some}

`send_after` is ISO 8601 by the shop's clock with its offset, 2026-11-28T09:00:00+08:00, in the CSV as in the webhook.

Consent and the suppression list are asked again before anything leaves: who has said no since the plan is dropped and counted. Batches hold
the same customers at every try, less those dropped.

A refused connection, a timeout, 429 and 5xx are tried again after 1, 2, 4 … seconds; any other answer ends it. Redirects are not followed.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent
from urllib.parse import urlsplit

from huaxiang.apply.market.campaign_terms import Campaign
from huaxiang.apply.market.consent import ASSIGNED
from huaxiang.apply.market.offers import offers_of
from huaxiang.apply.market.webhook import Answer, check_url, post_signed
from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import ShopError
from huaxiang.trust import Vault

BATCH = 500
TRIES = 5
ASKED_AGAIN = (
    "suppressed",
    "refused",
    "unknown",
)  # not how often: the campaign itself counts among the contacts by now


@dataclass(frozen=True)
class Sent:
    """customers: who left the house; left_out: reason -> treated customers who may no longer be reached."""

    customers: int
    left_out: dict[str, int]


def write_csv(lake: Lake, vault: Vault, campaign: Campaign, judged: str, path: Path, *, zone: str) -> Sent:
    """Write user_id, campaign, channel, send_after of the treated, whole or not at all.

    judged: SQL of user_id and why (consent.py); zone: of the shop
    """
    if not path.resolve().parent.is_dir():
        raise ShopError("market.no_folder", folder=path.resolve().parent)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    count, dropped = 0, Counter[str]()
    try:
        with beside.open("w", newline="", encoding="utf-8") as out:
            rows = csv.writer(out)
            same = (campaign.name, campaign.channel, campaign.sends_from(zone).isoformat())
            rows.writerow(("user_id", "campaign", "channel", "send_after", *(["offer"] if campaign.offers else [])))
            for told in _batches(lake, vault, campaign, judged, 50_000, dropped):
                # a spreadsheet runs a cell that starts like a formula
                rows.writerows(
                    (f"'{one}" if one[:1] in "=+@-\t\r" else one, *same, *([offer] if campaign.offers else []))
                    for one, offers in told
                    for offer in (offers if campaign.offers else [""])
                )
                count += len(told)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return Sent(count, dict(dropped))


def post_batches(
    lake: Lake,
    vault: Vault,
    campaign: Campaign,
    judged: str,
    url: str,
    secret: bytes,
    *,
    at: datetime,
    zone: str,
    batch: int = BATCH,
    tries: int = TRIES,
    wait: Callable[[float], None] = time.sleep,
) -> Sent:
    """POST the treated in batches. raises: ShopError naming the batch that was not taken"""
    check_url(url)
    count, dropped = 0, Counter[str]()
    for number, told in enumerate(_batches(lake, vault, campaign, judged, batch, dropped)):
        if not told:
            continue
        content: dict[str, Any] = {
            "campaign": campaign.name,
            "channel": campaign.channel,
            "send_after": campaign.sends_from(zone).isoformat(),
            "user_ids": [one for one, _ in told],
        }
        if campaign.offers:
            content["offers"] = [offers for _, offers in told]
        body = json.dumps(content, ensure_ascii=False).encode()
        stamp = int(at.replace(tzinfo=UTC).timestamp())
        name = f"{percent(campaign.name)}.{number}"
        _post(partial(post_signed, url, body, number=name, secret=secret, stamp=stamp), url, number, tries, wait)
        count += len(told)
    return Sent(count, dict(dropped))


def _post(send: Callable[[], Answer], url: str, number: int, tries: int, wait: Callable[[float], None]) -> None:
    for attempt in range(tries):
        if attempt:
            wait(2.0 ** (attempt - 1))
        answer = send()
        if answer.taken:
            return
        if answer.status not in (0, 429) and answer.status < 500:
            break
    host = urlsplit(url).hostname
    raise ShopError("market.not_taken", host=host, batch=number, detail=answer.detail, tries=attempt + 1)


def _batches(
    lake: Lake, vault: Vault, campaign: Campaign, judged: str, size: int, dropped: Counter[str]
) -> Iterator[list[tuple[str, list[str]]]]:
    """The shop's own ids of the treated (the pseudonym where the vault has none) with their offers, always in the same batches; who may
    no longer be reached is taken out of theirs and counted in `dropped`."""
    engine = lake.engine
    mine = f"SELECT user_id FROM ({engine.sql(lake.table(ASSIGNED))}) WHERE campaign = '{campaign.name}' AND arm = 'treated'"
    offers = "SELECT user_id, []::VARCHAR[] AS offers FROM (SELECT NULL::VARCHAR AS user_id) WHERE false"
    if campaign.offers:
        offers = (
            f"SELECT user_id, list(offer ORDER BY offer) AS offers FROM ({offers_of(lake, campaign.name)}) GROUP BY 1"
        )
    reasons = ", ".join(map(quote, ASKED_AGAIN))
    told = (
        f"SELECT m.user_id, coalesce(offers, []) AS offers, CASE WHEN j.user_id IS NULL THEN 'no_profile' WHEN why IN ({reasons}) THEN why END AS why "
        f"FROM ({mine}) AS m LEFT JOIN ({offers}) AS o ON m.user_id = o.user_id LEFT JOIN ({judged}) AS j ON m.user_id = j.user_id ORDER BY 1"
    )

    def reached(rows: list[tuple[str, list[str], str | None]]) -> list[tuple[str, list[str]]]:
        dropped.update(why for _, _, why in rows if why)
        return [(user, own) for user, own, why in rows if not why]

    held: list[tuple[str, list[str], str | None]] = []
    for rows in engine.batches(told, 50_000):
        users, given, why = (rows.column(place).to_pylist() for place in range(3))
        known = vault.get_many(users, "shop_id")
        held += [(known.get(user, user), *rest) for user, *rest in zip(users, given, why, strict=True)]
        while len(held) >= size:
            yield reached(held[:size])
            held = held[size:]
    if held:
        yield reached(held)
