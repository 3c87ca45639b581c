"""Random event streams that hold what breaks feature pipelines: late, repeated and unordered events, ties on the second, huge and
tiny amounts, users without events, leap days, zone borders, refunds before purchases, sessions over midnight."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from tests.features.conftest import Row

ITEMS = {
    f"i{number}": {
        "item_id": f"i{number}",
        "category": f"T{number % 3} > M{number % 5} > L{number}" if number else None,
        "brand": f"b{number % 4}",
    }
    for number in range(12)
}
KINDS = ["view", "view", "click", "add_to_cart", "purchase", "purchase", "wish", "search", "refund", "review", "visit"]
STEPS = [0, 0, 1, 60, 1799, 1800, 1801, 3000, 86_400, 86_399]
AMOUNTS = [0.0, 0.01, 1e-6, 19.99, 1e9]
START = datetime(2023, 12, 5)  # a leap day and two changes of summer time lie in the 150 days that follow


def wild_stream(seed: int, users: int, count: int, *, late: float = 0.2, days: int = 150) -> list[Row]:
    """`count` events of up to `users` users; each event once, in random order."""
    chance = random.Random(seed)
    events: list[Row] = []
    for number in range(count):
        if events and chance.random() < 0.5:  # on from an earlier event, sometimes in the same second
            before = chance.choice(events[-5:])
            ts, user = before["ts"] + timedelta(seconds=chance.choice(STEPS)), before["user_id"]
            session = before["session_id"] if chance.random() < 0.8 else None
        else:
            edge = datetime(2024, 2, chance.choice([28, 29])) + timedelta(
                seconds=chance.choice([-1, 0, 86_399, 86_400])
            )
            anywhere = START + timedelta(seconds=chance.randrange(days * 86_400), microseconds=chance.randrange(10**6))
            ts = edge if chance.random() < 0.1 else anywhere
            user = f"u{chance.randrange(users)}"
            session = f"s{chance.randrange(6)}" if chance.random() < 0.4 else None
        kind = chance.choice(KINDS)
        money = kind in ("purchase", "refund")
        price = chance.choice(AMOUNTS) if chance.random() < 0.2 else round(chance.uniform(1, 600), 2)
        delay = (
            timedelta(days=chance.choice([1, 5, 40]), seconds=chance.choice([0, 7]))
            if chance.random() < late
            else timedelta()
        )
        events.append({
            "event_id": f"e{chance.randrange(10**6):06d}-{number}", "user_id": user, "event": kind, "ts": ts,
            "received_at": ts + delay, "session_id": session,
            "item_id": None if kind in ("search", "visit") else f"i{chance.randrange(12)}",
            "order_id": f"{user}-{ts:%Y%m%d}-{chance.randrange(2)}" if money and chance.random() < 0.6 else None,
            "price": price if money else None, "quantity": float(chance.randrange(1, 4)) if money else None,
            "amount": price if money and chance.random() < 0.95 else None,
            "discount": round(chance.uniform(0, 5), 2) if money and chance.random() < 0.5 else None,
            "coupon_id": "c1" if money and chance.random() < 0.3 else None,
            "rating": float(chance.randrange(1, 6)) if kind == "review" else None,
            "channel": chance.choice(["web", "app", "store", "小程序", None]),
            "device": chance.choice(["ios", "android", None]),
        })  # fmt: skip
    chance.shuffle(events)
    return events


def repeated(events: list[Row], seed: int, share: float = 0.1) -> list[Row]:
    """`events` with some of them delivered once more within the day, as at-least-once transport does."""
    chance = random.Random(seed)
    return [again for event in events for again in ([event, event] if chance.random() < share else [event])]
