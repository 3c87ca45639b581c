"""The benchmarks that need no data of others run, small, and report what they promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[1] / "bench"


def run(script: str, *args: str, out: Path) -> dict[str, dict[str, float]]:
    subprocess.run([sys.executable, str(BENCH / script), *args, "--out", str(out)], check=True, capture_output=True)
    metrics: dict[str, dict[str, float]] = json.loads(out.read_text(encoding="utf-8"))["metrics"]
    return metrics


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """A file of the s3rec format: an item is followed by its successor seven times in ten, else by any."""
    chance = np.random.default_rng(0)
    follows = chance.permutation(40)
    lines = []
    for user in range(600):
        items = [int(chance.integers(40))]
        while len(items) < 9:
            items.append(int(follows[items[-1]] if chance.random() < 0.7 else chance.integers(40)))
        lines.append(" ".join(map(str, [user + 1, *(item + 1 for item in items)])))
    file = tmp_path / "sequences.txt"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_audience(tmp_path: Path) -> None:
    found = run("audience.py", "--customers", "2000", "--events", "20000", "--runs", "1", out=tmp_path / "a.json")
    assert {"traits/s", "traits and events/s", "events twice/s", "peak_gb"} <= set(found)


def test_ablation_tells_what_order_is_worth(tmp_path: Path, sequences: Path) -> None:
    args = ("--data", str(sequences), "--seeds", "1", "--epochs", "3", "--width", "16", "--only", "shuffled")
    found = run("ablation.py", *args, out=tmp_path / "b.json")
    assert found["base/ndcg@10"]["mean"] > found["shuffled/ndcg@10"]["mean"] + 0.1


def test_next_item_takes_networks_that_were_kept(tmp_path: Path, sequences: Path) -> None:
    args = ("--data", str(sequences), "--seeds", "1", "--models", "neighbours,direct", "--kept", str(tmp_path / "kept"))
    first, again = (run("next_item.py", *args, out=tmp_path / f"{name}.json") for name in ("first", "again"))
    assert first["chosen/ndcg@10"]["mean"] == again["chosen/ndcg@10"]["mean"] > 0
    assert first["direct/fit_s"] == again["direct/fit_s"]  # of the one training that there was


def test_next_item_without_time_tries_one_setting_of_each_and_says_what_it_overran(
    tmp_path: Path, sequences: Path
) -> None:
    args = ("--data", str(sequences), "--seeds", "1", "--models", "neighbours,ease", "--budget-min", "0")
    done = subprocess.run(
        [sys.executable, str(BENCH / "next_item.py"), *args], check=True, capture_output=True, text=True
    )
    assert (
        "neighbours: no time for 7 of 8 settings" in done.stdout and "ease: no time for 3 of 4 settings" in done.stdout
    )
    assert "more than the budget" in done.stdout
