"""kill -9 in the middle of every step, and a full disk: the shop still opens, and nothing is lost."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import run_huaxiang, write_shop_files
from huaxiang.shop import STEPS, Shop

AT = (0.4, 0.7, 0.9)  # of the step's own running time


Content = dict[str, list[dict[str, Any]]]


def content(folder: Path) -> Content:
    """The rows of every table in an order of their own, without when they were written."""
    with Shop.open(folder, environ={}) as shop:
        found = {}
        for name in shop.lake.names():
            table = shop.lake.table(name)
            kept = [column for column in table.columns if column not in ("collected_at", "at")]
            found[name] = sorted(shop.engine.arrow(table.select(kept)).to_pylist(), key=order)
        return found


def order(row: dict[str, Any]) -> str:
    return repr([value for value in row.values() if not isinstance(value, float | list | dict)])


def same(one: Any, other: Any) -> bool:
    """Whether both hold the same; sums over two threads may differ in their last digits."""
    match one, other:
        case float(), float():
            return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
        case list(), list():
            return len(one) == len(other) and all(map(same, one, other))
        case dict(), dict():
            return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return bool(one == other)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, float]]:
    """For each step: a shop that has had the steps before it, and the seconds the step takes here."""
    base = tmp_path_factory.mktemp("kill")
    shop = base / "shop"
    files = write_shop_files(shop / "files", users=30, days=220)  # inside, so that a copy of the shop finds them
    run_huaxiang("init", str(shop), *(word for file in files for word in ("--from", str(file))))
    with Shop.open(shop, environ={}) as opened:  # the keys, so that every copy makes the same pseudonyms
        opened.pseudonyms(create=True)
        opened.vault(create=True)
    found = {}
    for step in STEPS:
        shutil.copytree(shop, base / f"before-{step}")
        start = time.perf_counter()
        done = run_huaxiang(step, str(shop))
        assert done.returncode == 0, done.stderr
        found[step] = (base / f"before-{step}", time.perf_counter() - start)
    return found


@pytest.mark.parametrize("step", STEPS)
def test_killed_step_leaves_a_shop_that_finishes_with_the_same_result(
    stages: dict[str, tuple[Path, float]], tmp_path: Path, step: str
) -> None:
    before, seconds = stages[step]
    calm = shutil.copytree(before, tmp_path / "calm")
    assert run_huaxiang(step, str(calm)).returncode == 0
    for number, share in enumerate(AT):
        shop = shutil.copytree(before, tmp_path / f"shop-{number}")
        process = subprocess.Popen(
            [sys.executable, "-m", "huaxiang.cli", step, str(shop)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HUAXIANG_SHOP__MEMORY_GB": "0.6"},
        )
        time.sleep(seconds * share)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = content(shop)
        assert same(found, content(before)) or same(found, content(calm))  # all of the step or nothing of it
        again = run_huaxiang(step, str(shop))
        assert again.returncode == 0, again.stderr
        assert same(content(shop), content(calm))
        shutil.rmtree(shop)


def test_killed_incremental_build_leaves_the_last_one_and_then_finishes(
    stages: dict[str, tuple[Path, float]], tmp_path: Path
) -> None:
    before, _ = stages["train"]  # built, with nothing behind it
    base = shutil.copytree(before, tmp_path / "base")
    orders = next((base / "files").glob("orders*"))
    lines = orders.read_text(encoding="utf-8").splitlines()
    orders.write_text("\n".join(lines[:50] + lines[60:]) + "\n", encoding="utf-8")  # some gone, which rewrites the past
    for step in ("collect", "clean"):
        assert run_huaxiang(step, str(base)).returncode == 0
    calm = shutil.copytree(base, tmp_path / "calm")
    start = time.perf_counter()
    assert run_huaxiang("build", str(calm)).returncode == 0
    seconds = time.perf_counter() - start
    for number, share in enumerate(AT):
        shop = shutil.copytree(base, tmp_path / f"again-{number}")
        process = subprocess.Popen(
            [sys.executable, "-m", "huaxiang.cli", "build", str(shop)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HUAXIANG_SHOP__MEMORY_GB": "0.6"},
        )
        time.sleep(seconds * share)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = content(shop)
        assert same(found, content(base)) or same(found, content(calm))
        assert run_huaxiang("build", str(shop)).returncode == 0
        assert same(content(shop), content(calm))


def test_full_disk_is_named_and_leaves_the_shop_as_it_was(tmp_path: Path) -> None:
    """On a real file system of 3 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        files = write_shop_files(tmp_path / "files", users=300, days=280)
        run_huaxiang("init", str(disk / "shop"), *(word for file in files for word in ("--from", str(file))))
        refused = None
        for step in STEPS:
            refused = run_huaxiang(step, str(disk / "shop"))
            if refused.returncode:
                break
        assert refused is not None
        assert refused.returncode == 1, refused.stderr
        assert "disk is full" in refused.stderr
        held = content(disk / "shop")
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        assert same(content(disk / "shop"), held)
        assert run_huaxiang("run", str(disk / "shop")).returncode == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)
