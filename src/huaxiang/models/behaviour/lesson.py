"""A training as a folder: what is learned from, with which settings; so that other processes, and other machines, can carry it out.

    lesson.json            settings and seed            sequences.parquet   what is learned from (source.py)
    items.safetensors      what is known of the items   watch.parquet       histories whose last event is asked in validation

    torchrun --nproc-per-node 2 -m huaxiang.models.behaviour FOLDER

leaves model.json, model.safetensors and curve.json in the same folder; started again after a kill, it goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch.distributed as dist

from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ModelError
from huaxiang.models.behaviour.checkpoint import Curve
from huaxiang.models.behaviour.config import BehaviourConfig
from huaxiang.models.behaviour.model import Behaviour, gpu_each
from huaxiang.models.behaviour.source import InMemory, Stored, write_sequences
from huaxiang.models.behaviour.train import Run, world
from huaxiang.models.next_item.base import State, pack, unpack
from huaxiang.models.next_item.sequences import Items, Sequences
from huaxiang.models.next_item.splits import Questions
from huaxiang.models.next_item.zoo import load_next, save_next

SEQUENCES, WATCH, ITEMS, SAID, CURVE, CHECKPOINT = (
    "sequences.parquet", "watch.parquet", "items.safetensors", "lesson.json", "curve.json", "checkpoint.safetensors",
)  # fmt: skip
TOLD = "huaxiang.told "  # begins a line of how a process stands


def write_lesson(folder: Path, items: Items, watch: Questions, config: BehaviourConfig, seed: int) -> None:
    """Everything but sequences.parquet, which its maker writes piece by piece."""
    from safetensors.numpy import save

    arrays: State = {f"group.{name}": codes for name, codes in items.groups.items()}
    if items.tags is not None:
        arrays |= pack(items.tags, "tags")
    if items.content is not None:
        arrays["content"] = np.asarray(items.content, np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    (folder / ITEMS).write_bytes(save(arrays | {"count": np.array([len(items)])}))
    write_sequences(whole(watch), folder / WATCH)
    write_atomically(folder / SAID, json.dumps({"config": asdict(config), "seed": seed}))


def whole(asked: Questions) -> Sequences:
    """The histories with what was asked as their last event."""
    ends, history = asked.history.starts[1:], asked.history
    return Sequences(
        history.starts + np.arange(len(history.starts)),
        np.insert(history.item, ends, asked.target),
        None if history.ts is None else np.insert(history.ts, ends, history.ts[np.maximum(ends - 1, 0)]),
        None if history.kind is None else np.insert(history.kind, ends, 0),
        None if history.price is None else np.insert(history.price, ends, np.nan),
    )


def ask_last(every: Sequences) -> Questions:
    """The last event of each history is asked."""
    return Questions(every.first(every.lengths - 1), every.item[every.starts[1:] - 1], np.arange(len(every)))


def learn(folder: Path, told: Callable[[dict[str, float]], None] = lambda said: None) -> None:
    """Carries out the lesson in `folder`, alone or as one of the processes of torchrun."""
    from safetensors.numpy import load

    said = json.loads((folder / SAID).read_text(encoding="utf-8"))
    arrays = load((folder / ITEMS).read_bytes())
    items = Items(
        tuple(map(str, range(int(arrays["count"][0])))),
        unpack(arrays, "tags") if "tags.data" in arrays else None,
        {name.removeprefix("group."): codes for name, codes in arrays.items() if name.startswith("group.")},
        arrays.get("content"),
    )
    asked = ask_last(Stored(folder / WATCH).piece(0))
    source = Stored(folder / SEQUENCES)
    config = BehaviourConfig(**said["config"])
    # one piece fits memory: it is read once, not once an epoch
    read = InMemory(source.piece(0)) if source.pieces == 1 else source
    run = Run(folder / CHECKPOINT, told, mark=_mark(folder))
    model = Behaviour(config).fit(read, items, seed=said["seed"], watch=asked, run=run)
    if world()[0] == 0:
        write_atomically(folder / CURVE, json.dumps(model.curve))
        save_next(model, folder)


def _mark(folder: Path) -> str:
    """Of all that is learned from: a checkpoint made of other data is not gone on with."""
    found = hashlib.sha256()
    for name in (SEQUENCES, WATCH, ITEMS):
        with (folder / name).open("rb") as held:
            found.update(hashlib.file_digest(held, "sha256").digest())
    return found.hexdigest()[:16]


def learn_in_processes(
    folder: Path, processes: int, told: Callable[[dict[str, float]], None] = lambda said: None
) -> None:
    """The same by `processes` processes of this machine; raises ModelError where they fail."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(
        [*command, "-m", "huaxiang.models.behaviour", str(folder)], stdout=subprocess.PIPE, stderr=errors, text=True, env=env,
    ) as run:  # fmt: skip
        try:
            assert run.stdout is not None
            for line in run.stdout:
                if line.startswith(TOLD):
                    told(json.loads(line.removeprefix(TOLD)))
        except BaseException:
            run.terminate()  # torchrun ends its processes
            raise
        if run.wait():
            errors.seek(0)
            raise ModelError("models.behaviour.processes", processes=processes, detail=_cause(errors.read()))


def _cause(errors: str) -> str:
    """The first error that a process died of: torchrun's own words come last, and say nothing of it."""
    found = re.search(r"^(?:\[rank\d+\]: ?)?((?:\w+\.)*\w*Error: .+)$", errors, re.MULTILINE)
    return (found.group(1) if found else errors.strip())[-400:]


def _tell(said: dict[str, float]) -> None:
    """What `learn_in_processes` reads: only the first process speaks."""
    if world()[0] == 0:
        sys.stdout.write(f"{TOLD}{json.dumps(said)}\n")
        sys.stdout.flush()


def load_lesson(folder: Path) -> tuple[Behaviour, Curve]:
    """The model that was learned, and its training curve."""
    model = load_next(folder)
    assert isinstance(model, Behaviour), "a lesson makes a behaviour model"
    model.curve = json.loads((folder / CURVE).read_text(encoding="utf-8"))
    return model, model.curve


def main(words: list[str]) -> None:
    """`python -m huaxiang.models.behaviour FOLDER`, under torchrun or not."""
    together = "WORLD_SIZE" in os.environ and int(os.environ["WORLD_SIZE"]) > 1
    if together:
        import torch

        gpu = gpu_each()
        if gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
    try:
        learn(Path(words[0]), _tell)
    finally:
        if together:
            dist.destroy_process_group()
