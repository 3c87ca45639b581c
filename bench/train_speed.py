"""How fast does the behaviour model train beside RecBole's and RecTools' SASRec of equal size, length and loss?

    python bench/train_speed.py --data Beauty.txt --out train_speed.json    # 25 minutes, and a few once to install the peers

Any file of the s3rec format; learned from: all but each user's last two items, of those the last 51. All: 2 layers of 64, 2 heads, the
last 50 items, dropout .4, softmax cross-entropy over all items, 2 threads, the same PyTorch; no evaluation. The peers run in venvs of their own,
which the script makes once in `--venvs` with pip as it is set up here (an index of CPU builds of PyTorch saves gigabytes). One that
cannot be installed or run is said, and left out.

`--minutes` is what a library gets in a round; it includes warming up (an epoch of ours, the first batches of a peer), which is not timed. A peer
shares them between its default batch and one as great as ours, and the better median counts. Ours is timed over whole
epochs, a peer over as many batches as fit, since all its batches cost the same; loading batches is included.

Sequences a second are users a second: as many users as have a target, by the seconds of one epoch. RecTools and ours train on all of a
user's targets at once. RecBole makes a sample of each target with what was before it; its epoch has the same targets, so the ratios by users and by
targets are one. Metrics: LIBRARY/sequences_per_s, LIBRARY/targets_per_s, LIBRARY/epoch_s, LIBRARY/cpu_epoch_s (core seconds),
LIBRARY/others_share, and ours_over_LIBRARY (within a round), ours_over_LIBRARY_cpu.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from huaxiang.models.next_item.sequences import Sequences, from_lists, read_s3rec
from huaxiang.models.next_item.splits import leave_one_out
from measure import Metrics, NotAvailableError, Timer, in_child, note, wait_until_quiet, write_report

LENGTH, LAYERS, HEADS, WIDTH, DROPOUT, THREADS = 50, 2, 2, 64, 0.4, 2
DEFAULT_BATCH = {"recbole": 2048, "rectools": 128}  # samples: targets, users
NEEDS = {  # pip's arguments after PyTorch's, one call each
    "recbole": [  # without its own list, which asks for ray, used in its search of settings alone
        "numpy==1.26.4 scipy==1.17.1 pandas==2.3.3 scikit-learn==1.9.1 tqdm colorlog==4.7.2 colorama==0.4.4 pyyaml tensorboard "
        "thop tabulate plotly texttable psutil setuptools<81",
        "--no-deps recbole==1.2.1",
    ],
    "rectools": ["rectools[torch]==0.19.0 numpy==1.26.4 pandas==2.3.3"],
}
Found = dict[str, Any]


def main() -> None:
    options = _options()
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # the same for all
    train = training_part(options.data)
    users, targets = len(train), len(train.item) - len(train)
    print(f"{users:,} users with a target, {targets:,} targets, {len(np.unique(train.item)):,} items", flush=True)
    pythons = {name: made for name in NEEDS if name in options.peers and (made := make_venv(name, options.venvs))}
    runs: dict[str, list[Found]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.txt"
        lines = [
            f"{user} {' '.join(map(str, one))}\n" for user, one in enumerate(np.split(train.item, train.starts[1:-1]))
        ]
        data.write_text("".join(lines), encoding="utf-8")
        for turn in range(options.rounds):
            seed = options.seed + turn
            for name in ("ours", *pythons)[:: 1 if turn % 2 == 0 else -1]:
                for batch in [0] if name == "ours" else peer_batches(name, users, targets):
                    wait_until_quiet(options.wait)
                    try:
                        if name == "ours":
                            found = in_child(run_ours, data, options.minutes, seed).result
                        else:
                            found = run_peer(name, pythons[name], data, batch, options.minutes / 2, seed)
                    except (NotAvailableError, subprocess.CalledProcessError) as error:
                        print(f"{name}, batch {batch}: not available: {error}", flush=True)
                        continue
                    found |= {"sequences_per_s": found["users"] / found["seconds"], "batch": batch, "seed": seed}
                    runs.setdefault(f"{name}, batch {batch}" if batch else name, []).append(found)
                    print(line_of(name, found, users), flush=True)
    sum_up(runs, users, options)


def training_part(path: Path) -> Sequences:
    """What all learn from: the users with a target."""
    every, _ = read_s3rec(path)
    read = leave_one_out(every).train.last(LENGTH + 1)
    read = read.take(np.flatnonzero(read.lengths >= 2))
    codes = np.unique(read.item, return_inverse=True)[1]
    return from_lists([list(one) for one in np.split(codes, read.starts[1:-1])])


def peer_batches(name: str, users: int, targets: int) -> list[int]:
    """The library's default batch, and one of about as many targets as ours."""
    from huaxiang.models.behaviour import BehaviourConfig

    ours = BehaviourConfig().batch  # events of a step
    return [DEFAULT_BATCH[name], ours if name == "recbole" else round(ours * users / targets)]


