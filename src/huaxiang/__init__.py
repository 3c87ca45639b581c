"""huaxiang 画像: a shop's records in, an explained profile of every customer out.

    collect → clean → identity → features → models → profile → apply → serve

Start with `Shop` (shop/, the journey in order), then tables.py (the contract), then one room.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huaxiang.shop import Shop

__all__ = ["Shop", "__version__"]

try:
    __version__ = version("huaxiang")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name == "Shop":
        from huaxiang.shop import Shop

        return Shop
    raise AttributeError(f"module 'huaxiang' has no attribute {name!r}")
