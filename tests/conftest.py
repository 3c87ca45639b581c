"""What many tests share: a small shop's files, made by hand rules and a seed, and the command line run as a user runs it."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from huaxiang.engine.java import check_java
from huaxiang.engine.spark import SparkEngine
from huaxiang.errors import ShopError
from huaxiang.settings import SparkSettings

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"

Run = Callable[..., subprocess.CompletedProcess[str]]


def run_huaxiang(
    *words: str, cwd: Path | None = None, lang: str = "en_US.UTF-8", **environ: str
) -> subprocess.CompletedProcess[str]:
    """`huaxiang words…` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "huaxiang.cli", *words],
        cwd=cwd,
        env={
            **os.environ,
            "LANG": lang,
            "LC_ALL": lang,
            "COLUMNS": "100",
            "HUAXIANG_SHOP__MEMORY_GB": "0.6",
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def write_shop_files(folder: Path, *, users: int = 60, days: int = 280, seed: int = 7) -> tuple[Path, Path, Path]:
    """orders.csv, users.csv and items.csv of a made-up shop (its truth does not matter, only that it looks like one)."""
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    start = datetime(2024, 1, 1, 9)
    kinds = ["Drinks > Coffee", "Drinks > Tea", "Food > Bread", "Home > Candles"]
    items = [(f"sku-{n}", f"Thing {n}", kinds[n % 4], f"Brand {n % 5}", round(3 + n * 1.7, 2)) for n in range(40)]
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("item_id", "title", "category", "brand", "price"), *items])
    with (folder / "users.csv").open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(("user_id", "name", "email", "gender", "birth_year", "city", "registered_at"))
        for n in range(users):
            rows.writerow(
                (
                    1000 + n,
                    f"Person {n}",
                    f"person{n}@example.com",
                    "FM"[n % 2],
                    1960 + n % 45,
                    "Lyon",
                    "2023-12-01 10:00:00",
                )
            )
    with (folder / "orders.csv").open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(("order_id", "user_id", "item_id", "quantity", "price", "order_time"))
        order = 0
        for n in range(users):
            day = chance.uniform(0, 20)
            while day < days * (0.5 if n % 6 == 0 else 1):
                order += 1
                when = start + timedelta(days=day, minutes=chance.randrange(600))
                for item in chance.sample(items, 1 + n % 3):
                    rows.writerow((order, 1000 + n, item[0], 1 + n % 2, item[4], when.strftime("%Y-%m-%d %H:%M:%S")))
                day += chance.expovariate(1 / (5 + n % 20))
    return folder / "orders.csv", folder / "users.csv", folder / "items.csv"


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small shop that has been through the whole journey, by the command line. Read only."""
    folder = tmp_path_factory.mktemp("small")
    files = write_shop_files(folder / "files")
    made = run_huaxiang("init", str(folder / "shop"), *(word for file in files for word in ("--from", str(file))))
    assert made.returncode == 0, made.stderr
    ran = run_huaxiang("run", str(folder / "shop"))
    assert ran.returncode == 0, ran.stderr
    return folder / "shop"


@pytest.fixture(scope="session")
def spark_settings(tmp_path_factory: pytest.TempPathFactory) -> SparkSettings:
    """[spark] of a real small cluster: a master and two executor processes on this machine."""
    home = tmp_path_factory.mktemp("spark")
    return SparkSettings(
        master="local-cluster[2,1,1024]",
        partitions=4,
        conf={
            "spark.sql.warehouse.dir": str(home / "warehouse"),
            "spark.local.dir": str(home / "local"),
            "spark.executor.processTreeMetrics.enabled": "false",
        },
    )


@pytest.fixture(scope="session")
def spark(spark_settings: SparkSettings) -> Iterator[SparkEngine]:
    """The cluster, started once (5 to 10 s). Without Java its tests are skipped, and say so."""
    try:
        check_java(os.environ)
    except ShopError as error:
        pytest.skip(str(error))
    with SparkEngine.of(spark_settings, os.environ) as engine:
        yield engine