def run_ours(data: Path, minutes: float, seed: int) -> tuple[Timer, Found]:
    """Whole epochs of the behaviour model, after one that is not timed."""
    from huaxiang.models.behaviour import Behaviour, BehaviourConfig
    from huaxiang.models.next_item.sequences import read_s3rec

    train, items = read_s3rec(data)

    def fit(epochs: int, minutes: float) -> Behaviour:
        config = BehaviourConfig(
            encoder="transformer", width=WIDTH, layers=LAYERS, heads=HEADS, length=LENGTH, dropout=DROPOUT,
            input_dropout=DROPOUT, negatives=0, threads=THREADS, epochs=epochs, minutes=minutes,
        )  # fmt: skip
        return Behaviour(config).fit(train, items, seed=seed)

    warm = fit(1, 0.0).curve[0]["seconds"]
    with Timer() as timer:
        model = fit(1000, max(minutes - warm / 60, 0.01))
    epochs = len(model.curve)
    parameters = {name: value.numel() for name, value in model.network.named_parameters()}
    return timer, {
        "users": epochs * len(train),
        "targets": epochs * (len(train.item) - len(train)),
        "seconds": sum(one["seconds"] for one in model.curve),
        "cpu_s": timer.cpu_s,
        "peak_gb": timer.peak_gb,
        "others": timer.others,
        "loss_last": model.curve[-1]["loss"],
        "loss_epoch_1": model.curve[0]["loss"],
        "parameters": {
            "items": parameters["ids.weight"],
            "rest": sum(parameters.values()) - parameters["ids.weight"],
        },
    }


def run_peer(name: str, python: Path, data: Path, batch: int, minutes: float, seed: int) -> Found:
    """The same of a peer, in its own venv. raises: CalledProcessError"""
    out = data.with_suffix(".json")
    script = Path(__file__).with_name("train_peers.py")
    given = {"data": data, "out": out, "batch": batch, "minutes": minutes, "seed": seed, "length": LENGTH}
    given |= {"layers": LAYERS, "heads": HEADS, "width": WIDTH, "threads": THREADS, "dropout": DROPOUT}
    command = [str(python), str(script), name, *(f"--{key}={value}" for key, value in given.items())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=data.parent, check=False)
    if done.returncode:
        print("\n".join(done.stderr.splitlines()[-5:]), flush=True)
    done.check_returncode()
    found: Found = json.loads(out.read_text(encoding="utf-8"))
    return found


