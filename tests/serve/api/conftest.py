"""A small shop with everything decided, served once for the tests that only read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from huaxiang.shop import Shop
from served import Served, serve_shop
from stores import database, postgres

__all__ = ["database", "postgres"]

RULE = """
[guard.rules.often]
when = "orders >= 10"
action = "review"
"""


@pytest.fixture(scope="session")
def decided_shop(small_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small shop with recommendations, a leaderboard, an audience, and a guard's queue."""
    folder = tmp_path_factory.mktemp("decided") / "shop"
    shutil.copytree(small_shop, folder)
    settings = folder / "huaxiang.toml"
    settings.write_text(settings.read_text(encoding="utf-8") + RULE, encoding="utf-8")
    with Shop.open(folder) as shop:
        shop.recommend.train()
        shop.compare(only=["popular"])
        shop.market.save("active_ones", "lifecycle == 'active'", meaning="who buys now")
        shop.guard.score()
    return folder


@pytest.fixture(scope="session")
def served(decided_shop: Path) -> Iterator[Served]:
    with serve_shop(decided_shop) as made:
        yield made


@pytest.fixture
def bare(small_shop: Path, tmp_path: Path) -> Iterator[Served]:
    """A served shop of the test's own, with profiles and nothing decided."""
    shutil.copytree(small_shop, tmp_path / "shop")
    with serve_shop(tmp_path / "shop") as made:
        yield made
