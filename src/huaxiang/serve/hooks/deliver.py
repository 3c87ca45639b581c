"""Delivery: what waits in the outbox is posted, in order, until each receiver has taken it.

    POST url
    X-Huaxiang-Id: crm.17.1795770000123456          of the delivery; at another try the same
    X-Huaxiang-Signature: t=1700000000,v1=HEX       see apply/market/webhook.py
    {"hook": "crm", "changes": [{"id": "17.1795770000123456", "audience": "vip", "user_id": …, "change": "entered", "at": "2026-11-27T09:00:00.123456Z"}, …]}

A change is delivered at least once: a receiver that has seen the delivery's id answers 2xx and does nothing. user_id is the shop's own,
where the vault has it. A failed try is followed by another after 1, 2, 4 … s, at most an hour, give or take a quarter; 429 and 503 say
themselves when. 410 closes the hook. A hook waits as a whole, so that a customer's changes arrive in their order.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from huaxiang.apply.market.webhook import TIMEOUT_S, Answer, post_signed
from huaxiang.errors import HuaxiangError
from huaxiang.serve.hooks.declared import Hook
from huaxiang.serve.hooks.outbox import SECOND_US, Delivery, Outbox

log = logging.getLogger(__name__)

REST_S = 0.25  # how long it sleeps when nothing waits
TIDY_S = 3600.0
LONGEST_S, LONGEST_ASKED_S = 3600.0, 12 * 3600.0


class Deliverer:
    """One thread a hook, so that a receiver that hangs holds up its own changes alone.

    ids: the shop's own ids of pseudonyms, of those it knows; chance: of the waits
    """

    def __init__(
        self,
        outbox: Outbox,
        ids: Callable[[Sequence[str]], Mapping[str, str]],
        *,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        chance: random.Random | None = None,
    ) -> None:
        self.outbox = outbox
        self._ids, self._now, self._chance = ids, now, chance or random.Random()
        # A SQLite store has one server: after a crash its successor need not wait until what it held is free.
        alone = outbox.database.kind == "sqlite"
        self._me = "server" if alone else f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
        self.delivered = dict.fromkeys(outbox.hooks, 0)  # changes, since the start
        self.failed = dict.fromkeys(outbox.hooks, 0)  # tries
        self.dead = dict.fromkeys(outbox.hooks, 0)  # changes
        self._closing = threading.Event()
        self._wake = {name: threading.Event() for name in outbox.hooks}
        self._threads = [
            threading.Thread(target=self._run, args=(hook,), name=f"huaxiang-hook-{hook.name}", daemon=True)
            for hook in outbox.hooks.values()
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something was put into the outbox."""
        for event in self._wake.values():
            event.set()

    def close(self) -> None:
        """Ends after the requests in hand; what waits stays in the outbox. A receiver that answers byte by byte is not waited for."""
        self._closing.set()
        self.wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(TIMEOUT_S + 5)

    def step(self, name: str) -> bool:
        """Posts the batch of a hook that is due; False where there is none."""
        delivery = self.outbox.take(name, self._me, self._now())
        if delivery is None:
            return False
        answer = self._post(self.outbox.hooks[name], delivery)
        if answer.taken:
            self.outbox.delivered(delivery, self._now())
            self.delivered[name] += len(delivery.changes)
            return True
        now, wait = self._now(), self._wait(answer, delivery.hook_attempts)
        dead = self.outbox.failed(
            delivery, now, status=answer.status, detail=answer.detail, next_at=now + int(wait * SECOND_US)
        )
        self.failed[name] += 1
        self.dead[name] += dead
        if dead:
            log.error("hook %s: %s changes were set aside: %s", name, dead, answer.detail)
        return True

    def _post(self, hook: Hook, delivery: Delivery) -> Answer:
        ids = self._ids([one.user_id for _, one in delivery.changes])
        changes = [
            {
                "id": f"{number}.{one.at}",
                "audience": one.audience,
                "user_id": ids.get(one.user_id, one.user_id),
                "change": one.change,
                "at": _say_time(one.at),
            }
            for number, one in delivery.changes
        ]
        body = msgspec.json.encode({"hook": hook.name, "changes": changes})
        stamp = self._now() // SECOND_US
        return post_signed(hook.url, body, number=delivery.number, secret=hook.secret, stamp=stamp)

    def _wait(self, answer: Answer, attempts: int) -> float:
        """Seconds until the next try."""
        if answer.status in (429, 503) and answer.retry_after:
            asked = _seconds(answer.retry_after, self._now())
            if asked is not None:
                return min(max(asked, 1.0), LONGEST_ASKED_S)
        return min(2.0 ** min(attempts, 20), LONGEST_S) * self._chance.uniform(0.75, 1.25)

    def _run(self, hook: Hook) -> None:
        tidied = time.monotonic()
        while not self._closing.is_set():
            self._wake[hook.name].clear()
            try:
                done = self.step(hook.name)
                if time.monotonic() - tidied > TIDY_S:
                    tidied = time.monotonic()
                    self.outbox.tidy(self._now())
            except Exception as error:  # noqa: BLE001 - the thread must outlive it; what was not told stays in the outbox
                told = str(error) if isinstance(error, HuaxiangError) else type(error).__name__
                log.error("hook %s waits: %s", hook.name, told)
                done = False
            if not done:
                self._wake[hook.name].wait(REST_S)


def post_test(hook: Hook, *, now: int) -> Answer:
    """One signed request without any change, for whoever sets a receiver up. now: µs since 1970"""
    body = msgspec.json.encode({"hook": hook.name, "test": True, "changes": []})
    return post_signed(hook.url, body, number=f"{hook.name}.test.{now}", secret=hook.secret, stamp=now // SECOND_US)


def _say_time(micros: int) -> str:
    return f"{datetime.fromtimestamp(micros / 1e6, UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _seconds(text: str, now: int) -> float | None:
    """Retry-After, in seconds or as a date; None where it is neither."""
    text = text.strip()
    if text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now / SECOND_US
