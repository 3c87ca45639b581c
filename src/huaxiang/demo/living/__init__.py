"""The demo shop live: a simulated shop whose records end last midnight; its last days are kept out of the build and happen again.

hold.py      the records of the last days, taken out of data/ and made messages, in their order
replay.py    Replay: sends them to the shop's own collector over HTTP, at a chosen speed
show.py      how the replay stands and what one customer's profile says, as lines
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from huaxiang.errors import ShopError
from huaxiang.progress import SILENT, Progress
from huaxiang.words import Lang

if TYPE_CHECKING:
    from huaxiang.shop import Shop

USERS = 500  # by default: the build takes about a minute
MESSAGES = Path("replay", "messages.jsonl")
SENT = Path("replay", "sent")  # how many of them the collector has acknowledged
_ZONE = ZoneInfo("Asia/Shanghai")  # the simulated shop's


def open_living(
    folder: Path,
    *,
    users: int = 0,
    days: int = 7,
    seed: int = 1,
    today: date | None = None,
    lang: Lang = "en",
    progress: Progress = SILENT,
) -> Shop:
    """The shop in `folder`, laid out if it is not yet; call `run()` on it where nothing is built.

    users: how many customers (0: USERS); days: how many are kept out of the build; today: records end as it begins (default: now's day)
    raises: ShopError where `folder` holds a shop that has nothing to replay
    """
    from huaxiang.demo.living.hold import hold_back
    from huaxiang.demo.simulated import lay_out_simulated
    from huaxiang.shop import SETTINGS, Shop

    settings = folder / SETTINGS
    if settings.exists() and not (folder / MESSAGES).exists():
        raise ShopError("shop.no_replay", folder=folder)
    if not settings.exists():
        end = today or datetime.now(_ZONE).date()
        beside = folder / f".{SETTINGS}"  # so that a shop half laid out is laid out again
        lay_out_simulated(folder, beside, users=users or USERS, seed=seed, until=end, lang=lang, progress=progress)
        first = datetime.combine(end - timedelta(days=days), datetime.min.time(), _ZONE)
        hold_back(folder, since=first.astimezone(UTC).replace(tzinfo=None), zone=_ZONE)
        beside.replace(settings)
    return Shop.open(folder, progress=progress)
