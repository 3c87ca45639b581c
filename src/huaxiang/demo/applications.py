"""The applications on a demo shop, each once, so that every page of its report has something to show."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from huaxiang.errors import HuaxiangError

if TYPE_CHECKING:
    from huaxiang.shop import Shop

Tell = Callable[[str, float, HuaxiangError | None], None]  # (application, seconds, why it gave nothing)
DRAWN = Path("data", "exposures.parquet")  # the simulated shop's log of who was drawn for which coupon
QUICK = ("s-shrunk",)  # learners of uplift: choosing among all seven takes minutes
AUDIENCE = ("leaving_gold", "churn_30d > 0.6 and value_tier in ('gold', 'platinum')")


def apply_all(shop: Shop, *, again: bool = False, tell: Tell = lambda name, seconds, why: None) -> None:
    """Run each application that has no result yet (`again`: all), fake orders first, for the others leave them out. One that this shop
    is too small for, or keeps no records for, is told and left out."""
    have = {} if again else shop.decided()
    for name, run in (
        ("guard", lambda: shop.guard.score()),
        ("recommend", lambda: shop.recommend.train()),
        ("clv", lambda: shop.predict.value()),
        ("intent", lambda: shop.predict.learn_intent()),
        ("segments", lambda: shop.market.segments()),
        ("audiences", lambda: shop.market.save(*AUDIENCE)),
        ("uplift", lambda: learn_uplift(shop)),
        ("campaigns", lambda: read_campaigns(shop)),
    ):
        if name in have:
            continue
        start, why = time.perf_counter(), None
        try:
            run()
        except HuaxiangError as error:
            why = error
        tell(name, time.perf_counter() - start, why)


def learn_uplift(shop: Shop) -> dict[str, object]:
    """Uplift by the log of draws, where the shop keeps one (adopted once); gives what was found."""
    log = shop.folder / DRAWN
    if log.exists() and not shop.campaigns.names():
        shop.campaigns.adopt(log, channel="app")
    return shop.uplift(repeats=1, learners=QUICK)


def read_campaigns(shop: Shop) -> None:
    """Read every campaign whose outcome has a day; raises what the last unread one said where none has."""
    read, why = 0, None
    for name in shop.campaigns.names():
        try:
            shop.read_campaign(name, at=datetime.now(UTC).replace(tzinfo=None))
            read += 1
        except HuaxiangError as error:
            why = error
    if why is not None and not read:
        raise why
