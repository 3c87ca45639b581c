"""What somebody deleted of a shop is said, and made anew where it can be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conftest import run_huaxiang
from huaxiang.errors import ShopError
from huaxiang.shop import Shop


@pytest.fixture
def shop(small_shop: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_shop.parent, tmp_path / "all") / "shop"


def test_deleted_features_are_made_anew_by_the_next_run(shop: Path) -> None:
    with Shop.open(shop) as opened:
        before = opened.engine.rows(
            f"SELECT * FROM ({opened.engine.sql(opened.lake.table('features'))}) ORDER BY user_id"
        )
    shutil.rmtree(shop / "lake" / "features")
    told = run_huaxiang("features", "explain", str(shop), "orders_90d", "1007")
    assert told.returncode == 1
    assert "features" in told.stderr
    assert "huaxiang run" in told.stderr
    with Shop.open(shop) as opened:
        opened.run()
        assert not opened.lake.lost()
        after = opened.engine.rows(
            f"SELECT * FROM ({opened.engine.sql(opened.lake.table('features'))}) ORDER BY user_id"
        )
    assert after == before


def test_one_deleted_file_is_noticed(shop: Path) -> None:
    next((shop / "lake" / "profiles").glob("*.parquet")).unlink()
    with Shop.open(shop) as opened:
        assert opened.lake.lost() == ["profiles"]
    told = run_huaxiang("profile", str(shop), "1007")
    assert (told.returncode, "the files of profiles are gone" in told.stderr, "huaxiang run" in told.stderr) == (
        1,
        True,
        True,
    )
    with Shop.open(shop) as opened:
        opened.run()
        assert not opened.lake.lost()
    assert run_huaxiang("profile", str(shop), "1007").returncode == 0


def test_deleted_records_are_not_made_up(shop: Path) -> None:
    shutil.rmtree(shop / "lake" / "raw" / "events")
    with Shop.open(shop) as opened, pytest.raises(ShopError, match=r"raw\.events"):
        opened.run()