def make_venv(name: str, folder: Path) -> Path | None:
    """The Python of a peer's venv, made if need be; None where it cannot be made."""
    python, ready = folder / name / "bin" / "python", folder / name / "needs.txt"
    calls = [f"torch=={version('torch').split('+')[0]}", *NEEDS[name]]
    if ready.exists() and ready.read_text(encoding="utf-8") == "\n".join(calls):
        return python
    print(f"{name}: installing into {folder.name}/{name}", flush=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder / name)], check=True)
        for call in calls:
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *call.split()]
            subprocess.run(pip, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        print(f"{name}: not available: {(error.stderr or str(error)).splitlines()[-1]}", flush=True)
        return None
    ready.write_text("\n".join(calls), encoding="utf-8")
    return python


def versions_of(python: Path) -> dict[str, str]:
    """What matters of a peer's venv."""
    names = ("recbole", "rectools", "torch", "numpy", "pandas", "scipy", "pytorch-lightning")
    code = f"import json, importlib.metadata as m; print(json.dumps({{d.name.lower(): d.version for d in m.distributions() if d.name.lower() in {names}}}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def line_of(name: str, found: Found, users: int) -> str:
    epochs = found["users"] / users
    said = f"{name:<9} batch {found['batch'] or 'own':>5}  {found['sequences_per_s']:9.1f} sequences/s  {found['targets'] / found['seconds']:9.1f} targets/s"
    said += f"  epoch {found['seconds'] / epochs:7.1f} s, work {found['cpu_s'] / epochs:7.1f} s ({epochs:.2f} timed)"
    return f"{said}  peak {found['peak_gb']:.1f} GB  loss {found['loss_last']:.3f}  others {found['others']:4.0%}"


def sum_up(runs: dict[str, list[Found]], users: int, options: argparse.Namespace) -> None:
    """The figures of each library, of a peer with its better batch, and ours over them round by round."""
    metrics: Metrics = {}
    best: dict[str, list[Found]] = {}
    for name in ("ours", *NEEDS):
        entries = [found for entry, found in runs.items() if entry.split(",")[0] == name]
        if entries:
            best[name] = max(entries, key=lambda found: float(np.median([one["sequences_per_s"] for one in found])))
    for name, found in best.items():
        note(metrics, f"{name}/sequences_per_s", [one["sequences_per_s"] for one in found])
        note(metrics, f"{name}/targets_per_s", [one["targets"] / one["seconds"] for one in found])
        note(metrics, f"{name}/epoch_s", [one["seconds"] * users / one["users"] for one in found])
        note(metrics, f"{name}/cpu_epoch_s", [one["cpu_s"] * users / one["users"] for one in found])
        note(metrics, f"{name}/peak_gb", [one["peak_gb"] for one in found])
        note(metrics, f"{name}/others_share", [one["others"] for one in found])
        losses = [one["loss_epoch_1"] for one in found if one["loss_epoch_1"] is not None]
        if losses:
            note(metrics, f"{name}/loss_epoch_1", losses)
    for name, found in best.items():
        if name != "ours" and best.get("ours"):
            ours = {one["seed"]: one for one in best["ours"]}
            pairs = [(ours[one["seed"]], one) for one in found if one["seed"] in ours]
            if pairs:
                by_clock = [our["sequences_per_s"] / one["sequences_per_s"] for our, one in pairs]
                by_work = [one["cpu_s"] / one["users"] / (our["cpu_s"] / our["users"]) for our, one in pairs]
                note(metrics, f"ours_over_{name}", by_clock)
                note(metrics, f"ours_over_{name}_cpu", by_work)
    print(f"\n{'':<28}{'median':>12}{'mean':>12}{'sd':>10}{'n':>4}")
    for name, figure in metrics.items():
        middle = figure.get("median", figure["mean"])
        print(f"{name:<28}{middle:>12,.2f}{figure['mean']:>12,.2f}{figure['sd']:>10,.2f}{figure['n']:>4.0f}")
    for name, found in best.items():
        print(f"{name}: batch {found[0]['batch'] or 'own'}, parameters {found[0]['parameters']}")
    peers = {name: versions_of(options.venvs / name / "bin" / "python") for name in best if name != "ours"}
    print(f"PyTorch here {version('torch')}; {peers}")
    write_report(
        options.out, __doc__.splitlines()[0], options.data.name, metrics,
        runs=runs, batch={name: found[0]["batch"] for name, found in best.items()}, peers=peers, torch=version("torch"),
    )  # fmt: skip


def _options() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huaxiang" / "bench"
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--minutes", type=float, default=2, help="of a library in a round")
    asked.add_argument("--seed", type=int, default=1, help="of the first round")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--peers", type=lambda text: text.split(","), default=list(NEEDS))
    asked.add_argument("--venvs", type=Path, default=cache)
    asked.add_argument("--wait", type=float, default=0.0, help="seconds to wait at most for a quiet machine")
    asked.add_argument("--out", type=Path)
    return asked.parse_args()


if __name__ == "__main__":
    main()
